package pid1

import (
	"fmt"
	"path"
	"strings"
)

// maxSocketDir leaves room for a socket's name in the 108 bytes of an address.
const maxSocketDir = 90

// place is where the guest comes from: one of the two is set.
type place struct {
	device string // a network interface
	dir    string // of UNIX sockets
}

func parsePlace(s string) (place, error) {
	kind, value, _ := strings.Cut(s, ":")
	switch {
	case kind == "interface" && isDevice(value):
		return place{device: value}, nil
	case kind == "unix" && path.IsAbs(value) && path.Clean(value) == value && len(value) <= maxSocketDir:
		return place{dir: value}, nil
	}
	return place{}, fmt.Errorf("--listen %.120q: use interface:NAME, such as %s, or unix:DIR with an absolute path of at most %d bytes", s, DefaultListen, maxSocketDir)
}

// isDevice follows the kernel's rule for names of interfaces. Loopback is no
// place where a guest comes from.
func isDevice(name string) bool {
	return name != "" && len(name) < 16 && name != "." && name != ".." && name != "lo" && !strings.ContainsAny(name, "/: \t\n\x00")
}
