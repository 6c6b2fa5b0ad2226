package macoscontainer

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/cli"
	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/images"
)

// Name is the name of this backend.
const Name = "macos-container"

// isolationVM is the only isolation class: a virtual machine per container.
const isolationVM = "vm"

// Settings of the operator, read from the environment.
const (
	// EnvTopology chooses how the agent reaches its sidecar.
	EnvTopology = "BOTTLE_MCP_MACOS_TOPOLOGY"
	// EnvProgram names the container program where it is not on PATH: agent
	// hosts with a window start servers with a short one.
	EnvProgram = "BOTTLE_MCP_CONTAINER"
)

// Deadlines of this backend's own work. Every single command of the engine has
// one of its own besides (package cli).
const (
	// startTimeout allows for the boots of other virtual machines, which the
	// engine does one after the other.
	startTimeout = 3 * time.Minute
	readyTimeout = 30 * time.Second
	stopTimeout  = 90 * time.Second
)

// Config configures the backend.
type Config struct {
	// BottlesDir holds one private directory per bottle.
	BottlesDir string
	// SocketDir is a short path for the sockets of topology socket: macOS
	// allows 104 bytes for one. "" = "sock" beside BottlesDir.
	SocketDir string
	// CacheDir keeps the linux build that guests run; "" = "cache" beside BottlesDir.
	CacheDir string
	// Owner is written on every object; others' are invisible and never touched.
	Owner  string
	Logger *slog.Logger
	// LookupEnv reads the operator's settings; nil = os.LookupEnv.
	LookupEnv func(string) (string, bool)
	// CLI says how to run the program. An empty Program means EnvProgram, else
	// "container" on PATH.
	CLI cli.Config
}

// Backend runs bottles with Apple's container. Use New.
type Backend struct {
	cfg    Config
	log    *slog.Logger
	cli    *cli.CLI
	images *images.Images
	seen   proofs
	// unsettled are bottles of which the engine may still be making something.
	unsettled idSet
	reloads   sync.Mutex // held while a policy is changed

	mu   sync.Mutex
	host *hostFacts // a Mac does not change while it runs
}

var _ backend.Backend = (*Backend)(nil)

// New returns the backend. It touches nothing yet.
func New(cfg Config) *Backend {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.LookupEnv == nil {
		cfg.LookupEnv = os.LookupEnv
	}
	beside := filepath.Dir(cfg.BottlesDir)
	if cfg.SocketDir == "" {
		cfg.SocketDir = filepath.Join(beside, "sock")
	}
	if cfg.CacheDir == "" {
		cfg.CacheDir = filepath.Join(beside, "cache")
	}
	if program, ok := cfg.LookupEnv(EnvProgram); ok && cfg.CLI.Program == "" {
		cfg.CLI.Program = program
	}
	b := &Backend{cfg: cfg, log: cfg.Logger.With("backend", Name), cli: cli.New(cfg.CLI)}
	b.images = images.New(images.Config{CLI: b.cli, CacheDir: cfg.CacheDir, LookupEnv: cfg.LookupEnv, Logger: b.log})
	return b
}

// Name implements backend.Backend.
func (b *Backend) Name() string { return Name }

// scaled is a deadline of this backend, stretched like the program's.
func (b *Backend) scaled(d time.Duration) time.Duration {
	if b.cfg.CLI.Scale == 0 {
		return d
	}
	return time.Duration(float64(d) * b.cfg.CLI.Scale)
}

// dir is the bottle's private directory.
func (b *Backend) dir(id backend.ID) string { return filepath.Join(b.cfg.BottlesDir, string(id)) }

// topology is how an agent reaches its sidecar.
type topology string

const (
	twoNetwork topology = "two-network"
	socket     topology = "socket"
)

// topology reads the operator's choice.
func (b *Backend) topology() (topology, error) {
	value, _ := b.cfg.LookupEnv(EnvTopology)
	switch topology(value) {
	case "", twoNetwork:
		return twoNetwork, nil
	case socket:
		return socket, nil
	}
	return "", fmt.Errorf("%s is %.40q: set it to %s or %s", EnvTopology, value, twoNetwork, socket)
}

// known refuses ids that cannot be ours before they reach a path or a name.
func (b *Backend) known(ctx context.Context, id backend.ID) (record, error) {
	if err := id.Validate(); err != nil {
		return record{}, err
	}
	if err := ctx.Err(); err != nil {
		return record{}, context.Cause(ctx)
	}
	return b.readRecord(id)
}
