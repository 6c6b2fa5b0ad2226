package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/provision/provider"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
)

// Defaults of what no manifest says.
const (
	defaultTTL        = 8 * time.Hour
	defaultPIDs       = 2048
	defaultDisk       = 4 << 30
	defaultMemory     = 8 << 30 // a disk in memory counts as memory
	defaultMaxCopyOut = 16 << 30
	defaultCanary     = "1.1.1.1"
)

// envBackend is the variable that chooses a backend.
const envBackend = "BOT_BOTTLE_BACKEND"

// Config is what a Manager needs. State, LookupEnv and ManifestHome are
// required.
type Config struct {
	// Backends are those of this build; selection picks among them.
	Backends []backend.Backend
	// Backend is the operator's choice; "" leaves it to the request, the
	// environment and the platform. Once set, no request changes it.
	Backend string
	// GOOS decides the platform's default; "" = this one.
	GOOS  string
	State *state.Store
	// ManifestHome is the operator's directory of manifests.
	ManifestHome string
	// WorkspaceRoots are the host directories that workspaces and copies may
	// touch; relative host paths begin in the first. None = no host paths.
	WorkspaceRoots []string
	// LookupEnv reads the host's environment, as os.LookupEnv does.
	LookupEnv func(string) (string, bool)
	Logger    *slog.Logger     // nil discards
	Now       func() time.Time // nil = time.Now
	// HostAddresses are addresses of this host that no guest may reach,
	// besides those the backend knows.
	HostAddresses []string
	// SecretPaths are host paths that no guest may read, besides the usual.
	SecretPaths []string
	// Canary is the IP address of something that answers on the Internet. Guests
	// with a network try to reach it, and must not; "" = 1.1.1.1.
	Canary string
	// TTL and Limits are the defaults of bottles whose manifests say nothing;
	// zero fields mean this package's own.
	TTL    time.Duration
	Limits backend.Limits
	// MaxWorkspace and MaxWorkspaceEntries bound what a workspace's copy holds;
	// 0 = 4 GiB and half a million.
	MaxWorkspace        int64
	MaxWorkspaceEntries int
	// CopySecrets lets files that look like credentials into guests, with a
	// workspace and by copies. No request can.
	CopySecrets bool
	// MergeBottles lets one request name several bottles, whose policies are
	// united. Joined they may allow more than each, which is for a person to want:
	// a caller that is misled could join one bottle's data with another's hosts.
	MergeBottles bool
	// Ledger is how sidecars record what they decide. No request changes it.
	Ledger sidecars.LedgerPolicy
	// Observer is told what happens; nil = nobody.
	Observer Observer
	// ServeGuest answers the calls of bottles that may launch bottles; nil = this
	// program cannot, and refuses to launch such bottles.
	ServeGuest ServeGuest
	// MaxCopyOut bounds the bytes of one copy out of a guest; 0 = 16 GiB.
	MaxCopyOut int64
}

// Manager plans, launches, uses and removes bottles. It implements the
// interface that the tools need, and is safe for concurrent use, also beside
// other servers' managers on the same state.
type Manager struct {
	cfg       Config
	log       *slog.Logger
	manifests manifest.Loader
	providers provider.Loader
	roots     roots
	decisions *decisionLog
	witness   *witness
	guests    *guests
}

// NewManager checks cfg and returns a Manager. It starts nothing.
func NewManager(cfg Config) (*Manager, error) {
	if cfg.State == nil || cfg.LookupEnv == nil || cfg.ManifestHome == "" {
		return nil, errors.New("provision: Config needs State, LookupEnv and ManifestHome")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if err := ledger.CheckPolicy(cfg.Ledger); err != nil {
		return nil, err
	}
	if cfg.Observer == nil {
		cfg.Observer = nobody{}
	}
	cfg.Canary = cmp.Or(cfg.Canary, defaultCanary)
	if _, err := netip.ParseAddr(cfg.Canary); err != nil {
		// A name would not be found in a guest, and so prove nothing.
		return nil, fmt.Errorf("the canary %.60q is not an IP address: name one that answers on the Internet", cfg.Canary)
	}
	cfg.GOOS = cmp.Or(cfg.GOOS, runtime.GOOS)
	cfg.TTL = cmp.Or(cfg.TTL, defaultTTL)
	cfg.MaxWorkspace = cmp.Or(cfg.MaxWorkspace, defaultMaxWorkspace)
	cfg.MaxWorkspaceEntries = cmp.Or(cfg.MaxWorkspaceEntries, defaultMaxEntries)
	cfg.MaxCopyOut = cmp.Or(cfg.MaxCopyOut, defaultMaxCopyOut)
	cfg.Limits = orLimits(cfg.Limits, backend.Limits{MemoryBytes: defaultMemory, DiskBytes: defaultDisk, PIDs: defaultPIDs})
	r, err := newRoots(cfg.WorkspaceRoots, []string{cfg.State.Path(), cfg.ManifestHome})
	if err != nil {
		return nil, err
	}
	return &Manager{
		cfg: cfg, log: cfg.Logger, manifests: manifest.Loader{Home: cfg.ManifestHome},
		providers: provider.Loader{Home: cfg.ManifestHome},
		roots:     r, decisions: newDecisionLog(cfg.State),
		guests:  newGuests(cfg.ServeGuest, cfg.Logger),
		witness: &witness{store: cfg.State, log: cfg.Logger, tell: cfg.Observer, now: cfg.Now, seen: map[backend.ID]*watched{}},
	}, nil
}

// engine finds the backend that a record names.
func (m *Manager) engine(name string) (backend.Backend, error) {
	i := slices.IndexFunc(m.cfg.Backends, func(b backend.Backend) bool { return b.Name() == name })
	if i < 0 {
		return nil, fmt.Errorf("this build has no backend %q for the bottle: use the program that launched it", name)
	}
	return m.cfg.Backends[i], nil
}

// selectBackend applies the selection rules to the names that a request and
// its manifest give. They may not contradict each other or the operator.
func (m *Manager) selectBackend(ctx context.Context, asked, manifests string) (backend.Selected, error) {
	explicit := m.cfg.Backend
	for _, want := range []struct{ field, name string }{{"backend of the manifest", manifests}, {"backend", asked}} {
		if want.name == "" || want.name == explicit {
			continue
		}
		if explicit != "" {
			return backend.Selected{}, &InvalidError{Field: want.field, Problem: fmt.Sprintf("%.60q was asked for, but the operator's choice is %q", want.name, explicit), Allowed: []string{explicit}}
		}
		explicit = want.name
	}
	env, _ := m.cfg.LookupEnv(envBackend)
	return backend.Select(ctx, backend.Selection{Explicit: explicit, Env: env, GOOS: m.cfg.GOOS, Backends: m.cfg.Backends})
}
