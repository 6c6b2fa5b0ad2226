package cli

import (
	"io"
	"os"
	"time"
)

// Network is a network as the engine tells of it.
type Network struct {
	Name    string
	Labels  map[string]string
	Created time.Time
	// Internal is true for a host-only network.
	Internal bool
	Subnet   string // IPv4 CIDR; "" when unknown
	Gateway  string // bare IPv4 address; "" when unknown
}

// Container is a container as the engine tells of it.
type Container struct {
	ID      string
	State   string // "running", "stopped", "stopping", "unknown"
	Labels  map[string]string
	Image   string
	Created time.Time
	Started time.Time // zero = never
	// Attachments are the addresses by network; only while it runs.
	Attachments []Attachment
	// Networks are the wanted attachments in order, also of a stopped one.
	Networks    []string
	Nameservers []string // as asked for with --dns
	CapDrop     []string
	UseInit     bool
}

// Attachment is a container's place on a network.
type Attachment struct {
	Network string
	IPv4    string // bare, the prefix is in Prefix
	Prefix  int    // 0 when unknown
	Gateway string
	IPv6    string // bare, "" when none
}

// Image is an image in the engine's store.
type Image struct {
	Reference string
	Digest    string // of the index or manifest, "sha256:…"
	Created   time.Time
	Variants  []Variant
}

// Variant is an image for one platform.
type Variant struct {
	OS, Architecture string
	Digest           string
	User             string
	Env              []string
	Labels           map[string]string
}

// Status is the daemon's.
type Status struct {
	// Running is true when the daemon answers.
	Running bool
	// State is the program's word: "running", "not running", "unregistered".
	State string
}

// Versions are those of `system version`.
type Versions struct {
	CLI    string // bare, such as "1.2.2"
	Daemon string // "" when it did not answer
}

// NetworkRequest makes a network.
type NetworkRequest struct {
	Name     string
	Internal bool
	Labels   map[string]string
}

// Mount is a directory or socket of the host in a guest.
type Mount struct {
	Host, Guest string
	ReadOnly    bool
}

// Publish is a guest's port on the host's 127.0.0.1.
type Publish struct{ HostPort, GuestPort int }

// PublishSocket is a guest's UNIX socket at a host path.
type PublishSocket struct{ Host, Guest string }

// RunRequest starts a container, detached.
type RunRequest struct {
	Name  string
	Image string
	// Platform is "linux/arm64" or the like; "" leaves it to the engine.
	Platform   string
	Entrypoint string
	Args       []string
	Env        []string // K=V
	Labels     map[string]string
	// Networks in order: the first has the default route. None of them = "none".
	Networks []string
	DNS      []string
	NoDNS    bool
	UID, GID int // -1 = the image's
	Workdir  string
	Init     bool
	ReadOnly bool
	CapDrop  []string
	CapAdd   []string
	// CPUs is a whole number, MemoryBytes a multiple of MiB; 0 = the engine's default.
	CPUs        int
	MemoryBytes int64
	Ulimits     []string // TYPE=SOFT[:HARD]
	Tmpfs       []string // guest paths
	Mounts      []Mount
	Publish     []Publish
	Sockets     []PublishSocket
}

// ExecRequest runs a command in a running container.
type ExecRequest struct {
	Container string
	Argv      []string
	Env       []string // added behind the container's own: they cannot override
	UID, GID  int      // -1 = the container's
	Workdir   string
	// Interactive hands Stdin to the command. Without it the program's stdin
	// is /dev/null.
	Interactive bool
	TTY         bool
	Stdin       io.Reader
	// Stdout must be drained: the program gives up on a reader that takes
	// nothing for three seconds, and then reports a failure. nil discards.
	Stdout io.Writer
	Stderr io.Writer // nil discards; the engine's own errors are on it too
	// Signals are sent to the program, which passes TERM, INT, USR1, USR2 on;
	// the third TERM or INT ends the program itself.
	Signals <-chan os.Signal
}

// ExecResult is how the program ended. Only the caller can tell a command's
// status from the engine's, since the program uses the same numbers for both.
type ExecResult struct {
	Code int
	// Failure is set when stderr ended in the engine's own words.
	Failure *Error
}

// BuildRequest builds an image.
type BuildRequest struct {
	Tag        string
	Dockerfile string
	Context    string
	Platform   string
	DNS        []string
	BuildArgs  map[string]string
	Labels     map[string]string
	NoCache    bool
	// Progress receives the build's log as it happens; nil discards.
	Progress io.Writer
}

// BuilderRequest starts the builder.
type BuilderRequest struct{ DNS []string }

// Builder is the builder's state.
type Builder struct {
	// State is "" when there is none, else as in Container.
	State       string
	ID          string
	Nameservers []string
}

// StopRequest ends a container politely.
type StopRequest struct {
	Container string
	Grace     time.Duration // whole seconds
}

// CopyRequest is `container cp`: one of the two sides is "ID:/absolute/path".
type CopyRequest struct{ From, To string }
