//go:build linux

package linux

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// TestUnavailable names the setting that stands in the way, and its mend.
func TestUnavailable(t *testing.T) {
	for _, tc := range []struct {
		name   string
		err    error
		sysctl map[string]string
		reason string
		fix    string
	}{
		{"AppArmor", unix.EACCES, map[string]string{"kernel/apparmor_restrict_unprivileged_userns": "1"}, "AppArmor", "apparmor_restrict_unprivileged_userns=0"},
		{"Debian's switch", unix.EPERM, map[string]string{"kernel/unprivileged_userns_clone": "0"}, "kernel.unprivileged_userns_clone=0", "unprivileged_userns_clone=1"},
		{"limit zero", unix.ENOSPC, map[string]string{"user/max_user_namespaces": "0"}, "user.max_user_namespaces=0", "max_user_namespaces=15000"},
		{"limit reached", unix.ENOSPC, map[string]string{"user/max_user_namespaces": "100"}, "limit of user namespaces", "remove bottles"},
		{"container", unix.EPERM, nil, "not permitted", "inside a container"},
		{"something else", errors.New("no such thing"), nil, "no such thing", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := unavailable(tc.err, func(name string) string { return tc.sysctl[name] })
			var u *backend.UnavailableError
			if !errors.As(err, &u) {
				t.Fatalf("not an UnavailableError: %v", err)
			}
			if !strings.Contains(u.Reason, tc.reason) || !strings.Contains(u.Fix, tc.fix) || (tc.fix == "") != (u.Fix == "") {
				t.Errorf("reason %q, fix %q; want %q and %q", u.Reason, u.Fix, tc.reason, tc.fix)
			}
		})
	}
}
