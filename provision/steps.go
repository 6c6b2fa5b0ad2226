package provision

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/provision/provider"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ca"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// caSlack is how long the bottle's CA outlives the bottle, for guests whose
// clock is ahead.
const caSlack = 24 * time.Hour

// reserve takes the id.
func reserve(ctx context.Context, l *launch) (string, error) {
	p, now := l.plan, l.m.cfg.Now()
	l.record = state.Record{
		ID: p.ID, Owner: l.m.cfg.State.Owner(), Phase: state.Reserved, Label: p.Label, Agent: p.Agent, Bottles: p.Bottles,
		Backend: p.Backend, Isolation: p.Isolation, Principal: l.r.principal,
		Created: now.Round(0).UTC(), Expires: now.Add(p.TTL).Round(0).UTC(),
		Policy: p.Policy, Limits: p.Limits, Digest: p.Digest, Launcher: state.Self(),
	}
	if p.Workspace != nil {
		l.record.Workspace = p.Workspace.Host
	}
	l.detail = detail{Routes: p.Routes, Services: p.Services, Provider: p.Provider, Parent: l.r.parentRef(), Spends: l.r.spends}
	var err error
	if l.detail.Inheritance, err = l.r.passesOn.encode(); err != nil {
		return "", err
	}
	var lock *state.Lock
	if l.r.parent == nil {
		lock, err = l.m.cfg.State.Reserve(ctx, l.record)
	} else {
		lock, err = l.reserveChild(ctx)
	}
	if err != nil {
		return "", err
	}
	l.lock = lock
	return string(p.ID), nil
}

// unreserve gives the id back, unless something of the bottle is still there:
// then the record stays and says what is to be removed.
func unreserve(ctx context.Context, l *launch) error {
	if l.lock == nil {
		return nil
	}
	if l.undoErr == nil {
		l.giveBack(ctx)
		return l.lock.Remove()
	}
	l.record.Phase, l.record.Problem = state.Removing, l.undoErr.Error()
	return errors.Join(l.lock.Write(l.record), l.lock.Unlock())
}

// prepareImage builds or finds the guest's root filesystem. The lines of a build
// are progress; an image is no part of the bottle and outlives it.
func prepareImage(ctx context.Context, l *launch) (string, error) {
	spec := l.r.image
	if l.r.dockerfile != "" {
		file, err := l.m.ownDockerfile(l.r.dockerfile)
		if err != nil {
			return "", err
		}
		spec = backend.ImageSpec{Dockerfile: file}
	}
	lines := &lineWriter{each: l.note}
	image, err := l.r.engine.PrepareImage(ctx, spec, lines)
	lines.flush()
	l.image = image
	return image, err
}

// render makes the CA, collects the credentials and writes the policy in the
// sidecar's words.
func render(_ context.Context, l *launch) (string, error) {
	cert, key, err := ca.NewAuthority(string(l.plan.ID), l.record.Expires.Add(caSlack))
	if err != nil {
		return "", err
	}
	slots := map[string]string{}
	routes, tokens, err := renderRoutes(l.r.routes, slots, func(ref string, _ bool) (secret.Value, error) { return l.token(ref) })
	if err != nil {
		return "", err
	}
	placeholders, err := l.placeholders()
	if err != nil {
		return "", err
	}
	l.caCert = cert
	l.config = sidecars.Config{
		Bottle: string(l.plan.ID), Routes: routes, Placeholders: placeholders, CACert: string(cert), Ledger: l.m.cfg.Ledger,
	}
	l.detail.Source = &policySource{OnlyHosts: l.r.onlyHosts, Only: l.r.only, Placeholders: placeholders, Ledger: l.config.Ledger, Slots: slots}
	l.canary = newCanary()
	l.secrets = sidecars.Secrets{CAKey: key, Tokens: tokens, Known: l.knownSecrets(), Canaries: []sidecars.Named{{Name: canaryName, Value: l.canary}}}
	return fmt.Sprintf("%d routes, %d credentials", len(routes), len(tokens)), nil
}

// renderRoutes gives each credential one slot, in the order of the routes. slots
// are those that were given out before, by what the credential comes from, and get
// the new ones. find reads a credential; of a known one it may say that there is
// none, and the sidecar keeps what it has.
func renderRoutes(routes []manifest.Route, slots map[string]string, find func(ref string, known bool) (secret.Value, error)) ([]sidecars.Route, map[string]secret.Value, error) {
	out := []sidecars.Route{}
	tokens, asked := map[string]secret.Value{}, map[string]bool{}
	for _, r := range routes {
		if r.Auth == nil {
			out = append(out, r.Sidecar(""))
			continue
		}
		ref := r.Auth.TokenRef
		slot, known := slots[ref]
		if !known {
			slot = "EGRESS_TOKEN_" + strconv.Itoa(len(slots))
		}
		if !asked[ref] {
			token, err := find(ref, known)
			if err != nil {
				return nil, nil, err
			}
			if !token.Empty() {
				tokens[slot] = token
			}
		}
		slots[ref], asked[ref] = slot, true
		out = append(out, r.Sidecar(slot))
	}
	return out, tokens, nil
}

// token reads a credential from the host's environment. Errors name the
// variable and never its value.
func (m *Manager) token(ref string) (secret.Value, error) {
	field := "egress.routes[].auth.token_ref"
	value, ok := m.cfg.LookupEnv(ref)
	switch {
	case !ok || value == "":
		return secret.Value{}, &InvalidError{Field: field, Problem: fmt.Sprintf("the host variable %s is not set; set it where the server is started", ref)}
	case strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }):
		return secret.Value{}, &InvalidError{Field: field, Problem: fmt.Sprintf("the host variable %s holds a blank, a control or a non-ASCII character; set it to the bare token", ref)}
	}
	return secret.New(value), nil
}

// checkToken reports whether token would find a credential. A login of this host
// has been read when its route was made.
func (m *Manager) checkToken(ref string) error {
	if _, ok := provider.CutLoginRef(ref); ok {
		return nil
	}
	_, err := m.token(ref)
	return err
}

// startSidecar starts the services. From here on the engine may hold something
// of the bottle, whatever the outcome.
func startSidecar(ctx context.Context, l *launch) (string, error) {
	l.record.Phase = state.Launching
	if err := l.lock.Write(l.record); err != nil {
		return "", err
	}
	l.engaged = true
	spec := backend.SidecarSpec{
		ID: l.plan.ID, Owner: l.record.Owner, Services: l.plan.Services,
		Config: l.config, Secrets: l.secrets, Expires: l.record.Expires,
	}
	if l.plan.leads() {
		spec.HostSocket = l.m.cfg.State.SocketPath(l.plan.ID)
	}
	endpoints, err := l.r.engine.StartSidecar(ctx, spec)
	l.secrets = sidecars.Secrets{} // nobody here needs them any more
	if errors.Is(err, backend.ErrExists) {
		// Not this launch's: it must not be removed with it.
		l.engaged = false
		return "", fmt.Errorf("the engine has a bottle of this id that no record knows; clean up orphans: %w", err)
	}
	if err != nil {
		return "", err
	}
	if endpoints.Egress == "" {
		return "", errors.New("the backend serves no egress proxy; nothing could be reached or refused with a reason")
	}
	if l.plan.leads() && endpoints.Bottles == "" {
		return "", errors.New("the backend leads the bottle to no MCP server, which sub_bottles needs")
	}
	l.record.Endpoints = endpoints
	return endpoints.Egress, nil
}

func removeFromEngine(ctx context.Context, l *launch) error {
	if !l.engaged {
		return nil
	}
	return l.r.engine.Remove(ctx, l.plan.ID)
}

// wireEnvironment builds the guest's environment from what the sidecar offers.
func wireEnvironment(_ context.Context, l *launch) (string, error) {
	extra := map[string]string{}
	for name, v := range l.r.env {
		value := v.Literal
		if v.Ask {
			value = l.r.answers[name].Reveal() //nolint:forbidigo // the guest's own environment is where it goes
		}
		if v.FromHost != "" {
			text, ok := l.m.cfg.LookupEnv(v.FromHost)
			if !ok || !validValue(text) {
				return "", &InvalidError{Field: "env " + name + " of the manifest", Problem: fmt.Sprintf("the host variable %s is not set any more; set it where the server is started", v.FromHost)}
			}
			value = text
		}
		extra[name] = value
	}
	l.env = environment(wiring{endpoints: l.record.Endpoints, user: l.r.git.user, extra: extra})
	return fmt.Sprintf("%d variables", len(l.env)), nil
}

func startAgent(ctx context.Context, l *launch) (string, error) {
	files, err := l.systemFiles()
	if err != nil {
		return "", err
	}
	l.detail.Account, err = l.r.engine.StartAgent(ctx, backend.AgentSpec{
		ID: l.plan.ID, Isolation: l.plan.Isolation, Image: l.image, User: l.r.guestUser(), Env: l.env, CACert: l.caCert, Limits: l.plan.Limits, SystemFiles: files,
	})
	return l.plan.Isolation, err
}

// guestUser is whom the provider wants to work in an image; "" leaves it to the
// image.
func (r *resolvedPlan) guestUser() string {
	if r.agent == nil || !r.caps.Images {
		return ""
	}
	return r.agent.provider.User
}

// handOver writes the record that makes the bottle usable.
func handOver(ctx context.Context, l *launch) (string, error) {
	// Nothing of ours runs in a bottle that is handed over.
	if err := l.setups.end(ctx); err != nil {
		return "", err
	}
	l.record.Phase = state.Ready
	raw, err := l.detail.encode()
	if err != nil {
		return "", err
	}
	l.record.Detail = raw
	if err := l.lock.Write(l.record); err != nil {
		return "", err
	}
	return "expires " + l.record.Expires.Format(time.RFC3339), nil
}
