package shim

import (
	"errors"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/jail"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// Names of files in a bottle's state directory.
const (
	StateFile  = "shim.json"
	SocketFile = "shim.sock"
	ErrorFile  = "shim.log"
)

// Start is the frame by which the server starts a bottle's processes. One of
// bytes follows it, by jail.EncodeSecrets: over a socket without a name, to be
// passed on to the sidecar unread.
type Start struct {
	ID       string             `json:"id"`
	Owner    string             `json:"owner"`
	Dir      string             `json:"dir"`
	Services []sidecars.Service `json:"services"`
	Config   sidecars.Config    `json:"config"`
	Created  time.Time          `json:"created"`
	Expires  time.Time          `json:"expires"`
	// HostSocket is where sidecars.Bottles leads to; "" = nowhere.
	HostSocket string `json:"host_socket,omitempty"`
}

// Request operations on the socket.
const (
	OpAgent  = "agent"
	OpExec   = "exec"
	OpSignal = "signal"
	OpKill   = "kill"
	OpState  = "state"
	OpStop   = "stop"
	OpReload = "reload"
)

// Request is one frame from a server. Every connection begins with one; an
// exec connection carries signal and kill frames after it.
type Request struct {
	Op    string   `json:"op"`
	Agent *Agent   `json:"agent,omitempty"`
	Argv  [][]byte `json:"argv,omitempty"`
	Dir   []byte   `json:"dir,omitempty"`
	User  string   `json:"user,omitempty"`
	Env   [][]byte `json:"env,omitempty"`
	// TTY asks for a terminal of that size; the first descriptor is then a
	// stream of package terminal.
	TTY    *backend.WindowSize `json:"tty,omitempty"`
	Signal int                 `json:"signal,omitempty"`
	// Reload is followed by a frame of bytes, by jail.EncodeSecrets: the socket is
	// its user's alone, and nothing of it is stored.
	Reload *jail.Reload `json:"reload,omitempty"`
}

// Agent starts the guest's second half.
type Agent struct {
	Env         []string          `json:"env"`
	CACert      []byte            `json:"ca_cert"`
	SystemFiles map[string][]byte `json:"system_files"`
	Limits      backend.Limits    `json:"limits"`
}

// Reply is one frame to a server.
type Reply struct {
	Error  string              `json:"error,omitempty"`
	Code   string              `json:"code,omitempty"` // CodeNotRunning, CodeExists or ""
	Status *backend.ExitStatus `json:"status,omitempty"`
	State  *State              `json:"state,omitempty"`
}

// Codes of errors callers branch on.
const (
	CodeNotRunning = "not-running"
	CodeExists     = "exists"
)

// Err turns a reply into the error it stands for.
func (r Reply) Err() error {
	if r.Error == "" {
		return nil
	}
	switch r.Code {
	case CodeNotRunning:
		return errorsJoin(backend.ErrNotRunning, r.Error)
	case CodeExists:
		return errorsJoin(backend.ErrExists, r.Error)
	}
	return errors.New(r.Error)
}

func errorsJoin(sentinel error, text string) error {
	return &codedError{sentinel: sentinel, text: text}
}

// codedError carries a sentinel across the socket under the shim's own words.
type codedError struct {
	sentinel error
	text     string
}

func (e *codedError) Error() string { return e.text }
func (e *codedError) Unwrap() error { return e.sentinel }

// Process names a process beyond the reuse of its number.
type Process struct {
	PID int `json:"pid"`
	// Start is the start time in clock ticks since boot, /proc/PID/stat field 22.
	Start uint64 `json:"start"`
}

// State is the shim's record, kept in StateFile for when it is gone.
type State struct {
	ID       string             `json:"id"`
	Owner    string             `json:"owner"`
	Created  time.Time          `json:"created"`
	Expires  time.Time          `json:"expires"`
	Expired  bool               `json:"expired"`
	Multi    bool               `json:"multi"`
	Boot     string             `json:"boot"` // boot id: process numbers mean nothing after a reboot
	Shim     Process            `json:"shim"`
	Guest    Process            `json:"guest"`
	Sidecar  Process            `json:"sidecar"`
	InForce  []string           `json:"in_force"`
	Missing  []backend.Missing  `json:"missing"`
	Services []sidecars.Service `json:"services"`

	// Live facts, told by a running shim only.
	AgentUp   bool          `json:"agent_up"`
	SidecarUp bool          `json:"sidecar_up"`
	Usage     backend.Usage `json:"usage"`
}
