package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/provision/workspace"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// Bounds of a request's text.
const (
	maxLabel   = 256
	maxPrompt  = 1 << 20
	maxBottles = 16
)

// resolvedPlan carries what Launch needs and callers must not see.
type resolvedPlan struct {
	manager *Manager
	engine  backend.Backend
	caps    backend.Capabilities
	routes  []manifest.Route
	// onlyHosts and only are what the request narrowed the manifests to.
	onlyHosts []string
	only      []OnlyRule
	env       map[string]manifest.EnvValue
	answers   map[string]secret.Value // of the variables that ask
	image     backend.ImageSpec
	// dockerfile is the text of one that is part of this program; it excludes image.
	dockerfile string
	git        gitPlan
	agent      *agentPlan // nil = no provider
	prompt     string     // what the guest is given to read; "" = nothing
	workspace  hostPath
	survey     *workspace.Survey // nil = no workspace of this host
	principal  string
	chosenID   bool
	parent     *parentBottle // nil = the operator's side launches
	callerDir  string        // the workspace in the parent's guest; "" = none
	// life is the time that was asked for or is the default, whatever is left of
	// the parent's.
	life       time.Duration
	subBottles manifest.SubBottles
	passesOn   *inheritance // nil = it may launch no bottles
	spends     spending     // of the parent's budgets
}

// draft is a plan in the making. It gathers all problems, so that a caller
// corrects a request once.
type draft struct {
	m        *Manager
	req      LaunchRequest
	plan     *Plan
	r        *resolvedPlan
	bottle   *manifest.Bottle
	agent    *manifest.Agent // nil = none
	inherits bool            // the bottle is the parent's own
	problems []error
}

func (d *draft) fail(field, format string, args ...any) {
	d.problems = append(d.problems, &InvalidError{Field: field, Problem: fmt.Sprintf(format, args...)})
}

// Plan resolves and validates a request. It starts nothing. What is wrong with
// the request comes as one *PlanError; when no backend can be used the error is
// a *backend.SelectionError.
func (m *Manager) Plan(ctx context.Context, req LaunchRequest) (*Plan, error) {
	d := &draft{m: m, req: req, plan: &Plan{Agent: req.Agent, Label: req.Label}, r: &resolvedPlan{manager: m, principal: principalName(req.Principal)}}
	if req.Principal.Kind != Operator {
		parent, err := m.parentOf(req.Principal)
		if err != nil {
			return nil, &PlanError{Problems: []error{err}}
		}
		d.r.parent = parent
	}
	d.text()
	d.workspace()
	if d.manifests() {
		if err := d.resolve(ctx); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("plan the launch: %w", context.Cause(ctx))
	}
	if len(d.problems) > 0 {
		d.forGuests()
		return nil, &PlanError{Problems: d.problems}
	}
	return d.finish()
}

// resolve goes from the manifests to what will be. Its error is no fault of the
// request.
func (d *draft) resolve(ctx context.Context) error {
	d.subBottles()
	d.unsupported()
	d.git()
	if err := d.backend(ctx); err != nil {
		return err
	}
	d.image()
	d.provider()
	d.routes()
	d.env()
	d.bounds()
	if err := d.attenuate(ctx); err != nil {
		return err
	}
	d.survey(ctx)
	d.preview()
	return nil
}

// text checks what is taken from the request as it is.
func (d *draft) text() {
	if d.req.ID != "" {
		d.plan.ID, d.r.chosenID = d.req.ID, true
		if err := d.req.ID.Validate(); err != nil {
			d.fail("id", "%v", err)
		} else if p := d.r.parent; p != nil {
			d.plan.ID = childID(p.record, d.req.ID)
		}
	}
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	if len(d.req.Label) > maxLabel || !utf8.ValidString(d.req.Label) || strings.ContainsFunc(d.req.Label, unprintable) {
		d.fail("label", "it must be at most %d bytes of printable text on one line", maxLabel)
	}
	if len(d.req.Prompt) > maxPrompt || !utf8.ValidString(d.req.Prompt) || strings.ContainsRune(d.req.Prompt, 0) {
		d.fail("prompt", "it must be at most %d bytes of UTF-8 without NUL", maxPrompt)
	}
	switch n := len(d.req.Bottles); {
	case n > maxBottles:
		d.fail("bottles", "at most %d bottles can be merged", maxBottles)
	case n > 1 && !d.m.cfg.MergeBottles:
		d.fail("bottles", "one launch takes one bottle here, because several joined can reach more than each; name one of them, "+
			"or ask the operator for a bottle file with \"extends: [%s]\" or for a server with --merge-bottles", strings.Join(d.req.Bottles, ", "))
	}
}

func (d *draft) workspace() {
	if d.req.Workspace == "" {
		return
	}
	if d.r.parent != nil {
		d.callerWorkspace()
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
	// What lies in a bottle's file system is no manifest.
	if d.plan.Workspace != nil && d.r.parent == nil {
		workspace = d.plan.Workspace.Host
	}
	names, body := d.req.Bottles, ""
	if d.req.Agent != "" {
		agent, err := d.m.manifests.Agent(d.req.Agent, workspace)
		if err != nil {
			d.problems = append(d.problems, err)
			return false
		}
		d.agent, body = agent, agent.Prompt
		if len(names) == 0 && agent.Bottle != "" {
			names = []string{agent.Bottle}
		}
	}
	for _, w := range d.m.manifests.Warnings(workspace) {
		d.m.log.Warn("a part of the workspace is ignored", "reason", w)
	}
	d.r.prompt = strings.TrimSpace(body + "\n\n" + d.req.Prompt)
	if len(names) == 0 && d.r.parent != nil {
		d.inherit()
		return true
	}
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
	chosen, err := d.chooseBackend(ctx)
	var invalid *InvalidError
	if errors.As(err, &invalid) {
		d.problems = append(d.problems, err)
		return nil
	}
	if err != nil {
		return err
	}
	d.r.engine, d.r.caps = chosen.Backend, chosen.Capabilities
	d.plan.Backend, d.plan.BackendSource = chosen.Backend.Name(), chosen.Source
	d.services()
	d.isolation()
	return nil
}

// chooseBackend follows the selection rules; a child's is its parent's.
func (d *draft) chooseBackend(ctx context.Context) (backend.Selected, error) {
	if d.r.parent != nil {
		return d.parentsBackend(ctx)
	}
	return d.m.selectBackend(ctx, d.req.Backend, d.bottle.Backend)
}

// isolation is the class that the manifest names, else the parent's, else the
// backend's first.
func (d *draft) isolation() {
	classes, class := d.r.caps.Isolation, d.bottle.Isolation
	if class == "" && d.r.parent != nil {
		class = d.r.parent.record.Isolation
	}
	switch {
	case len(classes) == 0:
		d.fail("backend", "%s names no isolation class; choose another backend", d.plan.Backend)
	case class == "":
		d.plan.Isolation = classes[0]
	case slices.Contains(classes, class):
		d.plan.Isolation = class
	default:
		d.problems = append(d.problems, &InvalidError{Field: "isolation of the manifest", Problem: fmt.Sprintf("backend %s has no class %q on this host", d.plan.Backend, class), Allowed: classes})
	}
}

// services are those that the bottle needs. A bottle never runs with less.
func (d *draft) services() {
	d.plan.Services = []sidecars.Service{sidecars.Egress}
	if len(d.bottle.Repos) > 0 {
		d.plan.Services = append(d.plan.Services, sidecars.GitGate)
	}
	if d.bottle.SubBottles.Max > 0 {
		d.plan.Services = append(d.plan.Services, sidecars.Bottles)
		if d.m.cfg.ServeGuest == nil {
			d.fail("sub_bottles", "this program serves no bottles; launch the bottle with bottle-mcp serve or run")
		}
	}
	for _, svc := range d.plan.Services {
		if slices.Contains(d.r.caps.Services, svc) {
			continue
		}
		why := "this version has none for it"
		for _, m := range d.r.caps.Missing {
			if m.Name == string(svc) {
				why = m.Reason
			}
		}
		what := ""
		switch svc {
		case sidecars.GitGate:
			what = fmt.Sprintf(", which the repositories %q need", slices.Sorted(maps.Keys(d.bottle.Repos)))
		case sidecars.Bottles:
			what = ", which sub_bottles needs"
		default:
		}
		d.fail("backend", "%s cannot serve %s%s: %s; choose another backend, or take it out of the bottle", d.plan.Backend, svc, what, why)
	}
}

// image checks what the guest is to be made from.
func (d *draft) image() {
	s := d.bottle.Image
	if s.Zero() || d.r.engine == nil {
		return
	}
	d.r.image, d.plan.Image = s, s.Reference
	if s.Dockerfile != "" {
		d.plan.Image = d.dockerfileName(s.Dockerfile)
	}
	switch {
	case !d.r.caps.Images:
		d.fail("image of the manifest", "backend %s runs this host's programs and no image; choose another backend, or take %q out of the bottle", d.plan.Backend, d.plan.Image)
	case s.Dockerfile != "":
		if info, err := os.Stat(s.Dockerfile); err != nil || !info.Mode().IsRegular() {
			d.fail("agent_provider.dockerfile of the manifest", "%s is no readable file; correct the path", s.Dockerfile)
		}
	}
}

// routes narrows the egress policy and checks that every credential is there.
func (d *draft) routes() {
	routes := d.bottle.Routes // a parent's have its provider's among them
	if !d.inherits {
		routes = d.withAgent()
	}
	routes, problems := narrowRoutes(routes, d.req)
	d.problems = append(d.problems, problems...)
	d.r.routes, d.r.onlyHosts, d.r.only = routes, d.req.OnlyHosts, d.req.Only
	d.plan.Routes, d.plan.Policy = summarizeRoutes(routes, d.provided()), policyWords(routes)
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

// bounds narrows time and resources.
func (d *draft) bounds() {
	d.ttl()
	if d.r.parent != nil {
		d.plan.Limits = d.childLimits()
		return
	}
	l, problems := narrowLimits(d.limits(), d.req.Limits)
	d.plan.Limits = l
	d.problems = append(d.problems, problems...)
}

// ttl is what the request asks for, else the manifest's or the default. A child's
// ends with what its parent has left.
func (d *draft) ttl() {
	allowed, whose := cmp.Or(d.bottle.TTL, d.m.cfg.TTL), "the manifest allows"
	d.r.life = cmp.Or(d.req.TTL, allowed)
	if p := d.r.parent; p != nil {
		if d.inherits {
			d.r.life = d.req.TTL
		}
		if p.left <= allowed {
			allowed, whose = p.left, "the launching bottle has left"
		}
	}
	d.plan.TTL = cmp.Or(d.req.TTL, allowed)
	switch {
	case d.plan.TTL < manifest.MinTTL:
		d.fail("ttl", "%s is shorter than %s", d.plan.TTL, manifest.MinTTL)
	case d.plan.TTL > allowed:
		d.fail("ttl", "%s is longer than the %s that %s; a request can only shorten it", d.req.TTL, allowed, whose)
	}
}

// limits are the manifest's, else the operator's defaults.
func (d *draft) limits() backend.Limits { return orLimits(d.bottle.Limits, d.m.cfg.Limits) }

// finish gives the plan its id, steps and digest.
func (d *draft) finish() (*Plan, error) {
	p := d.plan
	p.resolved = d.r
	d.r.subBottles, d.r.passesOn = d.bottle.SubBottles, d.inheritance()
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
