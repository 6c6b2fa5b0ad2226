package provision

import (
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// LaunchRequest is what a caller asks for. It can only narrow what the
// operator's manifests allow.
type LaunchRequest struct {
	Agent     string   // agent manifest; "" = none
	Bottles   []string // bottle manifests, merged in order; none = the agent's, else "default"
	ID        backend.ID
	Label     string
	Colour    string // the label's on a terminal, one of provider.Colours; "" = none
	Workspace string // host directory inside the operator's roots; "" = empty workspace
	Prompt    string
	Env       map[string]string // plain values; names that the manifest or the wiring set are refused
	// Answers are the values of variables that a manifest asks for, by name. They
	// are in no plan, no record and no digest.
	Answers map[string]secret.Value
	// Asks says that the caller can ask the operator: what the manifest asks for
	// and nobody has answered is in Plan.Questions then, and no error.
	Asks    bool
	TTL     time.Duration // 0 = the manifest's, else the default
	Backend string        // "" = selection rules
	// OnlyHosts, when not nil, keeps only these routes; each must be allowed
	// by the manifest. An empty list means no egress at all.
	OnlyHosts []string
	// Only, when not nil, keeps these hosts alone and of each what its rule names.
	// Beside OnlyHosts it narrows some of those.
	Only      []OnlyRule
	Limits    backend.Limits // each may only lower the manifest's or the default
	Principal Principal
}

// OnlyRule is what a request keeps of one host.
type OnlyRule struct {
	Host string // as in the policy, or a name or wildcard below one of its wildcards
	// Paths are kept with everything below them, nil = all that are allowed.
	Paths []string
	// Methods are kept, nil = all that are allowed.
	Methods []string
}

// Plan is a launch resolved and validated: what will be, in data. It holds no
// secret value.
type Plan struct {
	ID      backend.ID `json:"id"`
	Agent   string     `json:"agent,omitempty"`
	Bottles []string   `json:"bottles"`
	Label   string     `json:"label,omitempty"`
	Backend string     `json:"backend"`
	// BackendSource says what chose it: "explicit", "BOT_BOTTLE_BACKEND" or "default".
	BackendSource string `json:"backend_source"`
	// BackendDetail is the engine on this host, on one line.
	BackendDetail string `json:"backend_detail,omitempty"`
	Isolation     string `json:"isolation"`
	// Image is what the guest's root filesystem is made from; "" = the backend's own.
	Image     string         `json:"image,omitempty"`
	Workspace *WorkspacePlan `json:"workspace,omitempty"`
	Routes    []RouteSummary `json:"routes"`
	Policy    string         `json:"policy"` // the egress policy in words
	EnvNames  []string       `json:"env_names"`
	// Variables are those of EnvNames that a manifest or the request asks for.
	Variables []VariableSummary `json:"variables"`
	// Questions must be answered before a launch; see LaunchRequest.Asks.
	Questions []Question `json:"questions,omitempty"`
	// Missing are the walls that this host cannot give.
	Missing []backend.Missing `json:"missing"`
	// Provider says how the agent is set up; nil = no provider.
	Provider *ProviderPlan      `json:"provider,omitempty"`
	Limits   backend.Limits     `json:"limits"`
	TTL      time.Duration      `json:"-"`
	Steps    []string           `json:"steps"`
	Services []sidecars.Service `json:"services"`
	// Repositories are behind the git gate, GitUser is who commits in the guest.
	Repositories []RepoSummary    `json:"repositories"`
	GitUser      manifest.GitUser `json:"git_user"`
	// SubBottles is what the agent may launch itself; nil = nothing.
	SubBottles *SubBottlesPlan `json:"sub_bottles,omitempty"`
	// Publish lists guest ports that the host may reach.
	Publish []int `json:"publish"`
	// Digest identifies the plan's content apart from ID and time, so that a
	// repeated launch with the same ID is recognised.
	Digest string `json:"digest"`

	resolved *resolvedPlan
}

// WorkspacePlan is a directory to be copied in.
type WorkspacePlan struct {
	Host  string `json:"host"`
	Guest string `json:"guest"`
	// Survey is what a look at it said.
	Survey *WorkspaceSurvey `json:"survey,omitempty"`
}

// WorkspaceSurvey is what of a directory is to be copied, and what not.
type WorkspaceSurvey struct {
	Files       int            `json:"files"`
	Bytes       int64          `json:"bytes"`
	Skipped     []backend.Skip `json:"skipped"` // at most 100 are listed
	SkippedMore int            `json:"skipped_more,omitempty"`
}

// VariableSummary is a variable of the guest without its value.
type VariableSummary struct {
	Name string `json:"name"`
	// From is "manifest", "request", "provider", "asked" for what the operator is
	// asked for, or "$NAME" for a variable of the host.
	From string `json:"from"`
}

// Question is a variable whose value a manifest wants to be asked for.
type Question struct {
	Name string `json:"name"`
	Text string `json:"text,omitempty"` // the manifest's words
	// File and Line say where it is asked.
	File string `json:"file"`
	Line int    `json:"line"`
}

// Event is one step of a long operation, for progress.
type Event struct {
	Step  string // stable step name, e.g. "start-sidecar"
	Index int    // 1-based
	Total int
	// Detail is short: of a step that has ended what came of it, of one that goes
	// on what it does, such as a line of a build.
	Detail string
	// Elapsed is set when the step has ended.
	Elapsed time.Duration
	Done    bool
}

// Bottle is a live bottle as callers see it.
type Bottle struct {
	ID backend.ID
	// Parent is the bottle that launched this one; "" = the operator's side did.
	Parent    backend.ID
	Label     string
	Agent     string
	Bottles   []string
	Backend   string
	Isolation string
	State     backend.State
	Services  map[sidecars.Service]bool
	Created   time.Time
	Expires   time.Time
	Policy    string
	Routes    []RouteSummary
	Endpoints backend.Endpoints
	Limits    backend.Limits
	Usage     backend.Usage
	Refusals  int // egress refusals so far
	Workspace string
	// WorkspaceCopy is what the launch copied in; nil without a workspace.
	WorkspaceCopy *backend.CopyReport
	Report        Report
	// Setup is what the launch wrote into the guest beside the workspace.
	Setup SetupReport
	// Account is who works in the guest.
	Account backend.Account
	// Provider says how the agent was set up and is started; nil = no provider.
	Provider   *ProviderPlan
	AlreadyRan bool // Launch found the same plan running and started nothing
	// Problem says why the bottle's record is missing or not readable; "" is normal.
	Problem     string
	StepTimings []StepTiming
}

// StepTiming says how long a launch step took.
type StepTiming struct {
	Step    string        `json:"step"`
	Elapsed time.Duration `json:"elapsed_ns"`
}

// Report is the isolation report of a bottle: the self-test's checks and the
// walls in force.
type Report struct {
	Checks  []Check           `json:"checks"`
	Walls   []string          `json:"walls"`
	Missing []backend.Missing `json:"missing"`
	// Red counts failed checks; a launched bottle has none.
	Red     int           `json:"red"`
	Elapsed time.Duration `json:"elapsed_ns"`
}

// Check is one self-test check.
type Check struct {
	// Name is stable, e.g. "tcp4-direct". As is who ran it ("agent", "root").
	Name    string        `json:"name"`
	As      string        `json:"as"`
	OK      bool          `json:"ok"`
	Detail  string        `json:"detail"`
	Elapsed time.Duration `json:"elapsed_ns"`
}

// ExecResult is a finished command.
type ExecResult struct {
	Status   backend.ExitStatus
	Duration time.Duration
	// Refusals are the egress refusals logged while the command ran.
	Refusals []sidecars.Decision
}

// CleanupRequest selects bottles. Exactly one of IDs, All and Orphans is set.
type CleanupRequest struct {
	IDs       []backend.ID
	All       bool
	Orphans   bool // dead, expired and half-removed ones
	DryRun    bool
	Principal Principal
}

// CleanupItem is the outcome for one bottle.
type CleanupItem struct {
	ID     backend.ID
	Action string // "remove", "keep"
	Reason string // why it is kept, or why removal failed
	Done   bool
}

// Check names, statuses and errors a caller may branch on are in errors.go.
