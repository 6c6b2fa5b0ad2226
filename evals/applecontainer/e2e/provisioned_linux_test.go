package e2e

import (
	"strings"
)

// provisioned lets the guest's own doctor judge what a launch left there, for a
// whole environment and for one that only a login shell fills.
func (m *mac) provisioned(h *host, id string) {
	t := m.t
	t.Helper()
	const healthy = "Variables, files and CA are in place, and the proxy answers."
	if r := h.exec(id, guestBinary, "guest", "doctor"); r.ExitCode != 0 || !strings.HasPrefix(r.Stdout, healthy) {
		t.Errorf("the doctor says %+v", r)
	}
	empty := "env -i HOME=/home/agent PATH=/usr/bin:/bin "
	if r := h.exec(id, "sh", "-c", empty+guestBinary+" guest doctor"); r.ExitCode != 1 || !strings.Contains(r.Stdout, "lacks the variables") {
		t.Errorf("the doctor in an empty environment says %+v", r)
	}
	if r := h.exec(id, "sh", "-c", empty+"sh -l -c '"+guestBinary+" guest doctor'"); r.ExitCode != 0 {
		t.Errorf("the doctor in a login shell says %+v", r)
	}
	// The image's root brought what belongs to every user.
	if r := h.exec(id, "cat", "/etc/gitconfig", "/etc/profile.d/bottle-mcp.sh", "/etc/environment"); r.ExitCode != 0 ||
		!strings.Contains(r.Stdout, "directory = "+guestWorkspace) || !strings.Contains(r.Stdout, "export SSL_CERT_FILE=") {
		t.Errorf("/etc holds %+v", r)
	}
}
