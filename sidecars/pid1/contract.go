package pid1

import (
	"strconv"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// Where things are in a sidecar unless its command line says otherwise.
const (
	DefaultConfigDir = "/run/bottle"
	DefaultListen    = "interface:eth1"
	// HostSocket is where sidecars.Bottles finds the host's MCP server: the
	// socket that was mounted there.
	HostSocket = "/run/mcp.sock"
)

// SocketName is the name of a daemon's socket in the directory that "unix:DIR"
// names.
func SocketName(daemon sidecars.Service) string { return string(daemon) + ".sock" }

// The user and group ids of the daemons: one each, so that none can harm another.
const (
	DaemonUID  = 65532 // egress
	BottlesUID = 65531
)

func uidOf(daemon sidecars.Service) uint32 {
	if daemon == sidecars.Bottles {
		return BottlesUID
	}
	return DaemonUID
}

// Capabilities returns what the init needs of the machine it runs in, without
// the prefix CAP_: the mounted directory may show another user's ids, and
// daemons run as, and are ended as, a user of their own. SETPCAP empties their
// bounding set and is the one that may be missing.
func Capabilities() []string {
	return []string{"DAC_OVERRIDE", "SETUID", "SETGID", "SETPCAP", "KILL"}
}

// InitOptions are the arguments of a sidecar's first process.
type InitOptions struct {
	// Listen is where the guest comes from: "interface:NAME" or "unix:DIR".
	// "" = DefaultListen.
	Listen string
	// ConfigDir is the mounted directory. "" = DefaultConfigDir.
	ConfigDir string
	// Until is when the sidecar ends by itself; zero = never.
	Until time.Time
}

// Args are the arguments behind the program's name.
func (o InitOptions) Args() []string {
	args := []string{"sidecar", "init"}
	if o.Listen != "" {
		args = append(args, "--listen", o.Listen)
	}
	if o.ConfigDir != "" {
		args = append(args, "--config", o.ConfigDir)
	}
	if !o.Until.IsZero() {
		args = append(args, "--until", strconv.FormatInt(o.Until.Unix(), 10))
	}
	return args
}

// ReadyArgs are the arguments, behind the program's name, that ask a running
// sidecar whether it serves. The answer on standard output is a Report.
func ReadyArgs(timeout time.Duration) []string {
	return []string{"sidecar", "ready", "--timeout", timeout.String()}
}

// ReloadArgs are the arguments, behind the program's name, that have a running
// sidecar read its directory again, and wait until the configuration of that
// digest is in force or was refused. The answer on standard output is a Report.
func ReloadArgs(digest string, timeout time.Duration) []string {
	return []string{"sidecar", "reload", "--expect", digest, "--timeout", timeout.String()}
}

// ServiceOK is what a Report says of a daemon that answered.
const ServiceOK = "ok"

// Report is what "sidecar ready" prints, one line of JSON.
type Report struct {
	Ready bool `json:"ready"`
	// Services holds ServiceOK, or in words what is wrong, for each daemon.
	Services map[sidecars.Service]string `json:"services"`
	Bottle   string                      `json:"bottle"`
	// Daemons is what the init knows of its children.
	Daemons map[sidecars.Service]Daemon `json:"daemons,omitempty"`
	// Reloads counts the reloads that were asked for and are done, also those
	// that changed nothing because the new configuration is bad.
	Reloads int `json:"reloads"`
	// ReloadError is why the last reload changed nothing.
	ReloadError string `json:"reload_error,omitempty"`
	// Config is the ConfigDigest of what is in force.
	Config string `json:"config,omitempty"`
	// Error is why nothing could be asked at all.
	Error string `json:"error,omitempty"`
}

// Daemon is one child of the init.
type Daemon struct {
	Alive    bool `json:"alive"`
	PID      int  `json:"pid,omitempty"`
	Restarts int  `json:"restarts"`
}
