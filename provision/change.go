package provision

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

// Change is the narrowest thing that an operator can write to let one refused
// request pass, in the manifest's own words.
type Change struct {
	// Text says it in one sentence.
	Text string `json:"text"`
	// Key is what is to be added to or set, Value the YAML; "" = no manifest can
	// allow the request, and Text says what else helps.
	Key   string `json:"key,omitempty"`
	Value string `json:"value,omitempty"`
	File  string `json:"file,omitempty"`
	Line  int    `json:"line,omitempty"`
}

// change says what would let a refused request pass.
func (b *boundPolicy) change(d policy.Decision, q policy.Request) *Change {
	if d.Route >= 0 && b.from[d.Route] < 0 {
		return b.ofProvider(d)
	}
	switch d.Reason {
	case policy.ReasonHostNotAllowed, policy.ReasonIPLiteral:
		return b.addRoute(q)
	case policy.ReasonPortNotAllowed:
		return b.setPorts(d, q)
	case policy.ReasonGitFetch:
		return b.edit(d, "git", "Set %s to %s", "{fetch: true}")
	case policy.ReasonPathNotAllowed, policy.ReasonMethodNotAllowed, policy.ReasonHeaderNotAllowed:
		return b.addMatch(d, q)
	case policy.ReasonPlainHTTP:
		return &Change{Text: "Use https://: a route with a credential never goes in the clear, whatever the manifest says."}
	case policy.ReasonGitPush:
		return &Change{Text: "No route can allow it: declare the repository under git-gate.repos, whose gate scans what is pushed."}
	case policy.ReasonPathAmbiguous:
		return &Change{Text: "No path rule can allow a path that can be read in more than one way: write the path plainly, or give the route matches without paths."}
	}
	return &Change{Text: "No manifest can allow it: " + strings.TrimSuffix(d.Message, ".") + "."}
}

// ofProvider is a route that the manifest does not own.
func (b *boundPolicy) ofProvider(d policy.Decision) *Change {
	c := &Change{File: b.provider.File}
	if c.File == "" {
		c.Text = fmt.Sprintf("The route for %s is the built-in provider %s's, which owns its host: choose another provider, or one of your own.", d.Rule, b.provider.Name)
	} else {
		c.Text = fmt.Sprintf("The route for %s is the provider %s's, which owns its host: change it in %s.", d.Rule, b.provider.Name, c.File)
	}
	return c
}

// edit is a change of one key of the route that decides; format has places for the
// key and the value.
func (b *boundPolicy) edit(d policy.Decision, key, format, value string) *Change {
	place := b.origin(d.Route, key)
	name := b.routeKey(d.Route) + "." + key
	return &Change{
		Text: fmt.Sprintf(format, name+" ("+place.String()+")", value) + ".",
		Key:  name, Value: value, File: place.File, Line: place.Line,
	}
}

func (b *boundPolicy) setPorts(d policy.Decision, q policy.Request) *Change {
	ports := slices.Clone(b.routes[d.Route].Ports)
	if len(ports) == 0 {
		ports = []int{443}
		if q.Scheme == "http" {
			ports = []int{80, 443}
		}
	}
	if !slices.Contains(ports, q.Port) {
		ports = append(ports, q.Port)
	}
	slices.Sort(ports)
	value := strings.ReplaceAll(fmt.Sprint(ports), " ", ", ")
	return b.edit(d, "ports", "Set %s to %s", value)
}

// addMatch allows this request, and little beside it.
func (b *boundPolicy) addMatch(d policy.Decision, q policy.Request) *Change {
	for _, m := range matchesFor(q) {
		with := slices.Clone(b.routes)
		with[d.Route].Matches = append(slices.Clone(with[d.Route].Matches), m)
		if allows(with, q) {
			value := matchYAML(m)
			return b.edit(d, "matches", "Add to %s: %s", value)
		}
	}
	return &Change{Text: "No match can allow it as it is: " + d.Message}
}

// addRoute allows this request alone, or as little beside it as a route can say.
func (b *boundPolicy) addRoute(q policy.Request) *Change {
	if err := manifest.CheckHost(q.Host); err != nil {
		return &Change{Text: fmt.Sprintf("No route can name the host %.80q: %v.", q.Host, err)}
	}
	r := manifest.Route{Host: q.Host}
	if addr, err := netip.ParseAddr(q.Host); err == nil {
		r.Private = []string{addr.String()}
	}
	if standard := q.Scheme == "https" && q.Port == 443 || q.Scheme == "http" && q.Port == 80; !standard {
		r.Ports = []int{q.Port}
	}
	for _, r.GitFetch = range []bool{false, true} {
		for _, m := range append(matchesFor(q), sidecars.Match{}) {
			if r.Matches = []sidecars.Match{m}; reflect.ValueOf(m).IsZero() {
				r.Matches = nil // the whole host
			}
			if allows(append(slices.Clone(b.routes), r), q) {
				return b.newRoute(r)
			}
		}
	}
	return &Change{Text: "No route can allow it as it is: correct the request first."}
}

func (b *boundPolicy) newRoute(r manifest.Route) *Change {
	value := routeYAML(r)
	c := &Change{Key: "egress.routes", Value: value, File: b.bottle.File}
	for _, key := range []string{"egress.routes", "egress"} {
		if o, ok := b.bottle.Origins[key]; ok {
			c.File, c.Line = o.File, o.Line
			break
		}
	}
	if c.File == "" { // the built-in bottle
		c.File = filepath.Join(b.home, "bottles", b.names[0]+".md")
	}
	c.Text = fmt.Sprintf("Add to egress.routes (%s): %s.", RuleOrigin{File: c.File, Line: c.Line}, value)
	return c
}

// matchesFor are matches that may allow a request, the narrowest first.
func matchesFor(q policy.Request) []sidecars.Match {
	if !manifest.ValidMethod(q.Method) {
		return nil
	}
	method := sidecars.Match{Methods: []string{q.Method}}
	path, err := policy.NormalizePath(q.RawPath)
	if err != nil || manifest.CheckPath(path) != nil {
		return []sidecars.Match{method}
	}
	both := method
	both.Paths = []sidecars.PathMatch{{Type: sidecars.MatchExact, Value: path}}
	return []sidecars.Match{both, method}
}

// allows reports whether routes let a request pass.
func allows(routes []manifest.Route, q policy.Request) bool {
	p, err := compileRoutes(routes)
	return err == nil && p.Decide(q).Allow
}

func routeYAML(r manifest.Route) string {
	parts := []string{"host: " + r.Host}
	if len(r.Private) > 0 {
		parts = append(parts, "private: ["+strings.Join(r.Private, ", ")+"]")
	}
	if len(r.Ports) > 0 {
		parts = append(parts, "ports: ["+strconv.Itoa(r.Ports[0])+"]")
	}
	if r.GitFetch {
		parts = append(parts, "git: {fetch: true}")
	}
	for _, m := range r.Matches {
		parts = append(parts, "matches: ["+matchYAML(m)+"]")
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// matchYAML writes a match of matchesFor, whose texts are plain ASCII.
func matchYAML(m sidecars.Match) string {
	text := "{methods: [" + strings.Join(m.Methods, ", ") + "]"
	for _, p := range m.Paths {
		text += fmt.Sprintf(", paths: [{type: %s, value: %q}]", p.Type, p.Value)
	}
	return text + "}"
}
