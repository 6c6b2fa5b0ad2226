package selftest

import (
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// Spec says what to probe. It travels as JSON into the guest.
type Spec struct {
	// HostAddresses are this host's addresses; none may answer on any port.
	HostAddresses []string `json:"host_addresses"`
	// Targets are addresses outside that must be unreachable.
	Targets Targets `json:"targets"`
	// Canary is an address that answers on the Internet, for guests with a
	// default route; "" where the guest has no network at all.
	Canary string `json:"canary,omitempty"`
	// ProxyURL is the egress proxy as the agent sees it; "" = the bottle has none.
	ProxyURL string `json:"proxy_url,omitempty"`
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
	Seccomp    int  `json:"seccomp"` // mode in /proc/self/status; 2 = filter
	NoNewPrivs bool `json:"no_new_privs"`
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
		Require:          Require{Seccomp: 2, NoNewPrivs: true},
		Timeout:          time.Second,
	}
}
