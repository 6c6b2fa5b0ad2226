package provision

import (
	"maps"
	"slices"

	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

// RouteSummary is a route without anything secret.
type RouteSummary struct {
	Host  string `json:"host"`
	Ports []int  `json:"ports"`
	// Allows says in words which requests may pass, e.g. "GET or HEAD on any path".
	Allows string `json:"allows,omitempty"`
	// Matches say it in data: a request must satisfy one; none = every request.
	Matches  []MatchSummary `json:"matches,omitempty"`
	GitFetch bool           `json:"git_fetch,omitempty"`
	// Auth is "Bearer from $NAME" or "".
	Auth    string   `json:"auth,omitempty"`
	Private []string `json:"private,omitempty"`
	// Rules say in words how use and answers are bounded and scanned.
	Rules    string                  `json:"rules,omitempty"`
	DLP      *sidecars.DLP           `json:"dlp,omitempty"`
	Budget   *sidecars.Budget        `json:"budget,omitempty"`
	Response *sidecars.ResponseRules `json:"response,omitempty"`
	// From is who asks for it: "manifest" or "provider"; "" in older records.
	From string `json:"from,omitempty"`
}

// MatchSummary is one way to satisfy a route; a header's value is not shown.
type MatchSummary struct {
	Methods []string             `json:"methods,omitempty"`
	Paths   []sidecars.PathMatch `json:"paths,omitempty"`
	Headers []string             `json:"headers,omitempty"`
}

// RepoSummary is a repository behind the git gate, without its key.
type RepoSummary struct {
	Name string `json:"name"`
	URL  string `json:"url"`
	// Key says where the gate's key comes from, by name.
	Key string `json:"key"`
	// Pinned is true where the upstream's host key is known; nothing is forwarded
	// without it.
	Pinned bool `json:"pinned"`
}

// SubBottlesPlan is what an agent may launch itself.
type SubBottlesPlan struct {
	Max   int `json:"max"`   // at one time
	Depth int `json:"depth"` // generations
}

// summarizeRoutes shows routes without anything secret. provided says whether a
// provider's route decides a host.
func summarizeRoutes(routes []manifest.Route, provided func(host string) bool) []RouteSummary {
	out := []RouteSummary{}
	for _, r := range routes {
		s := RouteSummary{
			Host: r.Host, Ports: append([]int{}, r.Ports...), Private: r.Private, Allows: allowance(r), GitFetch: r.GitFetch,
			Rules: policy.RuleWords(r.Sidecar("")), DLP: r.DLP, Budget: r.Budget, Response: r.Response, From: "manifest",
		}
		for _, m := range r.Matches {
			shown := MatchSummary{Methods: m.Methods, Paths: m.Paths}
			for _, h := range m.Headers {
				shown.Headers = append(shown.Headers, h.Name)
			}
			s.Matches = append(s.Matches, shown)
		}
		if r.Auth != nil {
			s.Auth = authWords(*r.Auth)
		}
		if provided(r.Host) {
			s.From = "provider"
		}
		out = append(out, s)
	}
	return out
}

// provided finds the hosts that a provider's routes decide.
func (d *draft) provided() func(host string) bool {
	if d.r.agent == nil {
		return func(string) bool { return false }
	}
	all, from := effective(d.bottle.Routes, d.r.agent.routes)
	p, err := compileRoutes(all)
	return func(host string) bool {
		if err != nil {
			return false
		}
		i, ok := p.Containing(host)
		return ok && from[i] < 0
	}
}

// repositories shows what is behind the git gate.
func repositories(repos map[string]manifest.Repo) []RepoSummary {
	out := []RepoSummary{}
	for _, name := range slices.Sorted(maps.Keys(repos)) {
		r := repos[name]
		key := "a key file of the host"
		if r.Key.Provider != manifest.KeyStatic {
			key = "made by " + r.Key.Provider + " at launch with $" + r.Key.TokenEnv
		}
		out = append(out, RepoSummary{Name: name, URL: r.URL, Key: key, Pinned: r.HostKey != ""})
	}
	return out
}

// subBottlesPlan shows what may be launched from inside.
func subBottlesPlan(s manifest.SubBottles) *SubBottlesPlan {
	if s.Max <= 0 {
		return nil
	}
	return &SubBottlesPlan{Max: s.Max, Depth: generations(s)}
}
