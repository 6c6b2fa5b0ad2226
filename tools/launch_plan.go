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
)

type planOutput struct {
	Agent         string           `json:"agent,omitempty" jsonschema_description:"Agent manifest"`
	Bottles       []string         `json:"bottles" jsonschema_description:"Bottle manifests, merged in order"`
	Label         string           `json:"label,omitempty" jsonschema_description:"Short name for people"`
	BackendSource string           `json:"backend_source" jsonschema_description:"What chose the engine: explicit, BOT_BOTTLE_BACKEND or default"`
	Image         string           `json:"image,omitempty" jsonschema_description:"What the guest's root filesystem is made from; absent means the engine's own"`
	Services      []string         `json:"services" jsonschema_description:"Sidecar services"`
	EnvNames      []string         `json:"env_names" jsonschema_description:"Names of the environment variables that would be set"`
	Variables     []variableOutput `json:"variables" jsonschema_description:"Those of them that a manifest or the call asks for"`
	Steps         []string         `json:"steps" jsonschema_description:"Launch steps in order"`
	TTLSeconds    int64            `json:"ttl_seconds" jsonschema_description:"Life of the bottle in seconds"`
	Digest        string           `json:"digest" jsonschema_description:"Identifies the content of the plan"`
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
			Variables:     []variableOutput{},
			Steps:         list(p.Steps),
			TTLSeconds:    int64(p.TTL.Seconds()),
			Digest:        p.Digest,
		},
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
	t.line("Backend: %s, %s; isolation: %s; image: %s.", p.Backend, chosenBy(p.BackendSource), p.Isolation, image)
	planEgress(&t, p)
	planEnvironment(&t, p)
	planProvider(&t, providerOf(p.Provider))
	planFiles(&t, p.Workspace)
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
		ports := make([]string, len(r.Ports))
		for i, port := range r.Ports {
			ports[i] = strconv.Itoa(port)
		}
		host += " port " + strings.Join(ports, ", ")
	}
	line := host + ": " + cleanLine(r.Allows, 400)
	if r.Auth != "" {
		line += "; the proxy adds " + r.Auth + ", which stays outside"
	}
	if len(r.Private) > 0 {
		line += "; may be at " + cleanLine(strings.Join(r.Private, ", "), 200)
	}
	return line
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
