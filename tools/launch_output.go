package tools

import (
	"math"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
)

type launchOutput struct {
	ID             string          `json:"id" jsonschema_description:"Bottle id for exec, cp and cleanup"`
	State          string          `json:"state" jsonschema_description:"State of the bottle; planned for a dry run"`
	DryRun         bool            `json:"dry_run" jsonschema_description:"True when nothing was started"`
	AlreadyRunning bool            `json:"already_running" jsonschema_description:"True when the same bottle ran already and nothing was started"`
	Backend        string          `json:"backend" jsonschema_description:"Engine"`
	Isolation      string          `json:"isolation" jsonschema_description:"Isolation class"`
	Policy         string          `json:"policy" jsonschema_description:"Egress policy in words"`
	Routes         []routeOutput   `json:"routes" jsonschema_description:"Hosts that may be reached"`
	Endpoints      endpointsOutput `json:"endpoints" jsonschema_description:"Services as the guest sees them"`
	Limits         limitsOutput    `json:"limits" jsonschema_description:"Resource limits; absent ones are the backend's defaults"`
	ExpiresAt      *time.Time      `json:"expires_at,omitempty" jsonschema_description:"When the bottle is removed by itself"`
	Workspace      string          `json:"workspace,omitempty" jsonschema_description:"Host directory that was copied into the guest's workspace, or would be"`
	WorkspaceCopy  *copyCounts     `json:"workspace_copy,omitempty" jsonschema_description:"What was copied from it, or would be"`
	Report         reportOutput    `json:"report" jsonschema_description:"Isolation self-test and walls"`
	Setup          *setupOutput    `json:"setup,omitempty" jsonschema_description:"What was written into the guest so that programs trust and use the proxy"`
	Steps          []stepOutput    `json:"steps" jsonschema_description:"Launch steps and how long each took"`
	Provider       *providerOutput `json:"provider,omitempty" jsonschema_description:"How the agent is set up and started; absent without a provider"`
	Plan           *planOutput     `json:"plan,omitempty" jsonschema_description:"What would be done, for a dry run"`
}

type copyCounts struct {
	Files       int          `json:"files" jsonschema_description:"Files"`
	Dirs        int          `json:"dirs" jsonschema_description:"Directories"`
	Symlinks    int          `json:"symlinks" jsonschema_description:"Symbolic links"`
	Bytes       int64        `json:"bytes" jsonschema_description:"Bytes of content"`
	Skipped     []skipOutput `json:"skipped" jsonschema_description:"Entries left out"`
	SkippedMore int          `json:"skipped_more,omitempty" jsonschema_description:"Entries left out beyond those listed"`
}

type routeOutput struct {
	Host    string   `json:"host" jsonschema_description:"Host, or *.host for its subdomains"`
	Ports   []int    `json:"ports" jsonschema_description:"Ports; empty means 443 for https and 80 for http"`
	Allows  string   `json:"allows,omitempty" jsonschema_description:"Requests that may pass, in words"`
	Auth    string   `json:"auth,omitempty" jsonschema_description:"Credential that the proxy adds, never its value"`
	Private []string `json:"private,omitempty" jsonschema_description:"Private addresses that the host may resolve to"`

	Matches  []matchOutput `json:"matches,omitempty" jsonschema_description:"Ways to be allowed, one of which a request must satisfy; absent means every request"`
	GitFetch bool          `json:"git_fetch,omitempty" jsonschema_description:"True when git may clone and fetch over https"`
	Rules    string        `json:"rules,omitempty" jsonschema_description:"Budget, rules for answers and scanning, in words"`
	From     string        `json:"from,omitempty" jsonschema_description:"manifest, or provider where the agent's provider brings the host"`
}

type matchOutput struct {
	Methods []string     `json:"methods,omitempty" jsonschema_description:"One of them; absent means any"`
	Paths   []pathOutput `json:"paths,omitempty" jsonschema_description:"One of them; absent means any"`
	Headers []string     `json:"headers,omitempty" jsonschema_description:"Headers that must have the right value"`
}

type pathOutput struct {
	Type  string `json:"type" jsonschema_description:"exact, prefix (with everything below) or regex (of the whole path)"`
	Value string `json:"value" jsonschema_description:"Path"`
}

type endpointsOutput struct {
	Egress    string `json:"egress,omitempty" jsonschema_description:"Egress proxy"`
	Supervise string `json:"supervise,omitempty" jsonschema_description:"Service for asking the operator"`
	GitGate   string `json:"git_gate,omitempty" jsonschema_description:"Git gate"`
	Bottles   string `json:"bottles,omitempty" jsonschema_description:"These tools, for launching bottles from inside"`
}

type limitsOutput struct {
	CPUs        float64 `json:"cpus,omitempty" jsonschema_description:"CPUs"`
	MemoryBytes int64   `json:"memory_bytes,omitempty" jsonschema_description:"Memory in bytes"`
	DiskBytes   int64   `json:"disk_bytes,omitempty" jsonschema_description:"Writable disk in bytes"`
	PIDs        int     `json:"pids,omitempty" jsonschema_description:"Processes and threads"`
}

type reportOutput struct {
	Passed    int             `json:"passed" jsonschema_description:"Self-test checks that passed"`
	Failed    int             `json:"failed" jsonschema_description:"Self-test checks that failed; a bottle that runs has none"`
	Checks    []checkOutput   `json:"checks" jsonschema_description:"Each check"`
	Walls     []string        `json:"walls" jsonschema_description:"Isolation mechanisms in force"`
	Missing   []missingOutput `json:"missing" jsonschema_description:"Mechanisms this host cannot give, and why"`
	ElapsedMS float64         `json:"elapsed_ms" jsonschema_description:"How long the self-test took, milliseconds"`
}

type checkOutput struct {
	Name   string `json:"name" jsonschema_description:"Stable name of the check"`
	As     string `json:"as" jsonschema_description:"Who ran it in the guest"`
	OK     bool   `json:"ok" jsonschema_description:"True when it passed"`
	Detail string `json:"detail" jsonschema_description:"What was seen"`
}

type missingOutput struct {
	Name   string `json:"name" jsonschema_description:"Mechanism"`
	Reason string `json:"reason" jsonschema_description:"Why it is missing"`
}

type stepOutput struct {
	Step      string  `json:"step" jsonschema_description:"Step"`
	ElapsedMS float64 `json:"elapsed_ms" jsonschema_description:"Milliseconds"`
}

// launched is the reply for a bottle that runs.
func (t *toolset) launched(b *provision.Bottle) *reply {
	out := launchOutput{
		ID:             string(b.ID),
		State:          string(b.State),
		AlreadyRunning: b.AlreadyRan,
		Backend:        b.Backend,
		Isolation:      b.Isolation,
		Policy:         cleanLine(b.Policy, 4000),
		Routes:         routesOf(b.Routes),
		Endpoints:      endpointsOf(b.Endpoints),
		Limits:         limitsOutput(b.Limits),
		ExpiresAt:      moment(b.Expires),
		Workspace:      cleanLine(b.Workspace, 4096),
		Report:         reportOf(b.Report),
		WorkspaceCopy:  countsOf(b.WorkspaceCopy),
		Setup:          setupOf(b.Setup),
		Provider:       providerOf(b.Provider),
		Steps:          []stepOutput{},
	}
	for _, s := range b.StepTimings {
		out.Steps = append(out.Steps, stepOutput{Step: s.Step, ElapsedMS: milliseconds(s.Elapsed)})
	}
	return &reply{structured: out, text: out.render(t.now())}
}

// countsOf shows what the launch copied.
func countsOf(r *backend.CopyReport) *copyCounts {
	if r == nil {
		return nil
	}
	return &copyCounts{
		Files: r.Files, Dirs: r.Dirs, Symlinks: r.Symlinks, Bytes: r.Bytes,
		Skipped: skipsOf(r.Skipped), SkippedMore: r.SkippedMore,
	}
}

func (out *launchOutput) render(now time.Time) string {
	var t text
	verb := "is running"
	if out.AlreadyRunning {
		verb = "was running already; nothing new was started"
	}
	t.line("Bottle %s %s (backend %s, isolation %s). Self-test: %d passed, %d failed.",
		out.ID, verb, out.Backend, out.Isolation, out.Report.Passed, out.Report.Failed)
	t.line("Egress: %s", out.Policy)
	if c := out.WorkspaceCopy; c != nil {
		t.line("The workspace (%s, %s) was copied to %s in the guest; changes there reach the host only by cp.", plural(c.Files, "file"), byteSize(c.Bytes), backend.GuestWorkspace)
		renderSkips(&t, c.Skipped, c.SkippedMore)
	}
	startProvider(&t, out.Provider)
	for _, m := range out.Report.Missing {
		t.line("Not in force: %s (%s).", m.Name, m.Reason)
	}
	if out.ExpiresAt != nil {
		t.line("It is removed at %s, in %s.", out.ExpiresAt.Format(time.RFC3339), span(max(0, out.ExpiresAt.Sub(now))))
	}
	t.line("Next: exec {\"id\":%q,\"command\":[…]}; cleanup {\"ids\":[%q]} when done.", out.ID, out.ID)
	return t.String()
}

func routesOf(routes []provision.RouteSummary) []routeOutput {
	out := []routeOutput{}
	for _, r := range routes {
		o := routeOutput{
			Host: r.Host, Ports: list(r.Ports), Allows: cleanLine(r.Allows, 1000), Auth: r.Auth, Private: r.Private,
			GitFetch: r.GitFetch, Rules: cleanLine(r.Rules, 1000), From: r.From,
		}
		for _, m := range r.Matches {
			shown := matchOutput{Methods: m.Methods, Headers: m.Headers}
			for _, path := range m.Paths {
				shown.Paths = append(shown.Paths, pathOutput{Type: path.Type, Value: cleanLine(path.Value, 1024)})
			}
			o.Matches = append(o.Matches, shown)
		}
		out = append(out, o)
	}
	return out
}

func endpointsOf(e backend.Endpoints) endpointsOutput {
	return endpointsOutput{Egress: e.Egress, Supervise: e.Supervise, GitGate: e.GitGate, Bottles: e.Bottles}
}

// reportOf shows a report. Details come from inside the guest.
func reportOf(r provision.Report) reportOutput {
	out := reportOutput{Checks: []checkOutput{}, Walls: list(r.Walls), Missing: []missingOutput{}, ElapsedMS: milliseconds(r.Elapsed)}
	for _, c := range r.Checks {
		out.Checks = append(out.Checks, checkOutput{Name: c.Name, As: c.As, OK: c.OK, Detail: cleanLine(c.Detail, 300)})
		if c.OK {
			out.Passed++
		} else {
			out.Failed++
		}
	}
	for _, m := range r.Missing {
		out.Missing = append(out.Missing, missingOutput{Name: m.Name, Reason: cleanLine(m.Reason, 300)})
	}
	return out
}

// list is a copy that is never null in JSON: schemas promise arrays.
func list[T any](in []T) []T { return append([]T{}, in...) }

// words turns names into strings.
func words[T ~string](in []T) []string {
	out := []string{}
	for _, w := range in {
		out = append(out, string(w))
	}
	return out
}

// moment is a time for JSON, absent when it is not known.
func moment(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	at = at.UTC().Truncate(time.Second)
	return &at
}

// milliseconds keeps a tenth: launches take few of them.
func milliseconds(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Millisecond)*10) / 10
}
