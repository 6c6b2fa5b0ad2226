package provision

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/provision/provider"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// policySource is what a bottle's egress policy was made from beside its
// manifests, so that it can be made anew from what these say later. It names
// credentials and holds none.
type policySource struct {
	// OnlyHosts and Only are what the launch narrowed the manifests to; nil is
	// nothing.
	OnlyHosts []string   `json:"only_hosts"`
	Only      []OnlyRule `json:"only"`
	// Placeholders are in the guest from its launch on.
	Placeholders []string              `json:"placeholders,omitempty"`
	Ledger       sidecars.LedgerPolicy `json:"ledger,omitzero"`
	// Slots are where the sidecar keeps credentials, by what they come from.
	Slots map[string]string `json:"slots,omitempty"`
}

// ReloadRequest asks for a bottle's egress policy to be made anew.
type ReloadRequest struct {
	ID backend.ID
	// DryRun says what would change and changes nothing.
	DryRun    bool
	Principal Principal
}

// Reloaded is what came of a reload.
type Reloaded struct {
	ID     backend.ID `json:"id"`
	Policy string     `json:"policy"` // in words
	// Added, Removed and Changed compare the routes with those before, by host.
	Added   []RouteSummary `json:"added"`
	Removed []RouteSummary `json:"removed"`
	Changed []RouteChange  `json:"changed"`
	// Dropped are hosts that the launch had kept and the manifests allow no more.
	Dropped []string `json:"dropped,omitempty"`
	// Credentials say where credentials were read from again; the sidecar keeps
	// all others.
	Credentials []string `json:"credentials,omitempty"`
	// Applied is false after a dry run.
	Applied bool `json:"applied"`
}

// RouteChange is one route before and after.
type RouteChange struct {
	Before RouteSummary `json:"before"`
	After  RouteSummary `json:"after"`
}

// Reload makes the egress policy of a running bottle anew from what the
// operator's manifests say now, narrowed as its launch was, and puts it in force
// at once and as a whole. Whatever else the manifests say takes another launch. It
// is the operator's to ask for: no tool leads here. An error has changed nothing,
// unless it says so.
func (m *Manager) Reload(ctx context.Context, req ReloadRequest) (_ *Reloaded, err error) {
	if req.Principal.Kind != Operator {
		return nil, &InvalidError{Field: "principal", Problem: "only the operator can have a policy made anew"}
	}
	if err := req.ID.Validate(); err != nil {
		return nil, &InvalidError{Field: "id", Problem: err.Error()}
	}
	held, err := m.lock(ctx, req.ID) // nobody removes it meanwhile, or launches a bottle of it
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, held.Unlock()) }()
	r, err := m.cfg.State.Read(req.ID)
	if err != nil {
		return nil, err
	}
	re := &reload{m: m, record: r}
	if err := re.prepare(ctx); err != nil {
		return nil, err
	}
	if req.DryRun {
		return re.result(false), nil
	}
	return re.apply(ctx, held)
}

// reload is a reload in progress.
type reload struct {
	m       *Manager
	engine  backend.Backend
	record  state.Record
	detail  detail
	source  policySource
	routes  []manifest.Route
	summary []RouteSummary
	dropped []string
	read    []string // where credentials were read
	config  sidecars.Config
	tokens  map[string]secret.Value
}

// prepare finds out what the policy is to be.
func (re *reload) prepare(ctx context.Context) error {
	if err := re.check(ctx); err != nil {
		return err
	}
	b, err := loadPolicy(re.m.cfg.ManifestHome, ExplainRequest{Bottles: re.record.Bottles})
	if err != nil {
		return err
	}
	if err := re.sameProvider(b.provider); err != nil {
		return err
	}
	if re.routes, re.dropped, err = narrowAgain(b.routes, re.source); err != nil {
		return err
	}
	re.summary = summarizeRoutes(re.routes, b.provided)
	return re.render()
}

// check refuses bottles whose policy is not made from manifests alone, or cannot
// be changed.
func (re *reload) check(ctx context.Context) error {
	r := re.record
	if r.Phase != state.Ready {
		return fmt.Errorf("bottle %s is %s and has no policy to change: %w", r.ID, r.Phase, backend.ErrNotRunning)
	}
	if parent, child := parentID(r.Principal); child {
		return fmt.Errorf("bottle %s was launched by bottle %s, whose policy bounds it: clean it up to take something away from it", r.ID, parent)
	}
	var err error
	if re.detail, err = decodeDetail(r.Detail); err != nil {
		return fmt.Errorf("bottle %s: %w", r.ID, err)
	}
	if re.detail.Source == nil {
		return fmt.Errorf("bottle %s was launched by a version that does not say what its policy was made from: launch it anew", r.ID)
	}
	re.source = *re.detail.Source
	re.source.Slots = maps.Clone(re.source.Slots)
	if re.engine, err = re.m.engine(r.Backend); err != nil {
		return err
	}
	return re.noChildren(ctx)
}

// noChildren: what the bottles of a bottle may do was proven against the policy
// that it had.
func (re *reload) noChildren(ctx context.Context) error {
	if len(re.detail.Inheritance) == 0 {
		return nil
	}
	live, err := re.m.children(ctx, re.record)
	if err != nil {
		return err
	}
	if len(live) > 0 {
		return fmt.Errorf("bottle %s has launched %d bottles whose policies are parts of its own: clean up bottle %s first", re.record.ID, len(live), live[0].ID)
	}
	return nil
}

// sameProvider: another provider's routes would be of no use to the agent that
// was set up.
func (re *reload) sameProvider(now *provider.Provider) error {
	was, is := "", ""
	if p := re.detail.Provider; p != nil && p.Provider != provider.Generic {
		was = p.Provider
	}
	if now != nil && now.Name != provider.Generic {
		is = now.Name
	}
	if was != is {
		return fmt.Errorf("bottle %s was set up for provider %q, and its manifest names %q now: launch it anew", re.record.ID, was, is)
	}
	return nil
}

// render writes the policy in the sidecar's words.
func (re *reload) render() error {
	if re.source.Slots == nil {
		re.source.Slots = map[string]string{}
	}
	routes, tokens, err := renderRoutes(re.routes, re.source.Slots, re.token)
	if err != nil {
		return err
	}
	re.tokens = tokens
	re.config = sidecars.Config{Bottle: string(re.record.ID), Routes: routes, Placeholders: re.source.Placeholders, Ledger: re.source.Ledger}
	return nil
}

// token reads a credential. One that the sidecar has already may be missing here:
// whoever launched the bottle may have had another environment.
func (re *reload) token(ref string, known bool) (secret.Value, error) {
	var value secret.Value
	if format, ok := provider.CutLoginRef(ref); ok {
		login, err := re.m.hostLogin(format)
		if err != nil {
			return secret.Value{}, unlessKnown(known, asInvalid(err))
		}
		value = login.Token
	} else {
		if text, set := re.m.cfg.LookupEnv(ref); known && (!set || text == "") {
			return secret.Value{}, nil
		}
		var err error
		if value, err = re.m.token(ref); err != nil {
			return value, err
		}
	}
	re.read = append(re.read, credentialName(ref))
	return value, nil
}

func unlessKnown(known bool, err error) error {
	if known {
		return nil
	}
	return err
}

// apply puts the policy in force and into the record.
func (re *reload) apply(ctx context.Context, held *state.Lock) (*Reloaded, error) {
	next, err := re.nextRecord()
	if err != nil {
		return nil, err
	}
	if err := re.engine.Reload(ctx, re.record.ID, re.config, sidecars.Secrets{Tokens: re.tokens}); err != nil {
		return nil, err
	}
	out := re.result(true)
	if err := held.Write(next); err != nil {
		return nil, fmt.Errorf("the new policy of bottle %s is in force, and its record still shows the one before; reload it again: %w", re.record.ID, err)
	}
	re.m.log.Info("a bottle's policy was made anew", "bottle", re.record.ID, "added", len(out.Added), "removed", len(out.Removed), "changed", len(out.Changed), "credentials", out.Credentials)
	return out, nil
}

// nextRecord is the record of the bottle under the new policy. What it passes on
// changes with it.
func (re *reload) nextRecord() (state.Record, error) {
	next, d := re.record, re.detail
	d.Routes, d.Source = re.summary, &re.source
	if len(d.Inheritance) > 0 {
		b, err := inherited(re.record, re.m.cfg.Now())
		if err != nil {
			return next, err
		}
		b.Routes, b.Origins = re.routes, nil
		if d.Inheritance, err = (&inheritance{Version: inheritanceVersion, Bottle: *b}).encode(); err != nil {
			return next, err
		}
	}
	var err error
	next.Policy = policyWords(re.routes)
	next.Detail, err = d.encode()
	return next, err
}

// result compares the routes before and after.
func (re *reload) result(applied bool) *Reloaded {
	out := &Reloaded{
		ID: re.record.ID, Policy: policyWords(re.routes), Added: []RouteSummary{}, Removed: []RouteSummary{}, Changed: []RouteChange{},
		Dropped: re.dropped, Credentials: re.read, Applied: applied,
	}
	of := func(all []RouteSummary, host string) (RouteSummary, bool) {
		i := slices.IndexFunc(all, func(r RouteSummary) bool { return r.Host == host })
		if i < 0 {
			return RouteSummary{}, false
		}
		return all[i], true
	}
	for _, r := range re.detail.Routes {
		if after, kept := of(re.summary, r.Host); !kept {
			out.Removed = append(out.Removed, r)
		} else if !sameSummary(r, after) {
			out.Changed = append(out.Changed, RouteChange{Before: r, After: after})
		}
	}
	for _, r := range re.summary {
		if _, had := of(re.detail.Routes, r.Host); !had {
			out.Added = append(out.Added, r)
		}
	}
	return out
}

// sameSummary compares what was in a record with what was not: empty lists are
// no lists there.
func sameSummary(a, b RouteSummary) bool {
	plain := func(r RouteSummary) RouteSummary {
		if len(r.Ports) == 0 {
			r.Ports = nil
		}
		return r
	}
	return reflect.DeepEqual(plain(a), plain(b))
}

// narrowAgain narrows routes as a launch did, to what of that can still be had. A
// host that cannot is left out, and so is a wildcard around it, which would allow
// more of it than the launch had kept.
func narrowAgain(routes []manifest.Route, src policySource) (left []manifest.Route, dropped []string, err error) {
	req := LaunchRequest{OnlyHosts: slices.Clone(src.OnlyHosts), Only: slices.Clone(src.Only)}
	for {
		left, problems := narrowRoutes(routes, req)
		if len(problems) == 0 {
			return left, dropped, nil
		}
		gone := refusedHosts(problems)
		if len(gone) == 0 {
			return nil, nil, errors.Join(problems...)
		}
		dropped = append(dropped, gone...)
		leave := func(host string) bool {
			below, wildcard := strings.CutPrefix(hostKey(host), "*")
			return slices.ContainsFunc(gone, func(g string) bool {
				return hostKey(g) == hostKey(host) || wildcard && strings.HasSuffix(hostKey(g), below)
			})
		}
		before := len(req.OnlyHosts) + len(req.Only)
		req.OnlyHosts = slices.DeleteFunc(req.OnlyHosts, leave)
		req.Only = slices.DeleteFunc(req.Only, func(r OnlyRule) bool { return leave(r.Host) })
		if len(req.OnlyHosts)+len(req.Only) == before {
			return nil, nil, errors.Join(problems...)
		}
	}
}

// refusedHosts are the hosts that a narrowing asks for and a policy does not
// have; nil when something else is wrong.
func refusedHosts(problems []error) []string {
	var hosts []string
	for _, p := range problems {
		var invalid *InvalidError
		if !errors.As(p, &invalid) || invalid.host == "" {
			return nil
		}
		if !slices.Contains(hosts, invalid.host) {
			hosts = append(hosts, invalid.host)
		}
	}
	return hosts
}
