package linux

import (
	"log/slog"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// Name is the name of this backend.
const Name = "linux"

// Defaults of limits that a spec leaves open.
const (
	defaultPIDs      = 2048
	defaultDiskBytes = 4 << 30
)

// Deadlines of this backend's own work.
const (
	startTimeout = 30 * time.Second
	askTimeout   = 5 * time.Second
	stopTimeout  = 10 * time.Second
)

// Config configures the backend.
type Config struct {
	// BottlesDir holds one private directory per bottle.
	BottlesDir string
	// Owner is written into every bottle's record; bottles of other owners
	// are invisible and never touched.
	Owner  string
	Logger *slog.Logger
	// Spare keeps one guest and sidecar started ahead of the next launch, once
	// Check has shown that bottles run here. It is for processes that live
	// long; Close ends it, and so does the process's end.
	Spare bool
}

// Backend runs bottles in Linux namespaces. Use New.
type Backend struct {
	cfg    Config
	log    *slog.Logger
	checks checkCache
	spares spares
}

var _ backend.Backend = (*Backend)(nil)

// New returns the backend. It touches nothing yet.
func New(cfg Config) *Backend {
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Backend{cfg: cfg, log: log.With("backend", Name)}
}

// Name implements backend.Backend.
func (b *Backend) Name() string { return Name }
