package provision

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

// Grant is everything that a bottle may do, in a form in which two bottles can
// be compared. It names credentials and holds none.
type Grant struct {
	// Routes are the egress policy as it is enforced: a provider's among them,
	// narrowed as the launch asked.
	Routes []manifest.Route
	// Env is what manifests put into the guest's environment. Each may be of value
	// to whoever can read it, so a child has no other than its parent.
	Env        map[string]manifest.EnvValue
	Repos      map[string]manifest.Repo
	Supervise  bool
	Publish    []int
	SubBottles manifest.SubBottles
	// Limits are bounds; zero is none.
	Limits backend.Limits
	// TTL is the time that is left.
	TTL       time.Duration
	Backend   string
	Isolation string
}

// BeyondError is one thing that a bottle would be able to do and the one that
// launches it is not.
type BeyondError struct {
	// What is the part of the grant: "egress", "budget", "env", "repositories",
	// "supervise", "publish", "sub_bottles", "limits", "ttl", "backend" or
	// "isolation".
	What   string
	Detail string // a sentence without its end: what goes beyond, and what to do

	cause error
}

func (e *BeyondError) Error() string {
	return "a bottle may launch only what does no more than itself: " + e.What + ": " + e.Detail
}

// Unwrap gives the cause, such as a *policy.BeyondError, or nil.
func (e *BeyondError) Unwrap() error { return e.cause }

// Within returns nil only when it is proven that child may do nothing that
// parent may not, apart from what several children do together. Otherwise the
// error joins a *BeyondError for each part of the grant that goes beyond.
func Within(child, parent Grant) error {
	return errors.Join(attenuation().excesses(&child, &parent)...)
}

// attenuationRules are the parts of a grant, each judged by itself. Tests take
// rules out to show that something would notice.
type attenuationRules []attenuationRule

type attenuationRule struct {
	what string
	// excess says what goes beyond; nil is nothing.
	excess func(child, parent *Grant) error
}

func attenuation() attenuationRules {
	return attenuationRules{
		{"egress", routesBeyond},
		{"env", envBeyond},
		{"repositories", reposBeyond},
		{"supervise", superviseBeyond},
		{"publish", publishBeyond},
		{"sub_bottles", subBottlesBeyond},
		{"limits", limitsBeyond},
		{"ttl", ttlBeyond},
		{"backend", backendBeyond},
		{"isolation", isolationBeyond},
	}
}

func (rules attenuationRules) excesses(child, parent *Grant) []error {
	var out []error
	for _, rule := range rules {
		if err := rule.excess(child, parent); err != nil {
			out = append(out, &BeyondError{What: rule.what, Detail: err.Error(), cause: err})
		}
	}
	return out
}

// routesBeyond leaves hosts, ports, addresses, requests, credentials, scanning
// and budgets to the policy's own proof.
func routesBeyond(child, parent *Grant) error {
	p, err := compileRoutes(parent.Routes)
	if err != nil {
		return fmt.Errorf("the launching bottle's own policy cannot be read: %w", err)
	}
	c, err := compileRoutes(child.Routes)
	if err != nil {
		return err
	}
	return policy.Subset(c, p)
}

func envBeyond(child, parent *Grant) error {
	for _, name := range slices.Sorted(maps.Keys(child.Env)) {
		if v := child.Env[name]; !envWithin(name, v, parent.Env) {
			if v.FromHost != "" {
				return fmt.Errorf("%s would hold the host's variable %s, which the launching bottle does not have; launch another bottle, or have the operator give it to both", name, v.FromHost)
			}
			return fmt.Errorf("%s has a value in the manifest that the launching bottle does not have; launch another bottle, or have the operator give it to both", name)
		}
	}
	return nil
}

// envWithin: what is in the parent's environment under any name, the parent can
// read; a text has to be the same one.
func envWithin(name string, v manifest.EnvValue, parent map[string]manifest.EnvValue) bool {
	switch {
	case v.Ask:
		return false // nobody has given it yet
	case v.FromHost != "":
		for _, p := range parent {
			if p.FromHost == v.FromHost && !p.Ask {
				return true
			}
		}
		return false
	}
	p, ok := parent[name]
	return ok && p == v
}

func reposBeyond(child, parent *Grant) error {
	for _, name := range slices.Sorted(maps.Keys(child.Repos)) {
		if p, ok := parent.Repos[name]; !ok || p != child.Repos[name] {
			return fmt.Errorf("the launching bottle has no repository %q, or another one of this name; launch another bottle", name)
		}
	}
	return nil
}

func superviseBeyond(child, parent *Grant) error {
	if child.Supervise && !parent.Supervise {
		return errors.New("the launching bottle has no way to ask the operator; launch another bottle")
	}
	return nil
}

// publishBeyond: a port of the host is the operator's to open, for no bottle of
// a bottle.
func publishBeyond(child, _ *Grant) error {
	if len(child.Publish) > 0 {
		return fmt.Errorf("ports %d would be reachable from the host, which only the operator's own bottles may ask for; launch another bottle", child.Publish)
	}
	return nil
}

// generations is how many of them a bottle may have below it.
func generations(s manifest.SubBottles) int {
	if s.Max <= 0 {
		return 0
	}
	return max(1, s.Depth)
}

func subBottlesBeyond(child, parent *Grant) error {
	c, p := generations(child.SubBottles), generations(parent.SubBottles)
	switch {
	case p == 0:
		return errors.New("the launching bottle may launch none; have the operator write sub_bottles into its manifest")
	case c >= p:
		return fmt.Errorf("%d generations could be below it, and the launching bottle may have %d in all; launch another bottle", c, p)
	case c > 0 && child.SubBottles.Max > parent.SubBottles.Max:
		return fmt.Errorf("it could have %d bottles of its own, and the launching bottle may have %d; launch another bottle", child.SubBottles.Max, parent.SubBottles.Max)
	}
	return nil
}

// resource is one of the limits, for words and comparisons. A float holds every
// amount that a machine has exactly.
type resource struct {
	name  string
	value float64
}

func resourcesOf(l backend.Limits) []resource {
	return []resource{
		{"cpus", l.CPUs}, {"memory_bytes", float64(l.MemoryBytes)}, {"disk_bytes", float64(l.DiskBytes)}, {"pids", float64(l.PIDs)},
	}
}

// limitSlack lets shares of a CPU add up to the whole.
const limitSlack = 1e-9

// exceeds reports whether an amount is beyond a bound; zero is no bound, and as
// an amount beyond every one. What is no number is beyond, too.
func exceeds(amount, bound float64) bool {
	return bound != 0 && !(amount > 0 && amount <= bound+limitSlack)
}

func limitsBeyond(child, parent *Grant) error {
	bounds := resourcesOf(parent.Limits)
	for i, r := range resourcesOf(child.Limits) {
		if exceeds(r.value, bounds[i].value) {
			return fmt.Errorf("%s %v is more than the %v of the launching bottle; give less in limits", r.name, r.value, bounds[i].value)
		}
	}
	return nil
}

func ttlBeyond(child, parent *Grant) error {
	if child.TTL <= 0 || child.TTL > parent.TTL {
		return fmt.Errorf("%s is longer than the %s that the launching bottle has left", child.TTL, parent.TTL)
	}
	return nil
}

// backendBeyond: how strong a wall is cannot be compared across engines.
func backendBeyond(child, parent *Grant) error {
	if child.Backend == "" || child.Backend != parent.Backend {
		return fmt.Errorf("it would run on %q, and the launching bottle runs on %q; a bottle launches on its own backend", child.Backend, parent.Backend)
	}
	return nil
}

// isolationBeyond demands the same class, or one that is known to be stronger on
// the same backend.
func isolationBeyond(child, parent *Grant) error {
	if child.Isolation != "" && (child.Isolation == parent.Isolation || stronger(child.Isolation, parent.Isolation)) {
		return nil
	}
	return fmt.Errorf("class %q is not shown to be as strong as the launching bottle's %q; launch another bottle", child.Isolation, parent.Isolation)
}

// stronger knows what the classes of one backend are to each other.
func stronger(a, b string) bool { return a == "gvisor" && b == "namespace" }
