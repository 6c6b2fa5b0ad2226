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
	d.plan.EnvNames = slices.Sorted(maps.Keys(names))
}

func (d *draft) manifestVariable(name string, v manifest.EnvValue) {
	field := "env " + name + " of the manifest"
	_, given := d.req.Env[name]
	switch {
	case reservedEnv(name):
		d.fail(field, "the bottle's own wiring sets this variable; remove it from the manifest")
	case v.Ask && !given:
		d.fail(field, "its value must be given at launch%s: put %s into the launch's env, or write ${HOST_VARIABLE} in the manifest", question(v), name)
	case v.FromHost != "":
		if text, ok := d.m.cfg.LookupEnv(v.FromHost); !ok {
			d.fail(field, "the host variable %s is not set; set it where the server is started", v.FromHost)
		} else if !validValue(text) {
			d.fail(field, "the host variable %s holds a value that no environment can: NUL, or more than %d bytes", v.FromHost, maxEnvValue)
		}
	}
}

func question(v manifest.EnvValue) string {
	if v.Question == "" {
		return ""
	}
	return fmt.Sprintf(" (%.200q)", v.Question)
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
