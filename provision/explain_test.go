package provision

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// explainEnv asks for more requests than the ordinary test's.
const explainEnv = "BOTTLE_EXPLAIN_REQUESTS"

// livePerPolicy is how many requests each policy is asked and sent.
const livePerPolicy = 500

// disagreement compares explain with what the proxy does, and returns the first
// request on which they differ.
func disagreement(t *testing.T, b *boundPolicy, live *liveProxy, g asker, n int) (differ string, allowed int) {
	t.Helper()
	for range n {
		q := g.request()
		said, did := b.ask(q.question()), live.ask(q)
		if did == nil {
			allowed++
		}
		if !agree(said, did) {
			return fmt.Sprintf("the proxy says %+v of %+v, and explain %+v", did, q, said), allowed
		}
	}
	return "", allowed
}

// ask is explain; nil = the request is let through.
func (b *boundPolicy) ask(q ExplainRequest) *liveAnswer {
	req, err := q.request()
	if err != nil {
		return &liveAnswer{Layer: "parse", Message: err.Error()}
	}
	e := b.explain(req)
	if e.Allowed {
		return nil
	}
	return &liveAnswer{e.Layer, e.Reason, e.Message, e.Rule, e.Ask}
}

// agree compares two answers. Of some refusals only the reason can be seen, of
// what is malformed only that; and a switch of protocol is judged before its host.
func agree(said, did *liveAnswer) bool {
	switch {
	case said == nil || did == nil:
		return said == did
	case said.Layer == "parse":
		return true // a request that cannot be read may be refused for its host first
	case did.Reason == policy.ReasonUpgrade:
		return true
	case did.Layer == "":
		return said.Reason == did.Reason
	}
	return *said == *did
}

// launchBottle launches a bottle of this front matter on the fake and serves the proxy
// it would have.
func (b *bed) launchBottle(name string, front map[string]any) (*boundPolicy, *liveProxy) {
	b.t.Helper()
	raw, err := json.Marshal(front)
	if err != nil {
		b.t.Fatal(err)
	}
	b.bottleFile(name, string(raw))
	at := b.launch(LaunchRequest{Bottles: []string{name}})
	spec := b.fake.bottles[at.ID].sidecar
	bound, err := loadPolicy(b.home, ExplainRequest{Bottles: []string{name}})
	if err != nil {
		b.t.Fatal(err)
	}
	tokens := map[string]secret.Value{}
	for slot := range spec.Secrets.Tokens {
		tokens[slot] = secret.New("the-token-of-a-test")
	}
	return bound, serveLive(b.t, spec.Config, sidecars.Secrets{CAKey: spec.Secrets.CAKey, Tokens: tokens})
}

// TestExplainIsWhatTheProxyDoes launches random bottles and sends their proxies
// random requests: explain says of each what then happens, in the same words.
func TestExplainIsWhatTheProxyDoes(t *testing.T) {
	n := 10_000
	if s := os.Getenv(explainEnv); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	b := newBed(t)
	b.setenv("TOKEN", secretToken)
	put(t, b.home, "contrib/mine/provider.yaml", `
routes: [{host: x.a.ex.test, matches: [{methods: [GET]}]}]
auth_token: {scheme: Bearer, route: {host: x.ex.test}}
`)
	g := asker{rand.New(rand.NewPCG(7, 11))}
	total := 0
	for i := 0; i*livePerPolicy < n; i++ {
		front := g.bottle()
		if i%3 == 0 {
			front["agent_provider"] = map[string]any{"template": "mine", "auth_token": "TOKEN"}
		}
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			b.t = t
			bound, live := b.launchBottle("made"+strconv.Itoa(i), front)
			differ, allowed := disagreement(t, bound, live, g, livePerPolicy)
			if differ != "" {
				raw, _ := json.Marshal(front)
				t.Fatalf("%s\nof the bottle %s", differ, raw)
			}
			total += allowed
		})
	}
	if total < n/50 {
		t.Errorf("only %d of %d requests were allowed, which tells too little", total, n)
	}
}

// TestExplainOfAnotherPolicyDiffers is the control: a proxy whose policy is not
// the one that is explained is found.
func TestExplainOfAnotherPolicyDiffers(t *testing.T) {
	base := func(change func(r map[string]any)) map[string]any {
		r := map[string]any{"host": "*.ex.test", "matches": []any{map[string]any{"methods": []string{"GET"}, "paths": []any{map[string]any{"type": "prefix", "value": "/a"}}}}}
		change(r)
		return map[string]any{"egress": map[string]any{"routes": []any{r}}}
	}
	for name, change := range map[string]func(map[string]any){
		"host":  func(r map[string]any) { r["host"] = "*.a.ex.test" },
		"ports": func(r map[string]any) { r["ports"] = []int{443} },
		"paths": func(r map[string]any) { r["matches"] = []any{map[string]any{"methods": []string{"GET"}}} },
		"git":   func(r map[string]any) { r["git"] = map[string]any{"fetch": true} },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			bound, _ := b.launchBottle("explained", base(func(map[string]any) {}))
			_, live := b.launchBottle("served", base(change))
			g := asker{rand.New(rand.NewPCG(1, 2))}
			if differ, _ := disagreement(t, bound, live, g, 5000); differ == "" {
				t.Error("5000 requests found no difference")
			}
		})
	}
}

// errNoChange says that no manifest can allow a request.
var errNoChange = errors.New("no single change")

// TestChangesHelp writes what explain proposes into the bottle, again and again
// until the request passes or nothing is proposed.
func TestChangesHelp(t *testing.T) {
	g := asker{rand.New(rand.NewPCG(3, 5))}
	b := newBed(t)
	b.setenv("TOKEN", secretToken)
	passed, without := 0, map[string]int{}
	for range 1500 {
		front, q := g.bottle(), g.request()
		if _, err := q.question().request(); err != nil {
			continue
		}
		reason, err := mend(t, b, front, q.question())
		switch {
		case errors.Is(err, errNoChange):
			without[reason]++
		case err != nil:
			t.Fatalf("%+v: %v", q, err)
		default:
			passed++
		}
	}
	t.Logf("%d pass in the end; no manifest can allow %v", passed, without)
	if passed < 900 {
		t.Errorf("only %d requests pass in the end", passed)
	}
	for _, reason := range []string{policy.ReasonPortNotAllowed, policy.ReasonGitFetch} {
		if without[reason] > 0 {
			t.Errorf("nothing is proposed %d times for %s", without[reason], reason)
		}
	}
}

// mend applies what is proposed until the request passes; reason is why it does
// not in the end.
func mend(t *testing.T, b *bed, front map[string]any, q ExplainRequest) (reason string, err error) {
	t.Helper()
	q.Bottles = []string{"made"}
	for range 6 {
		raw, err := json.Marshal(front)
		if err != nil {
			t.Fatal(err)
		}
		b.bottleFile("made", string(raw))
		e, err := Explain(b.home, q)
		switch {
		case err != nil:
			return "", err
		case e.Allowed:
			return "", nil
		case e.Change == nil || e.Change.Text == "":
			return "", fmt.Errorf("nothing is said about %s", e.Reason)
		case e.Change.Key == "" && e.Rule == "":
			return e.Reason, widest(t, b, front, q, e)
		case e.Change.Key == "":
			return e.Reason, errNoChange
		}
		apply(t, front, e.Change)
		reason = e.Reason
	}
	return reason, errors.New("what is proposed does not help: " + reason)
}

// widest gives a host everything that a route can: what passes then should have
// been proposed.
func widest(t *testing.T, b *bed, front map[string]any, q ExplainRequest, e *Explanation) error {
	t.Helper()
	route := fmt.Sprintf("{host: %s, ports: [%d], git: {fetch: true}, private: [10.0.0.1, 10.0.0.2]}", e.Host, e.Port)
	apply(t, front, &Change{Key: "egress.routes", Value: route})
	raw, err := json.Marshal(front)
	if err != nil {
		t.Fatal(err)
	}
	b.bottleFile("made", string(raw))
	e, err = Explain(b.home, q)
	switch {
	case err != nil:
		return err
	case e.Allowed:
		return fmt.Errorf("nothing is proposed, and %s helps", route)
	}
	return errNoChange
}

func apply(t *testing.T, front map[string]any, c *Change) {
	t.Helper()
	value := yamlValue(t, c.Value)
	routes := front["egress"].(map[string]any)["routes"].([]any)
	if c.Key == "egress.routes" {
		front["egress"].(map[string]any)["routes"] = append(routes, value)
		return
	}
	number, key, _ := strings.Cut(strings.TrimPrefix(c.Key, "egress.routes["), "].")
	i, err := strconv.Atoi(number)
	if err != nil {
		t.Fatalf("the key is %q", c.Key)
	}
	r := routes[i].(map[string]any)
	if key == "matches" {
		r[key] = append(r[key].([]any), value)
		return
	}
	r[key] = value
}

func yamlValue(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := yaml.Load([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func TestExplainNamesTheSource(t *testing.T) {
	b := newBed(t)
	put(t, b.home, "contrib/mine/provider.yaml", "routes: [{host: own.example.com, matches: [{methods: [GET]}]}]\n"+
		"auth_token: {scheme: token, route: {host: api.example.com}}\n")
	b.bottleFile("base", "egress:\n  routes:\n    - host: api.example.com\n    - host: other.example.com\n      ports: [8443]\n      budget: {requests: 1}\npublish: [80]")
	b.bottleFile("made", "extends: base\nagent_provider: {template: mine, auth_token: TOKEN}")
	put(t, b.home, "agents/worker.md", "---\nbottle: made\n---\n")
	file := b.home + "/contrib/mine/provider.yaml"
	tests := []struct {
		url, rule, credential, change string
		origin                        RuleOrigin
	}{
		{"https://api.example.com/x", "api.example.com", "token from $TOKEN", "", RuleOrigin{Provider: "mine", File: file}},
		{"http://own.example.com/x", "own.example.com", "", "", RuleOrigin{Provider: "mine", File: file}},
		{"https://own.example.com:1/x", "own.example.com", "", "change it in " + file, RuleOrigin{Provider: "mine", File: file}},
		{"https://other.example.com:8443/x", "other.example.com", "", "", RuleOrigin{Key: "egress.routes[1].host", File: b.home + "/bottles/base.md", Line: 5}},
	}
	for _, tt := range tests {
		e, err := Explain(b.home, ExplainRequest{Agent: "worker", URL: tt.url})
		if err != nil {
			t.Fatal(err)
		}
		change := ""
		if e.Change != nil {
			change = e.Change.Text
		}
		if e.Rule != tt.rule || e.Credential != tt.credential || *e.Origin != tt.origin || e.Allowed != (tt.change == "") || !strings.Contains(change, tt.change) {
			t.Errorf("%s: %+v, origin %+v, change %q", tt.url, e, e.Origin, change)
		}
		// Whatever this version cannot give is told with its line.
		if want := unsupportedTexts(t, b.home, "made"); !slices.Equal(e.Unsupported, want) {
			t.Errorf("unsupported: %q, want %q", e.Unsupported, want)
		}
	}
}

func unsupportedTexts(t *testing.T, home, bottle string) []string {
	t.Helper()
	made, err := manifest.Loader{Home: home}.Bottle(bottle)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, e := range Unsupported(made, nil) {
		out = append(out, e.Error())
	}
	return out
}

// TestExplainNeedsNoLogin: what a login would hold is not asked, only where it goes.
func TestExplainNeedsNoLogin(t *testing.T) {
	b := newBed(t)
	b.bottleFile("made", "agent_provider: {template: codex, forward_host_credentials: true}")
	e, err := Explain(b.home, ExplainRequest{Bottles: []string{"made"}, URL: "https://chatgpt.com/backend-api/codex/responses", Method: "POST"})
	if err != nil || !e.Allowed || e.Credential != "Bearer from this host's codex login" || e.Origin.String() != "provider codex, built in" {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestExplainRefusesQuestions(t *testing.T) {
	b := newBed(t)
	b.bottleFile("broken", "egress: 5")
	b.bottleFile("nologin", "agent_provider: {template: generic, auth_token: TOKEN}")
	for name, tt := range map[string]struct {
		q       ExplainRequest
		want    string
		unclear bool
	}{
		"no URL":          {ExplainRequest{URL: "api.example.com"}, "absolute URL", true},
		"another scheme":  {ExplainRequest{URL: "ftp://a.example.com"}, "http:// or https://", true},
		"a host":          {ExplainRequest{URL: "https://a_*b/"}, "the URL's host", true},
		"a method":        {ExplainRequest{URL: "https://a.example.com", Method: "G T"}, "is no method", true},
		"a raw blank":     {ExplainRequest{URL: "https://a.example.com/a b"}, "percent-encoded", true},
		"the proxy":       {ExplainRequest{URL: "http://_egress.local/"}, "the proxy's own name", true},
		"half a switch":   {ExplainRequest{URL: "https://a.example.com", Header: map[string][]string{"Upgrade": {"websocket"}}}, "Connection: Upgrade", true},
		"no bottle":       {ExplainRequest{URL: "https://a.example.com", Bottles: []string{"none"}}, `there is no bottle "none"`, false},
		"no agent":        {ExplainRequest{URL: "https://a.example.com", Agent: "none"}, `there is no agent "none"`, false},
		"a broken bottle": {ExplainRequest{URL: "https://a.example.com", Bottles: []string{"broken"}}, "egress: it must be a mapping", false},
		"no such login":   {ExplainRequest{URL: "https://a.example.com", Bottles: []string{"nologin"}}, "agent_provider.auth_token", false},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := Explain(b.home, tt.q)
			var unclear *UnclearError
			if e != nil || err == nil || errors.As(err, &unclear) != tt.unclear || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%+v, %v", e, err)
			}
		})
	}
}
