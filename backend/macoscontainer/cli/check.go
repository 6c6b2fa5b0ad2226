package cli

import (
	"fmt"
	"math"
	"net/netip"
	"path"
	"regexp"
	"strings"
	"unicode"
)

// Limits of the program.
const (
	maxName         = 63
	minMemory       = 200 << 20
	mebibyte        = 1 << 20
	minPort         = 2
	maxPort         = math.MaxUint16
	maxPublished    = 64
	maxNetworkKey   = 128
	maxNetworkLabel = 4096
	// maxSocketPath leaves room for the 104 bytes of a socket's address on a Mac.
	maxSocketPath = 100
	maxReference  = 512
)

var (
	containerName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)
	networkName   = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$`)
	networkKey    = regexp.MustCompile(`^` + keySegment + `(?:\.` + keySegment + `)*(?:/` + keySegment + `(?:\.` + keySegment + `)*)*$`)
	platformName  = regexp.MustCompile(`^[a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9]+)?$`)
	capability    = regexp.MustCompile(`^(?:CAP_)?[A-Z][A-Z_]*$`)
	signalName    = regexp.MustCompile(`^(?:[A-Z][A-Z0-9+-]*|[1-9][0-9]?)$`)
	ulimit        = regexp.MustCompile(`^(core|cpu|data|fsize|locks|memlock|msgqueue|nice|nofile|nproc|rss|rtprio|rttime|sigpending|stack)` +
		`=` + ulimitValue + `(?::` + ulimitValue + `)?$`)
)

const (
	keySegment  = `[a-z0-9](?:[a-z0-9-]*[a-z0-9])?`
	ulimitValue = `(?:[0-9]{1,19}|-1|unlimited)`
)

func checkContainer(name string) error {
	if len(name) > maxName || !containerName.MatchString(name) {
		return fmt.Errorf("container name %.80q: use 2 to %d of letters, digits, '_', '.' and '-', beginning with a letter or digit", name, maxName)
	}
	return nil
}

func checkNetwork(name string) error {
	if name == noNetwork || !networkName.MatchString(name) {
		return fmt.Errorf("network name %.80q: use 1 to %d of a-z, 0-9, '.', '_' and '-', beginning and ending with a letter or digit, and not %q", name, maxName, noNetwork)
	}
	return nil
}

// checkNewNetwork refuses the name of the engine's own network too.
func checkNewNetwork(name string) error {
	if name == defaultNetwork {
		return fmt.Errorf("network name %q is the engine's own", name)
	}
	return checkNetwork(name)
}

// checkReference refuses what is no image reference in any case. The program
// knows the rest.
func checkReference(ref string) error {
	odd := func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }
	if ref == "" || len(ref) > maxReference || ref[0] == '-' || strings.ContainsFunc(ref, odd) {
		return fmt.Errorf("image reference %.80q: give a name such as registry/image:tag", ref)
	}
	return nil
}

func checkPlatform(platform string) error {
	if platform != "" && !platformName.MatchString(platform) {
		return fmt.Errorf("platform %.80q: use OS/ARCHITECTURE, such as linux/arm64", platform)
	}
	return nil
}

// checkContainerLabels holds to what the program can read back: it splits a
// label at every '='.
func checkContainerLabels(labels map[string]string) error {
	for k, v := range labels {
		switch {
		case k == "" || strings.Contains(k, "="):
			return fmt.Errorf("label key %.80q: it must not be empty nor hold '='", k)
		case strings.HasPrefix(k, "com.apple.container."):
			return fmt.Errorf("label key %.80q: the engine keeps that prefix for itself", k)
		case strings.Contains(v, "="):
			return fmt.Errorf("label %.80q: the value of a container's label cannot hold '='", k)
		}
	}
	return nil
}

func checkNetworkLabels(labels map[string]string) error {
	for k, v := range labels {
		switch {
		case len(k) > maxNetworkKey || !networkKey.MatchString(k):
			return fmt.Errorf("label key %.80q: use at most %d of a-z, 0-9 and inner '-' in segments joined by '.' and '/'", k, maxNetworkKey)
		case v == "":
			return fmt.Errorf("label %.80q: a network's label needs a value", k)
		case len(k)+1+len(v) > maxNetworkLabel:
			return fmt.Errorf("label %.80q: key and value are longer than %d bytes", k, maxNetworkLabel)
		}
	}
	return nil
}

// checkEnv wants K=V: the program would fill in a bare K from its own
// environment. Values are never quoted.
func checkEnv(env []string) error {
	for i, kv := range env {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return fmt.Errorf("environment entry %d is not NAME=VALUE", i+1)
		}
		if err := text(k); err != nil {
			return fmt.Errorf("the name of environment entry %d: %w", i+1, err)
		}
		if err := text(v); err != nil {
			return fmt.Errorf("the value of environment variable %.80q: %w", k, err)
		}
	}
	return nil
}

func checkDNS(servers []string) error {
	for _, s := range servers {
		if addr, err := netip.ParseAddr(s); err != nil || addr.Zone() != "" {
			return fmt.Errorf("nameserver %.80q is not an IP address", s)
		}
	}
	return nil
}

// checkUser wants both or neither: a gid alone only adds a group.
func checkUser(uid, gid int) error {
	switch {
	case uid == -1 && gid == -1:
		return nil
	case uid < 0 || gid < 0 || uid > math.MaxUint32 || gid > math.MaxUint32:
		return fmt.Errorf("user %d, group %d: give both as numbers from 0 on, or -1 for both", uid, gid)
	}
	return nil
}

// checkPath wants an absolute path that can stand in a field of its own.
func checkPath(what, p string) error {
	switch {
	case !path.IsAbs(p):
		return fmt.Errorf("%s %.200q is not an absolute path", what, p)
	case strings.Contains(p, ":"):
		return fmt.Errorf("%s %.200q holds ':', which the program takes for the end of the path", what, p)
	}
	return text(p)
}

func checkMounts(mounts []Mount) error {
	for _, m := range mounts {
		if err := checkPath("the host's side of a mount", m.Host); err != nil {
			return err
		}
		if err := checkPath("the guest's side of a mount", m.Guest); err != nil {
			return err
		}
	}
	return nil
}

func checkSockets(sockets []PublishSocket) error {
	for _, s := range sockets {
		if err := checkPath("the host's side of a socket", s.Host); err != nil {
			return err
		}
		if len(s.Host) > maxSocketPath {
			return fmt.Errorf("the host's side of a socket %.200q is longer than the %d bytes that macOS allows: use a shorter directory", s.Host, maxSocketPath)
		}
		if err := checkPath("the guest's side of a socket", s.Guest); err != nil {
			return err
		}
	}
	return nil
}

func checkPublished(ports []Publish) error {
	if len(ports) > maxPublished {
		return fmt.Errorf("%d ports are to be published: the engine allows %d", len(ports), maxPublished)
	}
	seen := map[int]bool{}
	for _, p := range ports {
		if p.HostPort < minPort || p.HostPort > maxPort || p.GuestPort < minPort || p.GuestPort > maxPort {
			return fmt.Errorf("port %d on %d: both must be from %d to %d, and the engine chooses none by itself", p.GuestPort, p.HostPort, minPort, maxPort)
		}
		if seen[p.HostPort] {
			return fmt.Errorf("host port %d is to be published twice", p.HostPort)
		}
		seen[p.HostPort] = true
	}
	return nil
}

func checkUlimits(limits []string) error {
	seen := map[string]bool{}
	for _, l := range limits {
		m := ulimit.FindStringSubmatch(l)
		if m == nil {
			return fmt.Errorf("ulimit %.80q: use TYPE=SOFT[:HARD], such as nofile=1024:4096", l)
		}
		if seen[m[1]] {
			return fmt.Errorf("ulimit %s is given twice", m[1])
		}
		seen[m[1]] = true
	}
	return nil
}

func checkResources(cpus int, memory int64) error {
	switch {
	case cpus < 0:
		return fmt.Errorf("%d CPUs: give a whole number from 1 on", cpus)
	case memory == 0:
		return nil
	case memory < minMemory:
		return fmt.Errorf("memory of %d bytes: the engine needs at least %d MiB", memory, minMemory/mebibyte)
	case memory%mebibyte != 0:
		return fmt.Errorf("memory of %d bytes: the engine counts in whole MiB", memory)
	}
	return nil
}

func checkCapabilities(names []string) error {
	for _, name := range names {
		if !capability.MatchString(name) {
			return fmt.Errorf("capability %.80q: use a name such as NET_BIND_SERVICE, or ALL", name)
		}
	}
	return nil
}
