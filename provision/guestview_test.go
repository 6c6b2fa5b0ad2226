package provision

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// TestFirstEntryIsBounded: headers without end are not kept without end.
func TestFirstEntryIsBounded(t *testing.T) {
	var one bytes.Buffer
	w := tar.NewWriter(&one)
	h := &tar.Header{Typeflag: tar.TypeReg, Name: "x", Format: tar.FormatPAX, PAXRecords: map[string]string{"A.b": strings.Repeat("x", 1<<19)}}
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	extended := one.Bytes()[:one.Len()-512] // without the entry that it belongs to
	if _, r, err := firstEntry(bytes.NewReader(one.Bytes())); err != nil {
		t.Errorf("the control, one of them: %v", err)
	} else if all, err := io.ReadAll(r); err != nil || !bytes.Equal(all, one.Bytes()) {
		t.Errorf("the archive came back changed: %v", err)
	}
	sent := bytes.NewReader(bytes.Repeat(extended, 32))
	if _, _, err := firstEntry(sent); err == nil || sent.Len() < 8<<20 {
		t.Errorf("error %v, with %d bytes unread", err, sent.Len())
	}
}

// TestGuestsReadNothingOfTheHost: what fails on the host is told to a bottle without
// the host's words, which the operator reads.
func TestGuestsReadNothingOfTheHost(t *testing.T) {
	const words = "/operators/own/path"
	b, boss := bossBed(t)
	b.fake.fail["StartAgent"] = errors.New("open " + words)
	for _, who := range []Principal{guest(boss.ID), operator} {
		p, err := b.planAs(who, LaunchRequest{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.Launch(t.Context(), p, nil)
		var step *StepError
		if !errors.As(err, &step) || step.Step != "start-agent" || strings.Contains(err.Error(), words) != (who.Kind == Operator) {
			t.Errorf("%s is told %v", who.Kind, err)
		}
	}
	b.bottleFile("asks", `env: {SECRET_NAME: "? what only the operator reads"}`)
	for _, who := range []Principal{guest(boss.ID), operator} {
		_, err := b.planAs(who, LaunchRequest{Bottles: []string{"asks"}})
		if err == nil || strings.Contains(err.Error(), "what only the operator reads") != (who.Kind == Operator) || strings.Contains(err.Error(), "asks.md") != (who.Kind == Operator) {
			t.Errorf("%s is told %v", who.Kind, err)
		}
	}
}
