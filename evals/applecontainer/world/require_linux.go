package world

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// GateEnv must be "1" for a world to be made.
const GateEnv = "BOTTLE_MCP_STANDIN"

// requirement is a file, or with no slash a command, and its Debian package.
type requirement struct{ what, pkg string }

// requirements is what .ci/run installs.
func requirements() []requirement {
	return []requirement{
		{"podman", "podman"},
		{"crun", "crun"},
		{"conmon", "conmon"},
		{"netavark", "netavark"},
		{"aardvark-dns", "aardvark-dns"},
		{"iptables", "iptables"},
		{"iptables-restore", "iptables"},
		{"ip6tables", "iptables"},
		{"ip6tables-restore", "iptables"},
		{"ip", "iproute2"},
		{"busybox", "busybox-static"},
		{"curl", "curl"},
		{"git", "git"},
		{"ldd", "libc-bin"},
		{hostRoots, "ca-certificates"},
		{"/etc/containers", "podman"},
	}
}

// require says everything that this machine lacks, at once.
func require() error {
	var missing []error
	if os.Geteuid() != 0 {
		missing = append(missing, errors.New("root is missing: run as root"))
	}
	for _, r := range requirements() {
		if find(r.what) == "" {
			missing = append(missing, fmt.Errorf("%s is missing: apt-get install %s", r.what, r.pkg))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("the world of the stand-in cannot be made here: %w", errors.Join(missing...))
	}
	return nil
}

// find returns the path of a command or file, "" when it is nowhere. Podman
// keeps its own programs outside $PATH.
func find(what string) string {
	if strings.Contains(what, "/") {
		if _, err := os.Stat(what); err != nil {
			return ""
		}
		return what
	}
	if path, err := exec.LookPath(what); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/lib/podman", "/usr/libexec/podman", "/usr/local/libexec/podman", "/usr/local/lib/podman"} {
		if path := filepath.Join(dir, what); find(path) != "" {
			return path
		}
	}
	return ""
}
