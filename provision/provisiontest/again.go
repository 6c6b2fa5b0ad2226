package provisiontest

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/setup"
)

// snapshotScript tells everything of the agent's home and of what root brought.
const snapshotScript = `cd; find . -exec stat -c '%n %a %u:%g %F' {} +; find . -type f -exec sha256sum {} +
for f in /etc/environment /etc/profile.d/bottle-mcp.sh /etc/gitconfig /etc/wgetrc /etc/pip.conf /etc/apt/apt.conf.d/90bottle-mcp /etc/ssl/certs/java/cacerts /etc/ssl/certs/ca-certificates.crt; do
	if [ -e $f ]; then stat -c '%n %a %u:%g' $f; sha256sum $f; fi
done`

// again does every step of the launch once more: nothing changes.
func (b *bottle) again(t *testing.T) {
	before := lines(b.sh(t, snapshotScript))
	if len(before) < 50 {
		t.Fatalf("the home has no more than %q", before)
	}
	setups, copies := 0, 0
	for _, c := range b.steps {
		if c.files != nil {
			setups++
			b.setupAgain(t, c)
			continue
		}
		copies++
		c.copy.Reader = bytes.NewReader(c.tar)
		report, err := b.Backend.Copy(t.Context(), b.live.ID, c.copy)
		if err != nil || report.Files != b.live.WorkspaceCopy.Files || len(report.Skipped) > 0 {
			t.Errorf("the second copy: %+v, %v; the first one had %+v", report, err, b.live.WorkspaceCopy)
		}
	}
	want := 1
	if caps, err := b.Backend.Check(t.Context()); err != nil {
		t.Fatal(err)
	} else if caps.Images && caps.MultiUser { // root has files where the file system is an image's
		want = 2
	}
	if setups != want || copies != 1 {
		t.Errorf("the launch brought files as %d users, want %d, and copied %d times", setups, want, copies)
	}
	after := lines(b.sh(t, snapshotScript))
	for _, line := range after {
		if !slices.Contains(before, line) {
			t.Errorf("the second time made %s", line)
		}
	}
	for _, line := range before {
		if !slices.Contains(after, line) {
			t.Errorf("the second time took away %s", line)
		}
	}
}

// setupAgain brings the same files once more: all of them are there already.
func (b *bottle) setupAgain(t *testing.T, c call) {
	t.Helper()
	out, code := b.run(t, backend.Command{Argv: setup.Argv(), Dir: "/", User: c.user}, string(c.files))
	if code != 0 || out == "" {
		t.Fatalf("the second time ended with %d: %.300s", code, out)
	}
	for line := range strings.Lines(out) { // one for each step
		var answer struct {
			Files []setup.Outcome `json:"files"`
		}
		if err := json.Unmarshal([]byte(line), &answer); err != nil || len(answer.Files) == 0 {
			t.Fatalf("the second time said %.300s: %v", line, err)
		}
		for _, o := range answer.Files {
			if o.State != setup.Present && o.State != setup.Left && o.State != setup.Absent {
				t.Errorf("the second time %s is %s: %s", o.Path, o.State, o.Detail)
			}
		}
	}
}
