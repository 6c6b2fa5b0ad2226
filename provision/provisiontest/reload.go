package provisiontest

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/provision"
)

// reload has the operator change the bottle's manifest, and looks from inside at
// what is in force.
func (b *bottle) reload(t *testing.T) {
	const fresh = "fresh.bottle-test.invalid"
	path := filepath.Join(b.home, ".bot-bottle/bottles/token.md")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { put(t, path, string(before), 0o700) })
	shown := func() string { return b.sh(t, "curl -sS http://_egress.local/allowlist") }
	was := shown()
	if strings.Contains(was, fresh) || !strings.Contains(was, "credential_injected") {
		t.Fatalf("allowed before: %s", was)
	}
	body := strings.TrimPrefix(string(before), "---\n")
	for _, step := range []struct {
		name, front string
		fails       bool
		allowed     bool
	}{
		{"a host is added", "egress: {routes: [{host: " + fresh + "}]}\n", false, true},
		{"a file that is wrong", "egress: {routes: [{host: '*'}]}\n", true, true},
		{"a host is taken away", "", false, false},
	} {
		t.Run(step.name, func(t *testing.T) {
			put(t, path, "---\n"+step.front+body, 0o700)
			done, err := b.manager.Reload(t.Context(), provision.ReloadRequest{ID: b.live.ID, Principal: operator()})
			if (err != nil) != step.fails {
				t.Fatalf("Reload: %+v, %v", done, err)
			}
			now := shown()
			if strings.Contains(now, fresh) != step.allowed || !strings.Contains(now, "credential_injected") {
				t.Errorf("allowed now: %s", now)
			}
		})
	}
	if n := b.policies(t); n < 2 {
		t.Errorf("the ledger tells of %d changes of the policy", n)
	}
}

// policies counts what the ledger says of other policies.
func (b *bottle) policies(t *testing.T) int {
	t.Helper()
	files, err := b.Store.OpenLedger(b.live.ID)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range files {
		data, err := io.ReadAll(f)
		if err != nil {
			t.Error(err)
		}
		n += bytes.Count(data, []byte(`"type":"policy"`))
		_ = f.Close()
	}
	return n
}
