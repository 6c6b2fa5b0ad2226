package provision

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
)

// inheritanceVersion is the format of what a bottle's record says for the bottles
// that it launches. Another one is not guessed at.
const inheritanceVersion = 1

// inheritance is what the bottles of a bottle begin with: the bottle itself as it
// was launched, as a manifest would say it. It is recorded, so that a server that
// was started again, or whose manifests have changed since, grants no more.
// Credentials stand in it by the name of their host variable, and nothing of what
// a request gave.
type inheritance struct {
	Version int             `json:"version"`
	Bottle  manifest.Bottle `json:"bottle"`
}

// inheritance is what the planned bottle passes on; nil when it may launch none.
func (d *draft) inheritance() *inheritance {
	if d.bottle.SubBottles.Max <= 0 {
		return nil
	}
	b := d.effective()
	b.Name, b.File, b.Extends, b.Origins = d.bottle.Name, "", nil, nil
	b.Publish = nil // never passed on
	return &inheritance{Version: inheritanceVersion, Bottle: b}
}

// effective is the planned bottle with everything as it was narrowed.
func (d *draft) effective() manifest.Bottle {
	b := *d.bottle
	b.Routes, b.User = d.r.routes, d.r.git.user
	b.Limits, b.TTL = d.plan.Limits, d.plan.TTL
	b.Backend, b.Isolation = d.plan.Backend, d.plan.Isolation
	b.Env = maps.Clone(d.bottle.Env)
	maps.DeleteFunc(b.Env, func(_ string, v manifest.EnvValue) bool { return v.Ask })
	return b
}

// grantOf is what a bottle may do that is as its manifest says.
func grantOf(b manifest.Bottle) Grant {
	return Grant{
		Routes: b.Routes, Env: b.Env, Repos: b.Repos, Supervise: b.Supervise, Publish: b.Publish, SubBottles: b.SubBottles,
		Limits: b.Limits, TTL: b.TTL, Backend: b.Backend, Isolation: b.Isolation,
	}
}

func (in *inheritance) encode() (json.RawMessage, error) {
	if in == nil {
		return nil, nil
	}
	raw, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encode what the bottle may pass on: %w", err)
	}
	return raw, nil
}

// inherited reads what a bottle passes on, with the time that it has left.
func inherited(r state.Record, now time.Time) (*manifest.Bottle, error) {
	d, err := decodeDetail(r.Detail)
	if err != nil {
		return nil, err
	}
	if len(d.Inheritance) == 0 {
		return nil, &InvalidError{Field: "sub_bottles", Problem: fmt.Sprintf("bottle %s may launch none: its manifest has no sub_bottles; only the operator can change that", r.ID)}
	}
	var version struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(d.Inheritance, &version); err != nil {
		return nil, fmt.Errorf("what bottle %s may pass on cannot be read: %w", r.ID, err)
	}
	if version.Version != inheritanceVersion {
		return nil, fmt.Errorf("what bottle %s may pass on has format %d and this version reads format %d: have the operator launch it anew", r.ID, version.Version, inheritanceVersion)
	}
	var in inheritance
	dec := json.NewDecoder(bytes.NewReader(d.Inheritance))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return nil, fmt.Errorf("what bottle %s may pass on cannot be read: %w", r.ID, err)
	}
	b := in.Bottle
	b.TTL = r.Expires.Sub(now)
	b.Origins = manifest.Origins{}
	if b.Env == nil {
		b.Env = map[string]manifest.EnvValue{}
	}
	// What the record says of the bottle itself is what was enforced.
	if b.Backend != r.Backend || b.Isolation != r.Isolation || b.Limits != r.Limits {
		return nil, fmt.Errorf("what bottle %s may pass on contradicts its record: have the operator launch it anew", r.ID)
	}
	b.Routes = slices.Clone(b.Routes)
	return &b, nil
}
