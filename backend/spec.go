package backend

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// Sentinels that callers branch on.
var (
	// ErrNotFound means that no bottle of that ID exists here.
	ErrNotFound = errors.New("no such bottle")
	// ErrExists means that a bottle of that ID exists already.
	ErrExists = errors.New("bottle exists already")
	// ErrTaken means that the engine has an object of the bottle's name that is
	// somebody else's.
	ErrTaken = errors.New("the engine's name for the bottle is taken by somebody else's object")
	// ErrNotRunning means that the bottle exists but its guest has ended.
	ErrNotRunning = errors.New("bottle is not running")
)

// UnavailableError says why a backend cannot run bottles on this host.
type UnavailableError struct {
	Backend string
	Reason  string // what is missing, one clause
	Fix     string // what the operator can do, one sentence; "" when nothing helps
	// Findings are all conditions that were looked at, where there are several.
	Findings []Finding
}

func (e *UnavailableError) Error() string {
	if e.Fix == "" {
		return fmt.Sprintf("backend %s is unavailable: %s", e.Backend, e.Reason)
	}
	return fmt.Sprintf("backend %s is unavailable: %s; %s", e.Backend, e.Reason, e.Fix)
}

// ID names a bottle: its slug, 1 to 40 characters of a-z, 0-9 and inner "-",
// beginning with a letter or digit. It is safe as a path element, an argument
// and part of an engine's object name (Apple's limit is 63 with our prefixes).
type ID string

var idPattern = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$`)

// Validate reports whether id is well formed.
func (id ID) Validate() error {
	if !idPattern.MatchString(string(id)) {
		return fmt.Errorf("bottle id %.60q is not valid: use 1 to 40 of a-z, 0-9 and inner '-'", string(id))
	}
	return nil
}

// Places every guest has, whatever the engine.
const (
	// GuestBinary is the linux build of this program inside the guest.
	GuestBinary = "/.bottle/bottle-mcp"
	// GuestCACert holds the bottle's CA alone, GuestCABundle the root
	// filesystem's CAs and the bottle's.
	GuestCACert   = "/.bottle/ca.pem"
	GuestCABundle = "/.bottle/ca-bundle.pem"
	// AgentUser is who works in the guest: uid and gid AgentUID, unless an image
	// brings another user (see Account). Command.User takes this name for whoever
	// it is.
	AgentUser = "agent"
	AgentUID  = 1000
	// AgentHome is the agent's home in every guest: where an image's user has
	// another one, it is a link to that.
	AgentHome = "/home/agent"
	// GuestWorkspace is where a workspace is copied to and commands start.
	GuestWorkspace = "/home/agent/workspace"
)

// Account is who works in a guest: whom its image names, or the agent of every
// guest without.
type Account struct {
	Name string `json:"name"`
	UID  int    `json:"uid"`
	GID  int    `json:"gid"`
	// Home is where the home really is; AgentHome leads there.
	Home string `json:"home"`
}

// DefaultAccount is the agent where no image says otherwise.
func DefaultAccount() Account {
	return Account{Name: AgentUser, UID: AgentUID, GID: AgentUID, Home: AgentHome}
}

// Is reports whether a Command.User means this account: by its own name or
// number, as AgentUser, or by saying nothing.
func (a Account) Is(user string) bool {
	return user == "" || user == AgentUser || user == a.Name || user == strconv.Itoa(a.UID)
}

// Workspace is where GuestWorkspace really is.
func (a Account) Workspace() string { return a.Home + strings.TrimPrefix(GuestWorkspace, AgentHome) }

// Capabilities state what is true of a backend on this host.
type Capabilities struct {
	// Detail is one line for people: engine, version, mode ("rootless").
	Detail string
	// Isolation lists the isolation classes, the default first.
	Isolation []string
	// Services lists the sidecar daemons this backend can serve.
	Services []sidecars.Service
	// MultiUser is true when uid 0 and other uids exist beside the agent's.
	MultiUser bool
	// Images is true when AgentSpec.Image may name an OCI image.
	Images bool
	// TTY is true when Command.TTY works.
	TTY bool
	// Walls in force, and those missing with the reason, for the report.
	Walls   []string
	Missing []Missing
	// HostAddresses are addresses of this host that a guest must not reach.
	HostAddresses []string
	// Findings are the conditions that were looked at, where there are several.
	Findings []Finding
	// Guest is what a guest of this backend looks like from inside.
	Guest GuestFacts
}

// GuestFacts are what the isolation self-test has to expect of a guest. The
// zero value is a guest that shares this host's kernel, has no network and
// runs behind nothing.
type GuestFacts struct {
	// OwnKernel is true where the guest is a machine of its own.
	OwnKernel bool
	// Network is true where the guest has an interface and perhaps a default
	// route, so that a time-out counts as closed and a canary decides.
	Network bool
	// Interfaces are those it may have.
	Interfaces []string
	// Seccomp and NoNewPrivs hold for every command of Exec.
	Seccomp    bool
	NoNewPrivs bool
	// InitName is the name of process 1; "" is not compared.
	InitName string
	// HostDirs are the directories of this host whose programs it sees, where it
	// has no image; none = they are not known.
	HostDirs []string
	// Advice is what the operator can do when the self-test is red; "" = nothing
	// in particular.
	Advice string
}

// Missing names a wall or limit that is not in force and why.
type Missing struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// SidecarSpec describes the sidecar of a bottle.
type SidecarSpec struct {
	ID       ID
	Owner    string // owner id, written on every engine object
	Services []sidecars.Service
	Config   sidecars.Config
	Secrets  sidecars.Secrets
	Expires  time.Time // the whole bottle ends then, server or no server
	// HostSocket is the UNIX socket of this host that sidecars.Bottles leads to,
	// and nothing else of the sidecar. The backend may open its mode to others:
	// the directory around it is private.
	HostSocket string
}

// Endpoints are URLs as the agent sees them; "" means not served.
type Endpoints struct {
	Egress    string `json:"egress,omitempty"`
	Supervise string `json:"supervise,omitempty"`
	GitGate   string `json:"git_gate,omitempty"`
	Bottles   string `json:"bottles,omitempty"` // of the MCP server for bottles that launch bottles
	// NoProxy lists hosts and addresses that must bypass the proxy besides loopback.
	NoProxy []string `json:"no_proxy,omitempty"`
}

// EndpointsAt are the services at an address of their own ports, as the agent
// sees them.
func EndpointsAt(address string, services []sidecars.Service) Endpoints {
	var e Endpoints
	for _, svc := range services {
		url := "http://" + net.JoinHostPort(address, strconv.Itoa(svc.Port()))
		switch svc {
		case sidecars.Egress:
			e.Egress = url
		case sidecars.Bottles:
			e.Bottles = url + sidecars.BottlesPath
		}
	}
	return e
}

// ImageSpec says what a guest's root filesystem is made from. The zero value is
// the backend's default.
type ImageSpec struct {
	// Reference names an OCI image that the engine has or can pull.
	Reference string
	// Dockerfile is the absolute path of a file to build from; it excludes
	// Reference. Context is the directory it is built in, "" = the file's own.
	Dockerfile string
	Context    string
}

// Zero reports whether the spec leaves the choice to the backend.
func (s ImageSpec) Zero() bool { return s == ImageSpec{} }

// AgentSpec describes the guest of a bottle.
type AgentSpec struct {
	ID        ID
	Isolation string // "" = the backend's default
	Image     string // what PrepareImage gave; "" = the backend's default root filesystem
	// User is who works in the guest, by name or number, instead of the image's
	// own user. "" = the image's own, or AgentUser where that is root.
	User   string
	Env    []string
	CACert []byte // PEM; trusted in the guest before anything runs there
	// SystemFiles are small public files of /etc by path. A backend that makes
	// the guest's /etc itself brings them, readable by everybody; where it is an
	// image's they are left to the caller.
	SystemFiles map[string][]byte
	Limits      Limits
}

// Limits bound a guest. Zero means the backend's default.
type Limits struct {
	CPUs        float64 `json:"cpus,omitempty"`
	MemoryBytes int64   `json:"memory_bytes,omitempty"`
	DiskBytes   int64   `json:"disk_bytes,omitempty"`
	PIDs        int     `json:"pids,omitempty"`
}

// Command is one program to run in a guest.
type Command struct {
	Argv []string
	Dir  string // "" = GuestWorkspace, or the home where that is missing
	User string // "" = AgentUser; "root" where Capabilities.MultiUser
	Env  []string
	// Grace is the time between SIGTERM and SIGKILL when ctx ends; at most
	// one second, zero kills at once.
	Grace time.Duration
	// TTY gives the command a terminal; nil = none.
	TTY *TTY
}

// Environ is Env with what the terminal adds, which Env may say differently.
func (c Command) Environ() []string {
	if c.TTY == nil || c.TTY.Term == "" {
		return c.Env
	}
	return append([]string{"TERM=" + c.TTY.Term}, c.Env...)
}

// TTY is a pseudo terminal of the guest's own, never one of this host: it is the
// controlling terminal of a session that the command leads, and all three of its
// streams. Its output comes as Stdout, with nothing at Stderr. What comes from
// Stdin is typed, so that ctrl-C is the byte 3; the end of Stdin is typed as the
// terminal's end-of-file character where lines are edited, and is nothing
// elsewhere. Nobody types where Stdin is nil. The terminal is hung up when the
// command has ended.
type TTY struct {
	Term string // the variable TERM; "" leaves it as it is
	Size WindowSize
}

// WindowSize is the size of a terminal in characters; zero is not known.
type WindowSize struct {
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
}

// Streams are the standard streams of a command. A nil Stdin is empty, a nil
// writer discards. Signals received from Signals are sent to the command's
// process tree (numbers as on Linux), and sizes from Resize become those of its
// terminal.
type Streams struct {
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Signals <-chan int
	Resize  <-chan WindowSize
}

// PipeEnd is one end of a pipe that was made for a command alone. As a Stdin or
// Stdout, an engine on this machine may give the command the descriptor itself
// and spare every byte a copy. The other end stays with the caller, who closes
// both.
type PipeEnd struct{ *os.File }

// ExitStatus is how a command ended.
type ExitStatus struct {
	// Code is the exit code, or 128+Signal when a signal ended it; 127 when
	// the command does not exist and 126 when it cannot be executed.
	Code   int
	Signal int
	// StartError says why the command could not start ("" when it did).
	StartError string
	// Usage of the command and the children it waited for.
	UserTime, SystemTime time.Duration
	MaxRSSBytes          int64
}

// CopyDirection says which way the stream flows.
type CopyDirection int

// The two directions.
const (
	CopyIn CopyDirection = iota + 1
	CopyOut
)

// CopySpec is one tar stream into or out of a guest.
type CopySpec struct {
	Direction CopyDirection
	// Path is absolute in the guest. CopyIn unpacks below it (it is made when
	// missing); CopyOut packs it: entries are named relative to it, and a
	// single file is one entry with its base name.
	Path string
	User string // "" = AgentUser
	// AsFile says that a CopyIn holds one file and Path names the file itself,
	// unless a directory is there already.
	AsFile bool
	Reader io.Reader
	Writer io.Writer
}

// CopyReport counts what was moved.
type CopyReport struct {
	Files    int    `json:"files"`
	Dirs     int    `json:"dirs"`
	Symlinks int    `json:"symlinks"`
	Bytes    int64  `json:"bytes"`
	Skipped  []Skip `json:"skipped"` // at most 100 are listed
	// SkippedMore counts skipped entries beyond the listed ones.
	SkippedMore int `json:"skipped_more,omitempty"`
}

// Skip is one entry that was left out and why.
type Skip struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

// State of a bottle.
type State string

// The states List can tell.
const (
	Starting State = "starting"
	Running  State = "running"
	Degraded State = "degraded" // guest alive, a service is dead: no way out
	Dead     State = "dead"     // nothing runs; something is left to clean up
	Expired  State = "expired"  // ended by its TTL; something is left to clean up
)

// Instance is a bottle as its engine sees it.
type Instance struct {
	ID       ID
	Owner    string
	State    State
	Services map[sidecars.Service]bool // true = alive
	Created  time.Time
	Expires  time.Time
	Usage    Usage
}

// Usage is a snapshot; a negative number means that it is not known.
type Usage struct {
	MemoryBytes int64   `json:"memory_bytes"`
	DiskBytes   int64   `json:"disk_bytes"`
	PIDs        int     `json:"pids"`
	CPUSeconds  float64 `json:"cpu_seconds"`
}

// Finding is one condition of a backend on this host, for a person who mends
// what is missing.
type Finding struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"`
	// Advice is true for a condition that is wished for, not needed.
	Advice bool `json:"advice,omitempty"`
}
