package selftest

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// Spec says what to probe. It travels as JSON into the guest.
type Spec struct {
	// HostAddresses are this host's addresses; none may answer on any port.
	HostAddresses []string `json:"host_addresses"`
	// Targets are addresses outside that must be unreachable.
	Targets Targets `json:"targets"`
	// Network is true where the guest may have interfaces beyond lo and a
	// default route. A time-out then counts as closed, and what is around the
	// guest (gateways, peers, the sidecar) is probed too.
	Network bool `json:"network,omitempty"`
	// Canary is an address that answers on the Internet, one more target for
	// guests with a network; "" is none.
	Canary string `json:"canary,omitempty"`
	// ProxyURL is the egress proxy as the agent sees it; "" = the bottle has none.
	ProxyURL string `json:"proxy_url,omitempty"`
	// SidecarPorts are the TCP ports at the proxy's address that serve this
	// bottle, besides the proxy's own.
	SidecarPorts []int `json:"sidecar_ports,omitempty"`
	// BottleID is what the proxy must say it serves.
	BottleID string `json:"bottle_id"`
	// AllowedHost is a host the policy allows; "" = the policy has none.
	AllowedHost string `json:"allowed_host,omitempty"`
	// AllowedPort is a port of it that the policy allows; 0 is 443.
	AllowedPort int `json:"allowed_port,omitempty"`
	// UnlistedHost is a host the policy does not allow.
	UnlistedHost string `json:"unlisted_host"`
	// SecretPaths are host files and directories. One that is readable in the
	// guest and not empty is a leak.
	SecretPaths []string `json:"secret_paths"`
	// ExpectInterfaces are all interfaces the guest may have.
	ExpectInterfaces []string `json:"expect_interfaces"`
	// ExpectUID is the uid the probe must run as.
	ExpectUID int `json:"expect_uid"`
	// InitName is the name of the guest's process 1; "" is not compared.
	InitName string `json:"init_name,omitempty"`
	// OwnKernel is true where the guest is a machine of its own, so that kernel
	// threads and the initial namespaces in it are not the host's.
	OwnKernel bool    `json:"own_kernel,omitempty"`
	Require   Require `json:"require"`
	// Timeout bounds each check and with it the whole run; 0 means one second.
	Timeout time.Duration `json:"timeout_ns"`
	// Nested is for the probe alone: it starts itself in a user namespace of its
	// own and asks for the one check that has to be made there.
	Nested bool `json:"nested,omitempty"`
}

// Targets are outside addresses by kind.
type Targets struct {
	TCP4     []string `json:"tcp4"`     // tried on ports 80 and 443
	TCP6     []string `json:"tcp6"`     // tried on ports 80 and 443
	UDP      []string `json:"udp"`      // tried on port 53
	Metadata []string `json:"metadata"` // tried on port 80
}

// Require are process facts that must hold.
type Require struct {
	Seccomp    int  `json:"seccomp"` // mode in /proc/self/status; 2 = filter, 0 = any
	NoNewPrivs bool `json:"no_new_privs"`
}

// seccompFilter is the mode of a process whose system calls are filtered.
const seccompFilter = 2

// networkTimeout is the time of a run in a guest with a network, where being
// closed is shown by nothing happening for long enough.
const networkTimeout = 2 * time.Second

// For returns the spec of guests that are as g says. The caller fills in what
// it knows of its bottle and its host.
func For(g backend.GuestFacts) Spec {
	s := Default()
	s.Network, s.OwnKernel, s.InitName = g.Network, g.OwnKernel, g.InitName
	s.ExpectInterfaces = slices.Clone(g.Interfaces)
	s.Require = Require{NoNewPrivs: g.NoNewPrivs}
	if g.Seccomp {
		s.Require.Seccomp = seccompFilter
	}
	if g.OwnKernel {
		s.SecretPaths = nil // an image has files of its own by these names
	}
	if g.Network {
		s.Timeout = networkTimeout
	}
	return s
}

// sidecar is where the proxy listens, when that is a machine beside the guest
// and not a relay within.
func (s Spec) sidecar() (netip.AddrPort, bool) {
	u, err := url.Parse(s.ProxyURL)
	if err != nil || !s.Network {
		return netip.AddrPort{}, false
	}
	addr, err := netip.ParseAddr(u.Hostname())
	port, portErr := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil || portErr != nil || addr.IsLoopback() {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), true
}

// Default returns the spec every bottle without a network is probed with:
// documentation addresses (RFC 5737, RFC 3849), so that even a leak reaches
// nobody. The caller fills in what it knows of its bottle and its host.
func Default() Spec {
	return Spec{
		Targets: Targets{
			TCP4:     []string{"203.0.113.1"},
			TCP6:     []string{"2001:db8::1"},
			UDP:      []string{"203.0.113.1", "2001:db8::1"},
			Metadata: []string{"169.254.169.254", "fd00:ec2::254", "100.100.100.200"},
		},
		UnlistedHost:     "unlisted.invalid",
		ExpectInterfaces: []string{"lo"},
		ExpectUID:        backend.AgentUID,
		InitName:         "bottle-mcp",
		SecretPaths:      []string{"/etc/shadow", "/etc/gshadow", "/etc/ssh", "/root"},
		Require:          Require{Seccomp: seccompFilter, NoNewPrivs: true},
		Timeout:          time.Second,
	}
}
