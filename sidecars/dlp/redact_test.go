package dlp

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars/encoded"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

func TestDecide(t *testing.T) {
	warn, act, block := Finding{Level: Warn}, Finding{Level: Act}, Finding{Level: Block}
	unread := Finding{Level: Act, Detector: Unscannable}
	for _, c := range []struct {
		name    string
		found   []Finding
		onMatch string
		want    Verdict
	}{
		{"nothing", nil, OnMatchBlock, Pass},
		{"a warning", []Finding{warn}, OnMatchBlock, Pass},
		{"no rule is supervise", []Finding{act}, "", Hold},
		{"supervise", []Finding{warn, act}, OnMatchSupervise, Hold},
		{"redact", []Finding{act}, OnMatchRedact, Redact},
		{"block", []Finding{act}, OnMatchBlock, Refuse},
		{"an unknown rule", []Finding{act}, "allow", Refuse},
		{"a canary is not held", []Finding{block}, OnMatchSupervise, Refuse},
		{"a canary is not redacted", []Finding{act, block}, OnMatchRedact, Refuse},
		{"unread is held", []Finding{unread}, OnMatchSupervise, Hold},
		{"unread is not redacted", []Finding{act, unread}, OnMatchRedact, Refuse},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Decide(c.found, c.onMatch); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

func TestRedact(t *testing.T) {
	g := newGenerator(20)
	known, canary := g.alnum(32), g.alnum(32)
	s := newScanner(t, Options{
		Known:    []Known{{Name: "DEPLOY", Value: secret.New(known)}},
		Canaries: []Known{{Name: "CANARY", Value: secret.New(canary)}},
	})
	token := g.credential(t, ruleOf(t, "github_pat"))
	for _, c := range []struct{ name, text string }{
		{"a token in JSON", `{"text": "my token is ` + token + `", "n": 1}`},
		{"two tokens and a known secret", `{"a": "` + token + `", "b": ["` + token + `", "` + known + `"]}`},
		{"a known secret in pieces", `["` + known[:10] + `", "` + known[10:] + `"]`},
		{"encoded", `{"file": "` + base64.StdEncoding.EncodeToString([]byte("x "+token)) + `"}`},
		{"escaped", `{"file": "` + encoded.Each(token, `\u%04x`) + `"}`},
		{"a key in JSON", `{"private_key": ` + quoted(t, g.pem("private_key")) + `}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, found, err := s.Redact(StreamOptions{}, []byte(c.text))
			if err != nil || len(found) == 0 {
				t.Fatalf("%v, %v", found, err)
			}
			if len(got) != len(c.text) || bytes.Contains(got, []byte(token)) || bytes.Contains(got, []byte(known)) || foundAny(s.Scan(Body, got)) {
				t.Errorf("left: %s", got)
			}
			if !json.Valid(got) {
				t.Errorf("no JSON any more: %s", got)
			}
		})
	}
	for _, text := range []string{"the canary " + canary, compressed(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })(token)} {
		if got, _, err := s.Redact(StreamOptions{}, []byte(text)); !errors.Is(err, ErrNotRedactable) {
			t.Errorf("redacted to %q, %v", got, err)
		}
	}
	plain := []byte("nothing in here")
	if got, found, err := s.Redact(StreamOptions{}, plain); err != nil || len(found) > 0 || !bytes.Equal(got, plain) {
		t.Errorf("a plain text: %q, %v, %v", got, found, err)
	}
}

func quoted(t *testing.T, text string) string {
	t.Helper()
	b, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSecretsCutOverTexts(t *testing.T) {
	g := newGenerator(21)
	known := g.alnum(32)
	s := newScanner(t, Options{Known: []Known{{Name: "DEPLOY", Value: secret.New(known)}}})
	texts := []Text{
		{HeaderField("X-A"), []byte("en-" + known[:9])},
		{HeaderField("X-B"), []byte(known[9:20])},
		{Query, []byte(known[20:])},
	}
	found := s.ScanAll(StreamOptions{}, texts)
	if len(found) != 1 || found[0].Name != "DEPLOY" || found[0].Field != Query {
		t.Errorf("cut over three: %v", found)
	}
	texts[1], texts[2] = texts[2], texts[1]
	if found := s.ScanAll(StreamOptions{}, texts); len(found) != 0 {
		t.Errorf("parts in another order: %v", found)
	}
	if found := s.ScanAll(StreamOptions{Detectors: []string{TokenPatterns}}, []Text{{Path, []byte(known)}}); len(found) != 0 {
		t.Errorf("with the detector off: %v", found)
	}
}

func TestCRLF(t *testing.T) {
	for _, c := range []struct {
		field Field
		text  string
		want  bool
	}{
		{Path, "/a/b", false},
		{Path, "/a%20b%2Fc", false},
		{Path, "/a%0d%0aSet-Cookie:x", true},
		{Path, "/a%0Ab", true},
		{Path, "/a%250d%250aX", true},
		{Path, "/a%25250d%25250aX", true},
		{Path, "/a%E5%98%8A%E5%98%8DX", true},
		{Path, "/" + strings.Repeat("%25", 1) + "25252525250a", true},
		{Query, "q=line+one%0Aline+two", false},
		{Query, "q=a%0ASet-Cookie:%20x", true},
		{Query, "q=a%0D%0Ab", true},
		{Query, "q=a%0db", true},
		{Query, "q=a%0AGET%20/%20HTTP/1.1", true},
		{Query, "q=100%&r=%zz", false},
		{HeaderField("Referer"), "https://x.test/?q=%0D%0A", false},
		{HeaderField("X"), "a\r\nB: c", true},
		{HeaderField("X"), "a\nb", true},
		{HeaderName, "X\rY", true},
	} {
		if got := CRLF(c.field, []byte(c.text)); got != c.want {
			t.Errorf("%s %q: %v, want %v", c.field, c.text, got, c.want)
		}
	}
}

func TestFlush(t *testing.T) {
	g := newGenerator(22)
	s := newScanner(t, Options{})
	jwt := g.jwt()
	st := s.Stream(StreamOptions{Field: Message})
	if found := st.Write([]byte("x " + jwt)); len(found) > 0 {
		t.Fatalf("decided before its end: %v", found)
	}
	if safe := st.Safe(); safe > 2 {
		t.Errorf("safe up to %d, inside the token", safe)
	}
	if found := st.Flush(); !hasKind(found, "jwt") {
		t.Errorf("flush: %v", found)
	}
	st.Close()

	token := base64.StdEncoding.EncodeToString([]byte("key " + g.credential(t, ruleOf(t, "gitlab_pat"))))
	st = s.Stream(StreamOptions{})
	st.Write([]byte(token[:len(token)-3]))
	if found := st.Flush(); !hasKind(found, "gitlab_pat") {
		t.Errorf("flush inside base64: %v", found)
	}
	st.Close()
}

// What Safe lets pass is decided: cutting a text there never loses a finding.
func TestSafe(t *testing.T) {
	g := newGenerator(23)
	known := g.alnum(24)
	s := newScanner(t, Options{Known: []Known{{Name: "DEPLOY", Value: secret.New(known)}}})
	for range 100 {
		text := []byte(g.document(t, known))
		st := s.Stream(StreamOptions{})
		passed := int64(0)
		for i := range text {
			found := st.Write(text[i : i+1])
			for _, f := range found {
				if f.Level >= Act && f.Via == "" && f.Start < passed {
					t.Fatalf("%+v was found when %d bytes had been let go: %q", f, passed, text)
				}
			}
			safe := st.Safe()
			if safe < passed || safe > int64(i+1) {
				t.Fatalf("safe went from %d to %d after %d bytes", passed, safe, i+1)
			}
			passed = safe
		}
		st.Close()
	}
}
