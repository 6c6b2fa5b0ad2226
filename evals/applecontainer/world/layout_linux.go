package world

import (
	"net/netip"
	"os"
	"path/filepath"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world/internet"
)

// StateEnv names the stand-in's state directory to the stand-in.
const StateEnv = "BOTTLE_STANDIN_STATE"

// Between the processes of a world: which part to play, and where it lives.
const (
	stageEnv = "BOTTLE_WORLD_STAGE"
	dirEnv   = "BOTTLE_WORLD"
)

// nestEnv, when set, makes a world inside a world: the tests of this package
// need a host that they know to the last firewall rule.
const nestEnv = "BOTTLE_WORLD_NEST"

// worldMark holds the path of the world's directory, in the world.
const worldMark = "/run/bottle-world"

// Addresses of the world. The Internet answers on every public address; these
// are the ones that mean something.
const (
	// DNSAddress is the resolver of the Mac, and public.
	DNSAddress = "203.0.113.53"
	// PublicAddress is what AllowedName and RefusedName have: public to every
	// address check, unlike the documentation ranges.
	PublicAddress = "11.22.33.80"
	// DocumentationAddress is what DocumentationName has.
	DocumentationAddress = "203.0.113.80"
	// LANAddress is a private address on the Mac's own network.
	LANAddress = "172.31.77.7"
	// SentinelAddress is the answer to every unlisted name.
	SentinelAddress = internet.Sentinel
	// HostAddress and HostAddress6 are the Mac's own on the uplink.
	HostAddress  = "198.51.100.2"
	HostAddress6 = "2001:db8:f::2"

	gateway  = "198.51.100.1"
	gateway6 = "2001:db8:f::1"
	uplink   = "en0"
)

// Names that the Internet's DNS knows from the start.
const (
	AllowedName       = "allowed.example"       // PublicAddress
	RefusedName       = "refused.example"       // PublicAddress
	DocumentationName = "documentation.example" // DocumentationAddress
	LANName           = "lan.example"           // LANAddress
	MetadataName      = "metadata.example"      // 169.254.169.254
	LoopbackName      = "loopback.example"      // 127.0.0.1
	IPv6Name          = "six.example"           // 2001:db8:80::80 alone
	MissingName       = "missing.example"       // NXDOMAIN
)

func firstNames() internet.Names {
	one := func(a string) []netip.Addr { return []netip.Addr{netip.MustParseAddr(a)} }
	return internet.Names{
		AllowedName:       one(PublicAddress),
		RefusedName:       one(PublicAddress),
		DocumentationName: one(DocumentationAddress),
		LANName:           one(LANAddress),
		MetadataName:      one("169.254.169.254"),
		LoopbackName:      one("127.0.0.1"),
		IPv6Name:          one("2001:db8:80::80"),
		MissingName:       nil,
	}
}

// CanaryAddresses are addresses that a leaky guest is asked to reach. All of
// them answer on TCP 53, 80 and 443 and on UDP 53 and 443.
func CanaryAddresses() []netip.Addr {
	return []netip.Addr{
		netip.MustParseAddr("1.1.1.1"),
		netip.MustParseAddr("169.254.169.254"),
		netip.MustParseAddr("100.100.100.200"),
		netip.MustParseAddr("2001:db8::1"),
		netip.MustParseAddr("2606:4700:4700::1111"),
		netip.MustParseAddr("fd00:ec2::254"),
	}
}

// Ports of the services of the Mac, on every address it has.
func hostTCPPorts() []int { return []int{22, 5900, 8080} }
func hostUDPPorts() []int { return []int{5353} }

// layout is the directory of one world. It is visible under the same path
// inside and outside, so that both sides name the same files.
type layout struct{ dir string }

func (l layout) path(elem ...string) string {
	return filepath.Join(append([]string{l.dir}, elem...)...)
}

func (l layout) state() string       { return l.path("state") }
func (l layout) bin() string         { return l.path("bin") }
func (l layout) standin() string     { return l.path("libexec", "container") }
func (l layout) mac() string         { return l.path("state", "mac") }
func (l layout) events() string      { return l.path("events.jsonl") }
func (l layout) names() string       { return l.path("internet", "names.json") }
func (l layout) sites() string       { return l.path("internet", "sites") }
func (l layout) originCA() string    { return l.path("internet", "ca.pem") }
func (l layout) originCAKey() string { return l.path("internet", "ca.key") }
func (l layout) cgroups() string     { return l.path("cgroups.json") }

// directories are made before anything else.
func (l layout) make() error {
	for _, d := range []string{
		"bin", "libexec", "state/faults", "state/mac", "internet/sites", "home",
		"tmp", "var-tmp", "containers", "etc-containers",
	} {
		if err := os.MkdirAll(l.path(d), 0o755); err != nil {
			return err
		}
	}
	for _, d := range []string{"tmp", "var-tmp"} {
		// Mkdir's mode goes through the umask and knows no sticky bit.
		if err := os.Chmod(l.path(d), 0o777|os.ModeSticky); err != nil {
			return err
		}
	}
	return nil
}
