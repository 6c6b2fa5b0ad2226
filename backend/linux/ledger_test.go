//go:build linux

package linux

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
)

// refusedRequest asks the proxy for what no route allows.
const refusedRequest = `exec 3<>/dev/tcp/127.0.0.1/9099 || exit
printf 'GET http://refused.invalid/ HTTP/1.1\r\nHost: refused.invalid\r\nConnection: close\r\n\r\n' >&3
cat <&3 >/dev/null
exec 3>&-`

// ledgerOf checks a bottle's ledger, whose files are kept open in kept.
func ledgerOf(t *testing.T, kept []*os.File) ledger.Report {
	t.Helper()
	r, err := ledger.NewReader(kept)
	if err != nil {
		t.Fatal(err)
	}
	report := ledger.Verify(r, nil)
	if report.Problem != nil {
		t.Fatal(report.Problem)
	}
	return report
}

func keepLedger(t *testing.T, b *Backend, id backend.ID) []*os.File {
	t.Helper()
	var files []*os.File
	for _, name := range ledger.Names() {
		f, err := os.Open(filepath.Join(b.dir(id), name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		files = append(files, f)
	}
	return files
}

// A sidecar inside its walls writes a ledger, to the end of its bottle.
func TestLedgerEnds(t *testing.T) {
	b := newBackend(t)
	start(t, b, "ledger")
	kept := keepLedger(t, b, "ledger")
	if _, err := run(t, b, "ledger", "bash", "-c", refusedRequest); err != nil {
		t.Fatal(err)
	}
	live := ledgerOf(t, kept)
	if live.Bottle != "ledger" || live.Counts.Denied == 0 || live.Stopped {
		t.Errorf("of a bottle that lives: %+v", live)
	}
	if err := b.Remove(t.Context(), "ledger"); err != nil {
		t.Fatal(err)
	}
	if end := ledgerOf(t, kept); !end.Stopped || end.Counts.Denied != live.Counts.Denied || end.Torn != 0 {
		t.Errorf("of a bottle that was removed: %+v", end)
	}
}

// pageOfRefusals are as many as fit into a page of memory, and more.
const pageOfRefusals = 12

// When the disk is full, a bottle says so and lets nothing out, unless it was told
// to go on; when there is room again, it goes on.
func TestLedgerOnFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a small disk takes root to mount")
	}
	for policy, want := range map[string]string{sidecars.OnFullRefuse: "audit_unavailable", sidecars.OnFullContinue: "host_not_allowed"} {
		t.Run(policy, func(t *testing.T) {
			disk := t.TempDir()
			switch err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=2m"); {
			case errors.Is(err, unix.EPERM):
				t.Skip("this host's root may not mount")
			case err != nil:
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) }) // after the bottle
			b := New(Config{BottlesDir: disk, Owner: "test-" + t.Name()})
			spec := sidecarSpec(t, b, "full")
			spec.Config.Ledger = sidecars.LedgerPolicy{OnFull: policy}
			startSidecar(t, b, spec)
			startAgent(t, b, "full")
			answers := func(reason string) func() bool {
				return func() bool {
					out, err := run(t, b, "full", "bash", "-c", strings.Replace(refusedRequest, "cat <&3 >/dev/null", `grep -m1 '"reason"' <&3`, 1))
					return err == nil && strings.Contains(out, reason)
				}
			}
			eventually(t, "the request to be refused by the policy", answers("host_not_allowed"))
			filler := filepath.Join(disk, "filler")
			if err := os.WriteFile(filler, make([]byte, 4<<20), 0o600); err == nil {
				t.Fatal("the disk is not full")
			}
			// What is left of the ledger's last page may still be written.
			for range pageOfRefusals {
				if !answers("")() {
					t.Fatal("the proxy does not answer")
				}
			}
			eventually(t, "the answer on a full disk to be "+want, answers(want))
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the request to be refused by the policy again", answers("host_not_allowed"))
			if r := ledgerOf(t, keepLedger(t, b, "full")); r.Stopped || r.Counts.Denied == 0 {
				t.Errorf("%+v", r)
			}
		})
	}
}

// A sidecar that is killed while it writes leaves a ledger that verifies.
func TestLedgerOfKilledSidecar(t *testing.T) {
	b := newBackend(t)
	start(t, b, "killed")
	kept := keepLedger(t, b, "killed")
	st, err := b.readState("killed")
	if err != nil {
		t.Fatal(err)
	}
	busy := make(chan struct{})
	go func() {
		defer close(busy)
		_, _ = run(t, b, "killed", "bash", "-c", "while :; do\n"+refusedRequest+"\ndone")
	}()
	eventually(t, "decisions", func() bool { return ledgerOf(t, kept).Counts.Denied > 3 })
	time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond)
	if err := unix.Kill(st.Sidecar.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitState(t, b, "killed", backend.Degraded)
	if r := ledgerOf(t, kept); r.Stopped || r.Counts.Denied <= 3 {
		t.Errorf("%+v", r)
	}
	if err := b.Remove(t.Context(), "killed"); err != nil {
		t.Fatal(err)
	}
	<-busy // its shell ended with the bottle
}
