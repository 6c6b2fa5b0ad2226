package tools

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
)

const listDescription = `List the bottles you may use: state, services, age, time left, refused requests, resource use and background jobs. Give "id" for one bottle, "state" to filter, "verbose" for policy details and the isolation report.`

type listInput struct {
	ID      string `json:"id,omitempty" jsonschema:"minLength=1,maxLength=40,pattern=^[a-z0-9]([a-z0-9-]*[a-z0-9])?$" jsonschema_description:"Only this bottle"`
	State   string `json:"state,omitempty" jsonschema:"enum=starting,enum=running,enum=degraded,enum=dead,enum=expired" jsonschema_description:"Only bottles in this state"`
	Verbose bool   `json:"verbose,omitempty" jsonschema:"default=false" jsonschema_description:"Add routes, endpoints, limits and the isolation report"`
}

type listOutput struct {
	Bottles []bottleOutput `json:"bottles" jsonschema_description:"The bottles"`
}

type bottleOutput struct {
	ID               string          `json:"id" jsonschema_description:"Bottle id"`
	State            string          `json:"state" jsonschema:"enum=starting,enum=running,enum=degraded,enum=dead,enum=expired" jsonschema_description:"starting, running, degraded (a service is dead: no way out), dead or expired (only cleanup is left)"`
	Parent           string          `json:"parent,omitempty" jsonschema_description:"Bottle that launched this one; it ends with it"`
	Label            string          `json:"label,omitempty" jsonschema_description:"Short name for people"`
	Agent            string          `json:"agent,omitempty" jsonschema_description:"Agent manifest"`
	Manifests        []string        `json:"manifests" jsonschema_description:"Bottle manifests"`
	Backend          string          `json:"backend" jsonschema_description:"Engine"`
	Isolation        string          `json:"isolation" jsonschema_description:"Isolation class"`
	Services         []serviceOutput `json:"services" jsonschema_description:"Sidecar services"`
	AgeSeconds       int64           `json:"age_seconds" jsonschema_description:"Seconds since launch"`
	ExpiresInSeconds *int64          `json:"expires_in_seconds,omitempty" jsonschema_description:"Seconds until the bottle is removed by itself"`
	Refusals         int             `json:"refusals" jsonschema_description:"Network requests refused so far; bottle://ID/egress lists them"`
	Usage            usageOutput     `json:"usage" jsonschema_description:"Resource use; absent values are not known"`
	Jobs             []jobOutput     `json:"jobs" jsonschema_description:"Background jobs of this server in the bottle"`
	Policy           string          `json:"policy" jsonschema_description:"Egress policy in words"`
	Workspace        string          `json:"workspace,omitempty" jsonschema_description:"Host directory that was copied into the guest's workspace"`
	Problem          string          `json:"problem,omitempty" jsonschema_description:"What is wrong with the bottle's record or engine"`
	Details          *detailsOutput  `json:"details,omitempty" jsonschema_description:"With verbose"`
}

type serviceOutput struct {
	Name  string `json:"name" jsonschema_description:"Service"`
	Alive bool   `json:"alive" jsonschema_description:"True while it runs"`
}

type usageOutput struct {
	MemoryBytes *int64   `json:"memory_bytes,omitempty" jsonschema_description:"Memory in bytes"`
	DiskBytes   *int64   `json:"disk_bytes,omitempty" jsonschema_description:"Writable disk in bytes"`
	PIDs        *int     `json:"pids,omitempty" jsonschema_description:"Processes and threads"`
	CPUSeconds  *float64 `json:"cpu_seconds,omitempty" jsonschema_description:"CPU time in seconds"`
}

type detailsOutput struct {
	Routes    []routeOutput   `json:"routes" jsonschema_description:"Hosts that may be reached"`
	Endpoints endpointsOutput `json:"endpoints" jsonschema_description:"Services as the guest sees them"`
	Limits    limitsOutput    `json:"limits" jsonschema_description:"Resource limits"`
	Report    reportOutput    `json:"report" jsonschema_description:"Isolation self-test and walls"`
}

func (t *toolset) listTool() (Tool, error) {
	return define[listInput, listOutput](t, definition{
		name: "list", title: "List bottles", description: listDescription,
		readOnly: true, idempotent: true,
	}, t.list)
}

func (t *toolset) list(ctx context.Context, req *request, in listInput) (*reply, error) {
	c := &checks{}
	if in.ID != "" {
		c.id("id", in.ID)
	}
	c.oneOf("state", in.State, words([]backend.State{backend.Starting, backend.Running, backend.Degraded, backend.Dead, backend.Expired}))
	if err := c.err(); err != nil {
		return nil, err
	}
	bottles, err := t.selectBottles(ctx, req.Principal, backend.ID(in.ID))
	if err != nil {
		return nil, err
	}
	out := listOutput{Bottles: []bottleOutput{}}
	for i := range bottles {
		if b := &bottles[i]; in.State == "" || string(b.State) == in.State {
			out.Bottles = append(out.Bottles, t.bottleOutput(b, in.Verbose))
		}
	}
	return &reply{structured: out, text: out.render()}, nil
}

// selectBottles is one bottle or all of them.
func (t *toolset) selectBottles(ctx context.Context, who provision.Principal, id backend.ID) ([]provision.Bottle, error) {
	if id == "" {
		return t.bottles.List(ctx, who)
	}
	b, err := t.bottles.Get(ctx, who, id)
	if err != nil {
		return nil, err
	}
	return []provision.Bottle{*b}, nil
}

func (t *toolset) bottleOutput(b *provision.Bottle, verbose bool) bottleOutput {
	out := bottleOutput{
		ID:        string(b.ID),
		State:     string(b.State),
		Parent:    string(b.Parent),
		Label:     cleanLine(b.Label, 120),
		Agent:     b.Agent,
		Manifests: list(b.Bottles),
		Backend:   b.Backend,
		Isolation: b.Isolation,
		Services:  servicesOf(b),
		Refusals:  b.Refusals,
		Usage:     usageOf(b.Usage),
		Jobs:      []jobOutput{},
		Policy:    cleanLine(b.Policy, 4000),
		Workspace: cleanLine(b.Workspace, 4096),
		Problem:   cleanLine(b.Problem, 500),
	}
	now := t.now()
	if !b.Created.IsZero() {
		out.AgeSeconds = int64(now.Sub(b.Created).Seconds())
	}
	if !b.Expires.IsZero() {
		left := int64(max(0, b.Expires.Sub(now)).Seconds())
		out.ExpiresInSeconds = &left
	}
	for _, j := range t.jobs.of(bottleKey{id: b.ID, created: b.Created.UnixNano()}) {
		out.Jobs = append(out.Jobs, *j.output(j.over()))
	}
	if verbose {
		out.Details = &detailsOutput{
			Routes:    routesOf(b.Routes),
			Endpoints: endpointsOf(b.Endpoints),
			Limits:    limitsOutput(b.Limits),
			Report:    reportOf(b.Report),
		}
	}
	return out
}

// servicesOf lists services in a stable order.
func servicesOf(b *provision.Bottle) []serviceOutput {
	out := []serviceOutput{}
	for _, name := range slices.Sorted(maps.Keys(b.Services)) {
		out = append(out, serviceOutput{Name: string(name), Alive: b.Services[name]})
	}
	return out
}

// usageOf leaves out what the engine does not know.
func usageOf(u backend.Usage) usageOutput {
	return usageOutput{
		MemoryBytes: known(u.MemoryBytes),
		DiskBytes:   known(u.DiskBytes),
		PIDs:        known(u.PIDs),
		CPUSeconds:  known(u.CPUSeconds),
	}
}

func known[T int | int64 | float64](n T) *T {
	if n < 0 {
		return nil
	}
	return &n
}

// maxListed is how many bottles the text names; structured content has all.
const maxListed = 100

func (out *listOutput) render() string {
	if len(out.Bottles) == 0 {
		return "No bottle matches. Next: launch starts one."
	}
	var t text
	t.line("%s:", plural(len(out.Bottles), "bottle"))
	for i := range out.Bottles {
		if i == maxListed {
			t.line("… and %d more; filter by state or id.", len(out.Bottles)-maxListed)
			break
		}
		t.line("- %s", out.Bottles[i].summary())
	}
	return t.String()
}

// summary is one bottle in one line.
func (b *bottleOutput) summary() string {
	parts := []string{b.ID, b.State, "age " + span(time.Duration(b.AgeSeconds)*time.Second)}
	if b.ExpiresInSeconds != nil {
		parts = append(parts, span(time.Duration(*b.ExpiresInSeconds)*time.Second)+" left")
	}
	if b.Label != "" {
		parts = append(parts, fmt.Sprintf("%q", b.Label))
	}
	if b.Parent != "" {
		parts = append(parts, "launched by "+b.Parent)
	}
	if b.Refusals > 0 {
		parts = append(parts, plural(b.Refusals, "refused request"))
	}
	if b.Usage.MemoryBytes != nil {
		parts = append(parts, byteSize(*b.Usage.MemoryBytes)+" memory")
	}
	for _, s := range b.Services {
		if !s.Alive {
			parts = append(parts, "service "+s.Name+" is dead")
		}
	}
	running := 0
	for _, j := range b.Jobs {
		if j.State == jobRunning {
			running++
		}
	}
	if running > 0 {
		parts = append(parts, plural(running, "job")+" running")
	}
	if b.Problem != "" {
		parts = append(parts, b.Problem)
	}
	switch backend.State(b.State) {
	case backend.Dead, backend.Expired:
		parts = append(parts, "cleanup it")
	case backend.Degraded:
		parts = append(parts, "no way out any more: cleanup it and launch again")
	default:
	}
	return strings.Join(parts, ", ")
}
