package provision

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/provision/trust"
)

// Bounds of a guest's environment.
const (
	maxEnv      = 512
	maxEnvValue = 32 << 10
)

// env joins the manifest's variables with the request's, which may answer the
// manifest's questions and add names that nobody else uses.
func (d *draft) env() {
	d.r.env = map[string]manifest.EnvValue{}
	if d.r.agent != nil {
		for name, value := range d.r.agent.env {
			d.r.env[name] = manifest.EnvValue{Literal: value}
		}
	}
	maps.Copy(d.r.env, d.bottle.Env)
	if len(d.req.Env)+len(d.bottle.Env) > maxEnv {
		d.fail("env", "there are more than %d variables", maxEnv)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(d.bottle.Env)) {
		d.manifestVariable(name, d.bottle.Env[name])
	}
	d.answers()
	for _, name := range slices.Sorted(maps.Keys(d.req.Env)) {
		d.requestVariable(name, d.req.Env[name])
	}
	names := baseEnv()
	names[trust.JavaOptions] = ""
	for name := range d.r.env {
		names[name] = ""
	}
	for _, more := range []map[string]string{
		trust.CAVariables(), trust.ProxyVariables(backend.Endpoints{Egress: "x"}), identityEnv(d.r.git.user),
	} {
		maps.Copy(names, more)
	}
	if d.plan.leads() {
		names[trust.BottlesVariable] = ""
	}
	d.plan.EnvNames = slices.Sorted(maps.Keys(names))
}

func (d *draft) manifestVariable(name string, v manifest.EnvValue) {
	field := "env " + name + " of the manifest"
	switch {
	case reservedEnv(name):
		d.fail(field, "the bottle's own wiring sets this variable; remove it from the manifest")
	case v.Ask:
		d.question(name, v)
	case v.FromHost != "":
		if text, ok := d.m.cfg.LookupEnv(v.FromHost); !ok {
			d.fail(field, "the host variable %s is not set; set it where the server is started", v.FromHost)
		} else if !validValue(text) {
			d.fail(field, "the host variable %s holds a value that no environment can: NUL, or more than %d bytes", v.FromHost, maxEnvValue)
		}
	}
}

// question takes the answer for a variable that the manifest asks for.
func (d *draft) question(name string, v manifest.EnvValue) {
	field := "env " + name + " of the manifest"
	origin := d.bottle.Origins["env."+name]
	answer, answered := d.req.Answers[name]
	_, given := d.req.Env[name]
	switch {
	case given && answered:
		d.fail(field, "its value is given twice; leave it out of env")
	case given:
	case answered && !validValue(answer.Reveal()): //nolint:forbidigo // looked at, and kept nowhere
		d.fail(field, "the answer holds NUL or is longer than %d bytes", maxEnvValue)
	case answered:
	case d.req.Asks:
		d.plan.Questions = append(d.plan.Questions, Question{Name: name, Text: v.Question, File: origin.File, Line: origin.Line})
	case d.r.parent != nil: // where the manifest lies and what it says are not the bottle's business
		d.fail(field, "its value is asked for; put %s into the launch's env if it is no secret, or name another bottle", name)
	default:
		d.fail(field, "%s asks for its value%s: put %s into the launch's env if it is no secret; else the operator starts the bottle with 'bottle-mcp run', which asks, or writes ${HOST_VARIABLE} there", origin, quoted(v.Question), name)
	}
}

// answers refuses those that nobody asked for.
func (d *draft) answers() {
	for _, name := range slices.Sorted(maps.Keys(d.req.Answers)) {
		if v, ok := d.bottle.Env[name]; !ok || !v.Ask {
			d.fail(fmt.Sprintf("env %.80s", name), "no manifest asks for this variable; leave the answer out")
		}
	}
	d.r.answers = maps.Clone(d.req.Answers)
}

// quoted is a manifest's question as a part of a sentence; "" when it has none.
func quoted(question string) string {
	if question == "" {
		return ""
	}
	return fmt.Sprintf(" (%.200q)", question)
}

func (d *draft) requestVariable(name, value string) {
	field := fmt.Sprintf("env %.80s", name)
	old, declared := d.bottle.Env[name]
	_, identity := identityEnv(d.r.git.user)[name]
	ours := false
	if d.r.agent != nil {
		_, ours = d.r.agent.env[name]
	}
	switch {
	case !manifest.ValidEnvName(name):
		d.fail("env", "%.80q is not the name of a variable; use letters, digits and '_'", name)
	case reservedEnv(name) || baseName(name):
		d.fail(field, "the bottle's own wiring sets this variable; leave it out")
	case ours && !declared:
		d.fail(field, "the provider of the agent sets this variable; leave it out")
	case declared && !old.Ask, identity && !declared:
		d.fail(field, "the operator's manifest sets this variable; leave it out")
	case !validValue(value):
		d.fail(field, "the value holds NUL or is longer than %d bytes", maxEnvValue)
	default:
		d.r.env[name] = manifest.EnvValue{Literal: value}
	}
}

func validValue(s string) bool { return len(s) <= maxEnvValue && !strings.ContainsRune(s, 0) }

// unanswered is a launch of a plan that still asks.
func unanswered(questions []Question) error {
	var problems []error
	for _, q := range questions {
		problems = append(problems, &InvalidError{Field: "env " + q.Name + " of the manifest", Problem: "it was asked for and not answered; plan again with an answer"})
	}
	return &PlanError{Problems: problems}
}
