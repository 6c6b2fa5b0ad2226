package provision

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// Bounds of a request's text.
const (
	maxLabel    = 256
	maxPrompt   = 1 << 20
	maxBottles  = 16
	maxEnv      = 512
	maxEnvValue = 32 << 10
)

// resolvedPlan carries what Launch needs and callers must not see.
type resolvedPlan struct {
	manager   *Manager
	engine    backend.Backend
	caps      backend.Capabilities
	routes    []manifest.Route
	env       map[string]manifest.EnvValue
	prompt    string // what the guest is given to read; "" = nothing
	workspace hostPath
	principal string
	chosenID  bool
}

// draft is a plan in the making. It gathers all problems, so that a caller
// corrects a request once.
type draft struct {
	m        *Manager
	req      LaunchRequest
	plan     *Plan
	r        *resolvedPlan
	bottle   *manifest.Bottle
	problems []error
}

func (d *draft) fail(field, format string, args ...any) {
	d.problems = append(d.problems, &InvalidError{Field: field, Problem: fmt.Sprintf(format, args...)})
}

// Plan resolves and validates a request. It starts nothing. What is wrong with
// the request comes as one *PlanError; when no backend can be used the error is
// a *backend.SelectionError.
func (m *Manager) Plan(ctx context.Context, req LaunchRequest) (*Plan, error) {
	if req.Principal.Kind != Operator {
		return nil, &PlanError{Problems: []error{&InvalidError{Field: "principal", Problem: "only the operator's side may launch bottles in this version"}}}
	}
	d := &draft{m: m, req: req, plan: &Plan{Agent: req.Agent, Label: req.Label}, r: &resolvedPlan{manager: m, principal: principalName(req.Principal)}}
	d.text()
	d.workspace()
	if d.manifests() {
		if err := d.backend(ctx); err != nil {
			return nil, err
		}
		d.routes()
		d.env()
		d.bounds()
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("plan the launch: %w", context.Cause(ctx))
	}
	if len(d.problems) > 0 {
		return nil, &PlanError{Problems: d.problems}
	}
	return d.finish()
}

// text checks what is taken from the request as it is.
func (d *draft) text() {
	if d.req.ID != "" {
		d.plan.ID, d.r.chosenID = d.req.ID, true
		if err := d.req.ID.Validate(); err != nil {
			d.fail("id", "%v", err)
		}
	}
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	if len(d.req.Label) > maxLabel || !utf8.ValidString(d.req.Label) || strings.ContainsFunc(d.req.Label, unprintable) {
		d.fail("label", "it must be at most %d bytes of printable text on one line", maxLabel)
	}
	if len(d.req.Prompt) > maxPrompt || !utf8.ValidString(d.req.Prompt) || strings.ContainsRune(d.req.Prompt, 0) {
		d.fail("prompt", "it must be at most %d bytes of UTF-8 without NUL", maxPrompt)
	}
	if len(d.req.Bottles) > maxBottles {
		d.fail("bottles", "at most %d bottles can be merged", maxBottles)
	}
}

func (d *draft) workspace() {
	if d.req.Workspace == "" {
		return
	}
	h, err := d.m.roots.directory("workspace", d.req.Workspace)
	if err != nil {
		d.problems = append(d.problems, err)
		return
	}
	d.r.workspace = h
	d.plan.Workspace = &WorkspacePlan{Host: h.String(), Guest: backend.GuestWorkspace}
}

// manifests loads the agent and the bottles. It reports false when there is
// nothing to go on with.
func (d *draft) manifests() bool {
	workspace := ""
	if d.plan.Workspace != nil {
		workspace = d.plan.Workspace.Host
	}
	names, body := d.req.Bottles, ""
	if d.req.Agent != "" {
		agent, err := d.m.manifests.Agent(d.req.Agent, workspace)
		if err != nil {
			d.problems = append(d.problems, err)
			return false
		}
		body = agent.Prompt
		if len(names) == 0 && agent.Bottle != "" {
			names = []string{agent.Bottle}
		}
	}
	for _, w := range d.m.manifests.Warnings(workspace) {
		d.m.log.Warn("a part of the workspace is ignored", "reason", w)
	}
	d.r.prompt = strings.TrimSpace(body + "\n\n" + d.req.Prompt)
	if len(names) == 0 {
		names = []string{manifest.DefaultBottle}
	}
	d.plan.Bottles = slices.Clone(names)
	return d.merge(names)
}

func (d *draft) merge(names []string) bool {
	var bottles []*manifest.Bottle
	for _, name := range names[:min(len(names), maxBottles)] {
		b, err := d.m.manifests.Bottle(name)
		if err != nil {
			d.problems = append(d.problems, err)
			continue
		}
		bottles = append(bottles, b)
	}
	if len(bottles) != len(names) {
		return false
	}
	merged, err := manifest.Merge(bottles)
	if err != nil {
		d.problems = append(d.problems, err)
		return false
	}
	d.bottle = merged
	return true
}

// backend selects the engine. That none can be used is no fault of the request
// and returned by itself.
func (d *draft) backend(ctx context.Context) error {
	chosen, err := d.m.selectBackend(ctx, d.req.Backend, d.bottle.Backend)
	var invalid *InvalidError
	if errors.As(err, &invalid) {
		d.problems = append(d.problems, err)
		return nil
	}
	if err != nil {
		return err
	}
	d.r.engine, d.r.caps = chosen.Backend, chosen.Capabilities
	d.plan.Backend = chosen.Backend.Name()
	d.plan.Services = []sidecars.Service{sidecars.Egress}
	for _, svc := range d.plan.Services {
		if !slices.Contains(d.r.caps.Services, svc) {
			d.fail("backend", "%s cannot serve %s; choose another backend", d.plan.Backend, svc)
		}
	}
	classes := d.r.caps.Isolation
	switch {
	case len(classes) == 0:
		d.fail("backend", "%s names no isolation class; choose another backend", d.plan.Backend)
	case d.bottle.Isolation == "":
		d.plan.Isolation = classes[0]
	case slices.Contains(classes, d.bottle.Isolation):
		d.plan.Isolation = d.bottle.Isolation
	default:
		d.problems = append(d.problems, &InvalidError{Field: "isolation of the manifest", Problem: fmt.Sprintf("backend %s has no class %q on this host", d.plan.Backend, d.bottle.Isolation), Allowed: classes})
	}
	return nil
}

// routes narrows the egress policy and checks that every credential is there.
func (d *draft) routes() {
	routes := d.bottle.Routes
	if d.req.OnlyHosts != nil {
		var problems []error
		routes, problems = narrowRoutes(routes, d.req.OnlyHosts)
		d.problems = append(d.problems, problems...)
	}
	d.r.routes = routes
	d.plan.Routes, d.plan.Policy = summarize(routes), policyWords(routes)
	missing := map[string]bool{}
	for _, r := range routes {
		if r.Auth == nil || missing[r.Auth.TokenRef] {
			continue
		}
		if err := d.m.checkToken(r.Auth.TokenRef); err != nil {
			missing[r.Auth.TokenRef] = true
			d.problems = append(d.problems, err)
		}
	}
}

// env joins the manifest's variables with the request's, which may answer the
// manifest's questions and add names that nobody else uses.
func (d *draft) env() {
	d.r.env = maps.Clone(d.bottle.Env)
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
	for name := range d.r.env {
		names[name] = ""
	}
	for _, more := range []map[string]string{trustEnv(), proxyEnv(backend.Endpoints{Egress: "x"})} {
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
	switch {
	case !manifest.ValidEnvName(name):
		d.fail("env", "%.80q is not the name of a variable; use letters, digits and '_'", name)
	case reservedEnv(name) || baseName(name):
		d.fail(field, "the bottle's own wiring sets this variable; leave it out")
	case declared && !old.Ask:
		d.fail(field, "the operator's manifest sets this variable; leave it out")
	case !validValue(value):
		d.fail(field, "the value holds NUL or is longer than %d bytes", maxEnvValue)
	default:
		d.r.env[name] = manifest.EnvValue{Literal: value}
	}
}

func validValue(s string) bool { return len(s) <= maxEnvValue && !strings.ContainsRune(s, 0) }

// bounds narrows time and resources.
func (d *draft) bounds() {
	allowed := d.m.cfg.TTL
	if d.bottle.TTL != 0 {
		allowed = d.bottle.TTL
	}
	d.plan.TTL = allowed
	switch {
	case d.req.TTL == 0:
	case d.req.TTL < manifest.MinTTL:
		d.fail("ttl", "%s is shorter than %s", d.req.TTL, manifest.MinTTL)
	case d.req.TTL > allowed:
		d.fail("ttl", "%s is longer than the %s that the manifest allows; a request can only shorten it", d.req.TTL, allowed)
	default:
		d.plan.TTL = d.req.TTL
	}
	l, problems := narrowLimits(d.limits(), d.req.Limits)
	d.plan.Limits = l
	d.problems = append(d.problems, problems...)
}

// limits are the manifest's, else the operator's defaults.
func (d *draft) limits() backend.Limits {
	out, def := d.bottle.Limits, d.m.cfg.Limits
	if out.CPUs == 0 {
		out.CPUs = def.CPUs
	}
	if out.MemoryBytes == 0 {
		out.MemoryBytes = def.MemoryBytes
	}
	if out.DiskBytes == 0 {
		out.DiskBytes = def.DiskBytes
	}
	if out.PIDs == 0 {
		out.PIDs = def.PIDs
	}
	return out
}

// finish gives the plan its id, steps and digest.
func (d *draft) finish() (*Plan, error) {
	p := d.plan
	p.resolved = d.r
	if p.ID == "" {
		id, err := d.m.newID(p)
		if err != nil {
			return nil, err
		}
		p.ID = id
	}
	for _, s := range p.steps() {
		p.Steps = append(p.Steps, s.name)
	}
	digest, err := p.digest()
	if err != nil {
		return nil, err
	}
	p.Digest = digest
	return p, nil
}

// digest covers everything that decides what the bottle is, but its id. Host
// variables stand in it by name.
func (p *Plan) digest() (string, error) {
	data, err := json.Marshal(struct {
		Plan      Plan
		TTL       time.Duration
		Routes    []manifest.Route
		Env       map[string]manifest.EnvValue
		Prompt    string
		Principal string
	}{
		Plan: Plan{
			Agent: p.Agent, Bottles: p.Bottles, Label: p.Label, Backend: p.Backend, Isolation: p.Isolation,
			Workspace: p.Workspace, Limits: p.Limits, Services: p.Services,
		},
		TTL: p.TTL, Routes: p.resolved.routes, Env: p.resolved.env, Prompt: p.resolved.prompt, Principal: p.resolved.principal,
	})
	if err != nil {
		return "", fmt.Errorf("digest of the plan: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// Shape of a generated id: what it is for, and five random characters, so that
// two launches of one agent never collide.
const (
	idRandom = 5
	idMax    = 40
	idTries  = 10
)

func (m *Manager) newID(p *Plan) (backend.ID, error) {
	name := p.Label
	for _, other := range []string{p.Agent, strings.Join(p.Bottles, "-")} {
		if slug(name) == "" {
			name = other
		}
	}
	for range idTries {
		suffix, err := randomBase36(idRandom)
		if err != nil {
			return "", fmt.Errorf("choose an id: %w", err)
		}
		id := backend.ID(slug(name) + "-" + suffix)
		if _, err := m.cfg.State.Read(id); errors.Is(err, backend.ErrNotFound) {
			return id, nil
		}
	}
	return "", errors.New("choose an id: every try is taken; give one")
}

// slug keeps what an id may hold.
func slug(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			b.WriteRune(r)
		} else if b.Len() > 0 && !strings.HasSuffix(b.String(), "-") {
			b.WriteByte('-')
		}
		if b.Len() == idMax-idRandom-1 {
			break
		}
	}
	return strings.Trim(b.String(), "-")
}

func randomBase36(n int) (string, error) {
	out := make([]byte, n)
	for i := range out {
		digit, err := rand.Int(rand.Reader, big.NewInt(36))
		if err != nil {
			return "", err
		}
		out[i] = "0123456789abcdefghijklmnopqrstuvwxyz"[digit.Int64()]
	}
	return string(out), nil
}
