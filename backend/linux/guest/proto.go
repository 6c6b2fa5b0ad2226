package guest

import "github.com/bottle-mcp/bottle-mcp/backend"

// Listen is the first frame from the shim: open these ports on 127.0.0.1. The
// answer is a Done frame with the listeners' descriptors in the same order.
type Listen struct {
	Ports []int `json:"ports"`
}

// Setup is the second frame: build the root filesystem and raise the walls.
// The answer is a Done frame.
type Setup struct {
	Hostname string `json:"hostname"`
	// Multi is true when a range of user ids is mapped and uid 0 exists.
	Multi  bool   `json:"multi"`
	CACert []byte `json:"ca_cert"`
	// SystemFiles are files of /etc by path, see backend.AgentSpec.
	SystemFiles map[string][]byte `json:"system_files"`
	DiskBytes   int64             `json:"disk_bytes"`
}

// Serve is the third frame, read by the second stage. The answer is a Done
// frame; then requests follow.
type Serve struct {
	Multi bool     `json:"multi"`
	Env   []string `json:"env"`
	PIDs  int      `json:"pids"`
}

// Done answers Listen, Setup and Serve.
type Done struct {
	Error string `json:"error,omitempty"`
}

// Request operations.
const (
	OpExec   = "exec"   // start a command; three descriptors follow
	OpSignal = "signal" // signal its process tree
	OpKill   = "kill"   // kill its process tree and wait until it is gone
	OpStats  = "stats"
)

// Request is a frame from the shim to the second stage.
type Request struct {
	Op  string `json:"op"`
	Job uint64 `json:"job"`
	// Argv, Dir and Env are bytes: Linux does not ask for UTF-8 and JSON
	// strings would bend what is not.
	Argv [][]byte `json:"argv,omitempty"`
	Dir  []byte   `json:"dir,omitempty"`
	User string   `json:"user,omitempty"`
	Env  [][]byte `json:"env,omitempty"`
	// TTY asks for a terminal of that size. The first descriptor is then a stream
	// of package terminal, the second gets the output, the third is not used.
	TTY    *backend.WindowSize `json:"tty,omitempty"`
	Signal int                 `json:"signal,omitempty"`
}

// Event operations.
const (
	EvExit  = "exit"
	EvStats = "stats"
)

// Event is a frame from the second stage to the shim. It comes from the
// guest: nothing in it is trusted beyond the job it names.
type Event struct {
	Op     string             `json:"op"`
	Job    uint64             `json:"job"`
	Status backend.ExitStatus `json:"status"`
	Stats  backend.Usage      `json:"stats"`
}
