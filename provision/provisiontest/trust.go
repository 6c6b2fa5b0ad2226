package provisiontest

import (
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/trust"
)

// variables demands the whole set in the environment of a command, and the same
// from a login shell that began with nothing.
func (b *bottle) variables(t *testing.T) {
	want := trust.CAVariables()
	for name, value := range trust.ProxyVariables(b.live.Endpoints) {
		want[name] = value
	}
	for how, script := range map[string]string{"a command": "env", "a login shell": emptyShell(b.Account.Home) + "sh -l -c env"} {
		got := lines(b.sh(t, script))
		for name, value := range want {
			if !slices.Contains(got, name+"="+value) {
				t.Errorf("%s lacks %s=%s", how, name, value)
			}
		}
		if !slices.ContainsFunc(got, func(kv string) bool { return strings.HasPrefix(kv, trust.JavaOptions+"=") }) {
			t.Errorf("%s lacks %s", how, trust.JavaOptions)
		}
	}
}

// emptyShell starts a process with nothing but what every process needs.
func emptyShell(home string) string {
	return "exec env -i HOME=" + home + " PATH=/usr/local/bin:/usr/bin:/bin "
}

// trust demands the CA alone, beside the system's in the bundle, and in a store
// that the guest's programs take for the system's.
func (b *bottle) trust(t *testing.T) {
	own := b.read(t, backend.GuestCACert)
	sum, err := trust.Fingerprint([]byte(own))
	if err != nil || sum != b.live.Setup.CASHA256 {
		t.Errorf("the guest's CA is %s, %v; the launch told of %s", sum, err, b.live.Setup.CASHA256)
	}
	bundle := b.read(t, backend.GuestCABundle)
	count := 0
	for rest := []byte(bundle); ; count++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
	}
	if !strings.Contains(bundle, strings.TrimSpace(own)) || count < 2 {
		t.Errorf("the bundle has %d certificates, and should have the system's and the bottle's", count)
	}
	stores := 0
	for _, store := range trust.Stores([]byte(own)) {
		if _, code := b.run(t, backend.Command{Argv: []string{"test", "-s", store.Path}}, ""); code != 0 {
			continue
		}
		stores++
		if !strings.Contains(b.read(t, store.Path), strings.TrimSpace(own)) {
			t.Errorf("%s lacks the bottle's CA", store.Path)
		}
	}
	if stores == 0 {
		t.Error("the guest has no store of CAs")
	}
}

// doctor lets the guest's own doctor judge, for a whole environment and for one
// that only a login shell fills.
func (b *bottle) doctor(t *testing.T) {
	verb := strings.Join(trust.DoctorArgv(), " ")
	empty := emptyShell(b.Account.Home)
	// A program of this host that is too old is the host's matter.
	ours := []string{"lacks the variables", "these files", "CA", "proxy answers not", "cannot be read"}
	for how, script := range map[string]string{"a whole environment": verb, "a login shell": empty + "sh -l -c '" + verb + "'"} {
		out, code := b.run(t, backend.Command{Argv: []string{"sh", "-c", script + " | grep -v '^  fix:\\|^Variables'"}}, "")
		if slices.ContainsFunc(ours, func(problem string) bool { return strings.Contains(out, problem) }) || code > 1 {
			t.Errorf("the doctor in %s ends with %d: %s", how, code, out)
		}
	}
	// The control: where the variables are not, it says so, and nothing else of ours.
	out, code := b.run(t, backend.Command{Argv: []string{"sh", "-c", empty + verb}}, "")
	if code != 1 || !strings.Contains(out, "lacks the variables") || strings.Contains(out, "these files") {
		t.Errorf("the doctor in an empty environment ends with %d: %s", code, out)
	}
}
