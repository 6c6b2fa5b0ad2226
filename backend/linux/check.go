//go:build linux

package linux

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/cgroup"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/guest"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/shim"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/walls"
)

// isolationNamespace is the only isolation class so far.
const isolationNamespace = "namespace"

// checkCache keeps a good answer for the life of the process: what a host can
// do does not change under it. A bad one is asked again, since the operator
// may have mended it.
type checkCache struct {
	mu   sync.Mutex
	caps *backend.Capabilities
}

// Check implements backend.Backend.
func (b *Backend) Check(ctx context.Context) (backend.Capabilities, error) {
	b.checks.mu.Lock()
	defer b.checks.mu.Unlock()
	if b.checks.caps != nil {
		return *b.checks.caps, nil
	}
	multi := os.Getuid() == 0
	if err := shim.Check(ctx, multi); err != nil {
		return backend.Capabilities{}, unavailable(err, sysctl)
	}
	caps := backend.Capabilities{
		Detail:    detail(multi),
		Isolation: []string{isolationNamespace},
		Services:  services(),
		MultiUser: multi,
		TTY:       true,
		Walls: []string{
			"namespaces: user, mount, pid, network, ipc, uts, cgroup",
			"no network but loopback; the sidecar's listeners are passed in as descriptors",
			"no capabilities, bounding set empty, no_new_privs",
			"seccomp: Moby's default profile, stricter",
			"read-only root of this host's programs; private /etc, /dev, /tmp and home",
			"masked /proc, /sys with processor topology only",
			"limits: open files, core dumps off, processes, disk",
			"sidecar jailed: own namespaces, empty root, no capabilities, seccomp, memory limit",
		},
		HostAddresses: backend.HostAddresses(),
		Guest: backend.GuestFacts{
			Interfaces: []string{"lo"}, Seccomp: true, NoNewPrivs: true, InitName: "bottle-mcp",
			HostDirs: guest.HostDirs(),
		},
	}
	if v := walls.LandlockVersion(); v > 0 {
		caps.Walls = append(caps.Walls, "Landlock ABI "+strconv.Itoa(v))
	} else {
		caps.Missing = append(caps.Missing, backend.Missing{Name: "landlock", Reason: "this kernel has none or it is not enabled (lsm=landlock,…)"})
	}
	if !multi {
		caps.Missing = append(caps.Missing, backend.Missing{Name: "uid 0 in the guest", Reason: "an ordinary user maps one user id; commands run as the agent"})
	}
	b.groups(ctx, &caps)
	b.checks.caps = &caps
	cgroup.Sweep(cgroup.Root)
	b.refill(0)
	return caps, nil
}

// groups tries which control-group limits hold, with a group of its own.
func (b *Backend) groups(ctx context.Context, caps *backend.Capabilities) {
	g := cgroup.Create(cgroup.Root, "check-"+strconv.Itoa(os.Getpid()))
	g.Limit(backend.Limits{CPUs: 1, MemoryBytes: 64 << 20, PIDs: 64})
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := g.Remove(ctx); err != nil {
		b.log.Warn("a test control group stays behind", "error", err)
	}
	if len(g.InForce) > 0 {
		caps.Walls = append(caps.Walls, "control groups: "+strings.Join(g.InForce, ", "))
	}
	caps.Missing = append(caps.Missing, g.Missing...)
}

func detail(multi bool) string {
	var u unix.Utsname
	release := "unknown"
	if unix.Uname(&u) == nil {
		release = unix.ByteSliceToString(u.Release[:])
	}
	mode := "rootless, one user id"
	if multi {
		mode = "as root, a range of user ids"
	}
	return fmt.Sprintf("embedded namespaces on Linux %s, %s", release, mode)
}

// unavailable says which setting of the host stands in the way. sysctl reads
// one by its path below /proc/sys, "" when there is none.
func unavailable(err error, sysctl func(string) string) error {
	u := &backend.UnavailableError{Backend: Name, Reason: err.Error()}
	switch {
	case sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1":
		u.Reason = "AppArmor restricts unprivileged user namespaces (kernel.apparmor_restrict_unprivileged_userns=1): " + u.Reason
		u.Fix = "run `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`, install an AppArmor profile with a userns rule for this program, or run as root"
	case sysctl("kernel/unprivileged_userns_clone") == "0":
		u.Reason = "unprivileged user namespaces are switched off (kernel.unprivileged_userns_clone=0)"
		u.Fix = "run `sudo sysctl kernel.unprivileged_userns_clone=1`, or run as root"
	case sysctl("user/max_user_namespaces") == "0":
		u.Reason = "user namespaces are switched off (user.max_user_namespaces=0)"
		u.Fix = "run `sudo sysctl user.max_user_namespaces=15000`"
	case errors.Is(err, unix.ENOSPC):
		u.Reason = "the limit of user namespaces is reached: " + u.Reason
		u.Fix = "raise it with `sudo sysctl user.max_user_namespaces=15000`, or remove bottles"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		u.Fix = "allow user namespaces on this host; inside a container they need a looser seccomp or AppArmor profile"
	}
	return u
}

// explain adds the host's setting to a failed start when it is the cause.
func explain(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EACCES) ||
		strings.Contains(err.Error(), "in new namespaces") { // crossed a socket as text
		if u := unavailable(err, sysctl); u != nil && fixable(u) {
			return u
		}
	}
	return err
}

func fixable(err error) bool {
	var u *backend.UnavailableError
	return errors.As(err, &u) && u.Fix != ""
}

func sysctl(name string) string {
	data, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
