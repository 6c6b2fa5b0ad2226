package tools

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
)

// Bounds of what a plan's text spells out; its data has all of it.
const (
	planRoutes    = 40
	planVariables = 40

	planRepositories = 20
)

type planOutput struct {
	Agent         string           `json:"agent,omitempty" jsonschema_description:"Agent manifest"`
	Bottles       []string         `json:"bottles" jsonschema_description:"Bottle manifests, merged in order"`
	Label         string           `json:"label,omitempty" jsonschema_description:"Short name for people"`
	BackendSource string           `json:"backend_source" jsonschema_description:"What chose the engine: explicit, BOT_BOTTLE_BACKEND or default"`
	BackendDetail string           `json:"backend_detail,omitempty" jsonschema_description:"The engine on this host"`
	Image         string           `json:"image,omitempty" jsonschema_description:"What the guest's root filesystem is made from; absent means the engine's own"`
	Services      []string         `json:"services" jsonschema_description:"Sidecar services"`
	EnvNames      []string         `json:"env_names" jsonschema_description:"Names of the environment variables that would be set"`
	Variables     []variableOutput `json:"variables" jsonschema_description:"Those of them that a manifest or the call asks for"`
	Steps         []string         `json:"steps" jsonschema_description:"Launch steps in order"`
	Repositories  []repoOutput     `json:"repositories" jsonschema_description:"Git repositories that the bottle reaches through its gate"`
	GitUser       *gitUserOutput   `json:"git_user,omitempty" jsonschema_description:"Author of commits in the bottle"`
	SubBottles    *subOutput       `json:"sub_bottles,omitempty" jsonschema_description:"Bottles that the agent inside may launch; absent means none"`
	Publish       []int            `json:"publish" jsonschema_description:"Guest ports that the host may reach"`
	TTLSeconds    int64            `json:"ttl_seconds" jsonschema_description:"Life of the bottle in seconds"`
	Digest        string           `json:"digest" jsonschema_description:"Identifies the content of the plan"`
}

type repoOutput struct {
	Name   string `json:"name" jsonschema_description:"Name in the guest"`
	URL    string `json:"url" jsonschema_description:"Upstream"`
	Key    string `json:"key" jsonschema_description:"Where the gate's key comes from; the guest never has it"`
	Pinned bool   `json:"pinned" jsonschema_description:"True when the upstream's host key is known; nothing is forwarded without it"`
}

type gitUserOutput struct {
	Name  string `json:"name,omitempty" jsonschema_description:"Name"`
	Email string `json:"email,omitempty" jsonschema_description:"E-mail address"`
}

type subOutput struct {
	Max   int `json:"max" jsonschema_description:"How many may live at one time"`
	Depth int `json:"depth" jsonschema_description:"How many generations there may be"`
}

type variableOutput struct {
	Name string `json:"name" jsonschema_description:"Variable"`
	From string `json:"from" jsonschema_description:"manifest, request, provider, asked for what the operator is asked for, or $NAME for a variable of the host; never its value"`
}

// planned is the reply to a dry run.
func planned(p *provision.Plan) *reply {
	return &reply{structured: planData(p), text: PlanText(p) + "\nNext: call launch again without dry_run."}
}

// PlanData is the launch tool's structured result for a plan that is only
// looked at. It encodes to JSON and holds no secret.
func PlanData(p *provision.Plan) any { return planData(p) }

func planData(p *provision.Plan) launchOutput {
	out := launchOutput{
		ID:        string(p.ID),
		State:     "planned",
		DryRun:    true,
		Backend:   p.Backend,
		Isolation: p.Isolation,
		Policy:    cleanLine(p.Policy, 4000),
		Routes:    routesOf(p.Routes),
		Limits:    limitsOutput(p.Limits),
		Report:    reportOf(provision.Report{Missing: p.Missing}),
		Provider:  providerOf(p.Provider),
		Steps:     []stepOutput{},
		Plan: &planOutput{
			Agent:         p.Agent,
			Bottles:       list(p.Bottles),
			Label:         cleanLine(p.Label, 120),
			BackendSource: p.BackendSource,
			Image:         cleanLine(p.Image, 4096),
			Services:      words(p.Services),
			EnvNames:      list(p.EnvNames),
			BackendDetail: cleanLine(p.BackendDetail, 300),
			Repositories:  []repoOutput{},
			Publish:       list(p.Publish),
			Variables:     []variableOutput{},
			Steps:         list(p.Steps),
			TTLSeconds:    int64(p.TTL.Seconds()),
			Digest:        p.Digest,
		},
	}
	for _, r := range p.Repositories {
		out.Plan.Repositories = append(out.Plan.Repositories, repoOutput{Name: r.Name, URL: cleanLine(r.URL, 1024), Key: cleanLine(r.Key, 4200), Pinned: r.Pinned})
	}
	if u := p.GitUser; u.Name != "" || u.Email != "" {
		out.Plan.GitUser = &gitUserOutput{Name: cleanLine(u.Name, 256), Email: cleanLine(u.Email, 256)}
	}
	if s := p.SubBottles; s != nil {
		out.Plan.SubBottles = &subOutput{Max: s.Max, Depth: s.Depth}
	}
	for _, v := range p.Variables {
		out.Plan.Variables = append(out.Plan.Variables, variableOutput(v))
	}
	if p.Workspace != nil {
		out.Workspace = cleanLine(p.Workspace.Host, 4096)
		out.WorkspaceCopy = surveyed(p.Workspace)
	}
	return out
}

// PlanText says in words what a launch would do and allow: for a model that
// makes a dry run, and for a person before a launch.
func PlanText(p *provision.Plan) string {
	var t text
	t.line("Plan for bottle %s; nothing was started.", p.ID)
	manifests := "bottle " + strings.Join(p.Bottles, " + ")
	if p.Agent != "" {
		manifests = "agent " + p.Agent + ", " + manifests
	}
	t.line("Manifests: %s.", manifests)
	image := "its own system"
	if p.Image != "" {
		image = cleanLine(p.Image, 300)
	}
	engine := p.Backend
	if p.BackendDetail != "" {
		engine += " (" + cleanLine(p.BackendDetail, 200) + ")"
	}
	t.line("Backend: %s, %s; isolation: %s; image: %s.", engine, chosenBy(p.BackendSource), p.Isolation, image)
	planEgress(&t, p)
	planEnvironment(&t, p)
	planProvider(&t, providerOf(p.Provider))
	planFiles(&t, p.Workspace)
	planReach(&t, p)
	t.line("Limits: %s. Life: %s.", limitWords(p.Limits), span(p.TTL))
	t.line("Services: %s. Steps: %s.", strings.Join(words(p.Services), ", "), strings.Join(p.Steps, ", "))
	for _, m := range p.Missing {
		t.line("Not in force on this host: %s (%s).", m.Name, cleanLine(m.Reason, 300))
	}
	return t.String()
}

// chosenBy says why it is this backend.
func chosenBy(source string) string {
	switch source {
	case "default":
		return "the first of this platform's that works"
	case "explicit":
		return "which the call, the manifest or the operator named"
	default:
		return "from " + source
	}
}

// planEgress says what may leave the bottle, and what is refused.
func planEgress(t *text, p *provision.Plan) {
	if len(p.Routes) == 0 {
		t.line("Egress: no host can be reached. Refused: every connection and every DNS query.")
		return
	}
	t.line("Egress, through the proxy alone:")
	for i, r := range p.Routes {
		if i == planRoutes {
			t.line("  and %s more", plural(len(p.Routes)-i, "host"))
			break
		}
		t.line("  %s", routeWords(r))
	}
	t.line("Refused: every other host, port and request; direct connections; DNS.")
}

// routeWords says what one route allows.
func routeWords(r provision.RouteSummary) string {
	host := r.Host
	if len(r.Ports) > 0 {
		host += " port " + joinInts(r.Ports)
	}
	line := host + ": " + cleanLine(r.Allows, 400)
	if r.Auth != "" {
		line += "; the proxy adds " + r.Auth + ", which stays outside"
	}
	if r.Rules != "" {
		line += "; " + cleanLine(r.Rules, 400)
	}
	if r.From == "provider" {
		line += "; from the provider"
	}
	if len(r.Private) > 0 {
		line += "; may be at " + cleanLine(strings.Join(r.Private, ", "), 200)
	}
	return line
}

func joinInts(numbers []int) string {
	words := make([]string, len(numbers))
	for i, n := range numbers {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, ", ")
}

// planReach says what else than files and hosts leads in or out.
func planReach(t *text, p *provision.Plan) {
	for i, r := range p.Repositories {
		if i == planRepositories {
			t.line("  and %s more", plural(len(p.Repositories)-i, "repository"))
			break
		}
		pinned := ""
		if !r.Pinned {
			pinned = "; the upstream's host key is not known, so nothing is forwarded"
		}
		t.line("Repository %s: %s through the git gate; its key, %s, stays outside%s.", r.Name, cleanLine(r.URL, 300), cleanLine(r.Key, 300), pinned)
	}
	if u := p.GitUser; u.Name != "" || u.Email != "" {
		t.line("Commits are by %s.", cleanLine(strings.TrimSpace(u.Name+" <"+u.Email+">"), 600))
	}
	if s := p.SubBottles; s != nil {
		t.line("The agent may launch bottles itself: %d at one time, %s, each within this one's policy.", s.Max, plural(s.Depth, "generation"))
	}
	if len(p.Publish) > 0 {
		t.line("The host may reach the guest's ports %s.", joinInts(p.Publish))
	}
}

// planEnvironment names the variables; their values are nobody's business here.
func planEnvironment(t *text, p *provision.Plan) {
	var own []string
	for i, v := range p.Variables {
		if i == planVariables {
			own = append(own, fmt.Sprintf("%d more", len(p.Variables)-i))
			break
		}
		own = append(own, v.Name+" ("+v.From+")")
	}
	if len(own) == 0 {
		own = []string{"nothing of yours"}
	}
	t.line("Environment: %s; and %s for programs, proxy and trust.", strings.Join(own, ", "), plural(len(p.EnvNames)-len(p.Variables), "variable"))
}

// limitWords shows bounds; what is not named is the engine's default.
func limitWords(l backend.Limits) string {
	var parts []string
	if l.CPUs > 0 {
		parts = append(parts, strconv.FormatFloat(l.CPUs, 'g', -1, 64)+" CPUs")
	}
	if l.MemoryBytes > 0 {
		parts = append(parts, byteSize(l.MemoryBytes)+" memory")
	}
	if l.DiskBytes > 0 {
		parts = append(parts, byteSize(l.DiskBytes)+" disk")
	}
	if l.PIDs > 0 {
		parts = append(parts, fmt.Sprintf("%d processes and threads", l.PIDs))
	}
	if len(parts) == 0 {
		return "the engine's own"
	}
	return strings.Join(parts, ", ")
}
