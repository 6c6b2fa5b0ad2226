package provision

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
)

// Principal is who makes a call, established by the transport and never by the
// call's own words.
type Principal struct {
	// Kind is Operator (stdio, or the operator's bearer token) or Guest (a bottle
	// that calls through its own sidecar).
	Kind PrincipalKind
	// Bottle is the calling bottle when Kind is Guest.
	Bottle string
}

// PrincipalKind separates the operator's orchestrator from bottles.
type PrincipalKind string

// The kinds of principal.
const (
	Operator PrincipalKind = "operator"
	Guest    PrincipalKind = "guest"
)

// guestPrefix begins a record's principal when a bottle launched it.
const guestPrefix = string(Guest) + ":"

// parentRef is the bottle that launched another one. The time tells it from a
// later bottle of the same id.
type parentRef struct {
	ID      backend.ID `json:"id"`
	Created time.Time  `json:"created"`
}

// refOf names the bottle of a record.
func refOf(r state.Record) *parentRef { return &parentRef{ID: r.ID, Created: r.Created} }

// is reports whether the record is of this very bottle.
func (p *parentRef) is(r state.Record) bool { return p.ID == r.ID && p.Created.Equal(r.Created) }

// same reports whether both name one life of one bottle.
func (p *parentRef) same(o *parentRef) bool {
	return p != nil && o != nil && p.ID == o.ID && p.Created.Equal(o.Created)
}

// parentID names the launcher of a bottle that another one launched.
func parentID(principal string) (backend.ID, bool) {
	id, ok := strings.CutPrefix(principal, guestPrefix)
	return backend.ID(id), ok
}

// principalName is how a record names who launched it; "" sees nothing.
func principalName(who Principal) string {
	switch who.Kind {
	case Operator:
		return string(Operator)
	case Guest:
		if who.Bottle != "" {
			return guestPrefix + who.Bottle
		}
	}
	return ""
}

// viewer is a principal as bottles are compared with it: the operator's side
// sees all, a bottle those that it launched itself in its present life.
type viewer struct {
	all  bool
	self *parentRef // nil = not a bottle that lives
}

// viewer looks the caller up. One that is no bottle that lives sees nothing.
func (m *Manager) viewer(who Principal) viewer {
	if who.Kind == Operator {
		return viewer{all: true}
	}
	r, err := m.caller(who)
	if err != nil {
		return viewer{}
	}
	return viewer{self: refOf(r)}
}

// sees reports whether the viewer may know of a bottle.
func (v viewer) sees(principal string, parent *parentRef) bool {
	if v.all {
		return true
	}
	id, child := parentID(principal)
	return child && parent.same(v.self) && parent.ID == id
}

// shown is a bottle as the viewer may read it.
func (v viewer) shown(b Bottle) Bottle {
	if !v.all && b.Problem != "" {
		b.Problem = childProblem
	}
	return b
}

// caller is the record of the bottle that calls. The error wraps
// backend.ErrNotRunning when it is none that was handed over and lives.
func (m *Manager) caller(who Principal) (state.Record, error) {
	id := backend.ID(who.Bottle)
	if who.Kind != Guest || id.Validate() != nil {
		return state.Record{}, fmt.Errorf("the caller is no bottle: %w", backend.ErrNotRunning)
	}
	r, err := m.cfg.State.Read(id)
	switch {
	case err != nil && !errors.Is(err, backend.ErrNotFound):
		return state.Record{}, err
	case err != nil || r.Phase != state.Ready || !m.cfg.Now().Before(r.Expires):
		return state.Record{}, fmt.Errorf("bottle %s, which calls, has ended: %w", id, backend.ErrNotRunning)
	}
	return r, nil
}

// record reads the record of a bottle that who may see; any other bottle is
// backend.ErrNotFound.
func (m *Manager) record(who Principal, id backend.ID) (state.Record, error) {
	if err := id.Validate(); err != nil {
		return state.Record{}, &InvalidError{Field: "id", Problem: err.Error()}
	}
	r, err := m.cfg.State.Read(id)
	if who.Kind == Operator {
		return r, err
	}
	if err == nil {
		d, derr := decodeDetail(r.Detail)
		if derr == nil && m.viewer(who).sees(r.Principal, d.Parent) {
			return r, nil
		}
	}
	return state.Record{}, fmt.Errorf("bottle %s: %w", id, backend.ErrNotFound)
}

// usable gives the backend of a bottle that was handed over. Before that no call
// may reach the guest: its isolation is not proven.
func (m *Manager) usable(who Principal, id backend.ID) (backend.Backend, error) {
	r, err := m.record(who, id)
	if err != nil {
		return nil, err
	}
	if r.Phase != state.Ready {
		return nil, fmt.Errorf("bottle %s is %s and cannot be used: %w", id, r.Phase, backend.ErrNotRunning)
	}
	return m.engine(r.Backend)
}
