package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Value is one setting that a manifest gives, and where.
type Value struct {
	// Key is the dotted path, such as "egress.routes[0].host".
	Key string `json:"key"`
	// Value is what the manifest means: text, a number, a boolean, or a list.
	Value any `json:"value"`
	Origin
}

// Text is the value on one line.
func (v Value) Text() string {
	switch x := v.Value.(type) {
	case string:
		return x
	case []string:
		return "[" + strings.Join(x, ", ") + "]"
	case []int:
		return strings.ReplaceAll(fmt.Sprint(x), " ", ", ")
	default:
		return fmt.Sprint(x)
	}
}

// values gathers what is declared.
type values struct {
	origins Origins
	out     []Value
}

// put adds a setting when some file gives it.
func (v *values) put(key string, value any) {
	if origin, ok := v.origins[key]; ok {
		v.out = append(v.out, Value{Key: key, Value: value, Origin: origin})
	}
}

// Values are all settings of a resolved bottle in the order of the reference,
// each with its origin. Settings that no file gives are not among them.
func (b *Bottle) Values() []Value {
	v := &values{origins: b.Origins}
	v.put("extends", b.Extends)
	for _, name := range slices.Sorted(maps.Keys(b.Env)) {
		v.put("env."+name, b.Env[name].String())
	}
	if len(b.Routes) == 0 {
		v.put(routesPath, []string{})
	}
	for i, r := range b.Routes {
		v.route(routeKey(i), r)
	}
	v.put("egress.log", b.EgressLog)
	v.put("supervise", b.Supervise)
	v.user(b.User)
	for _, name := range slices.Sorted(maps.Keys(b.Repos)) {
		v.repo(repoKey(name), b.Repos[name])
	}
	v.put("agent_provider.template", b.Provider.Template)
	v.put("agent_provider.dockerfile", b.Image.Dockerfile)
	v.put("agent_provider.auth_token", b.Provider.AuthToken)
	v.put("agent_provider.forward_host_credentials", b.Provider.ForwardHostCredentials)
	v.put("image", b.Image.Reference)
	v.put("backend", b.Backend)
	v.put("isolation", b.Isolation)
	v.put("resources.cpus", b.Limits.CPUs)
	v.put("resources.memory", sizeText(b.Limits.MemoryBytes))
	v.put("resources.disk", sizeText(b.Limits.DiskBytes))
	v.put("resources.pids", b.Limits.PIDs)
	v.put("ttl", b.TTL.String())
	v.put("sub_bottles.max", b.SubBottles.Max)
	v.put("sub_bottles.depth", b.SubBottles.Depth)
	v.put("publish", b.Publish)
	return v.out
}

// Values are all settings of an agent.
func (a *Agent) Values() []Value {
	v := &values{origins: a.Origins}
	v.put("bottle", a.Bottle)
	v.put("skills", a.Skills)
	v.user(a.User)
	return v.out
}

func (v *values) user(u GitUser) {
	v.put("git-gate.user.name", u.Name)
	v.put("git-gate.user.email", u.Email)
}

func (v *values) route(key string, r Route) {
	v.put(key+".host", r.Host)
	v.put(key+".ports", r.Ports)
	v.put(key+".private", r.Private)
	if r.Auth != nil {
		v.put(key+".auth.scheme", r.Auth.Scheme)
		v.put(key+".auth.header", r.Auth.Header)
		v.put(key+".auth.token_ref", r.Auth.TokenRef)
		if pin := r.Auth.Pin; pin != nil {
			v.put(key+".auth.pin.query", pin.Query)
			v.put(key+".auth.pin.headers", pin.Headers)
			v.put(key+".auth.pin.allow_query", pin.AllowQuery)
			v.put(key+".auth.pin.cookies", pin.Cookies)
		}
	}
	for i, m := range r.Matches {
		at := key + ".matches[" + strconv.Itoa(i) + "]"
		for j, path := range m.Paths {
			at := at + ".paths[" + strconv.Itoa(j) + "]"
			v.put(at+".type", path.Type)
			v.put(at+".value", path.Value)
		}
		v.put(at+".methods", m.Methods)
		for j, header := range m.Headers {
			at := at + ".headers[" + strconv.Itoa(j) + "]"
			v.put(at+".name", header.Name)
			v.put(at+".type", header.Type)
			v.put(at+".value", header.Value)
		}
	}
	v.put(key+".git.fetch", r.GitFetch)
	v.rules(key, r)
}

// rules are what a route says beyond which requests it allows.
func (v *values) rules(key string, r Route) {
	if d := r.DLP; d != nil {
		v.put(key+".dlp.outbound_detectors", detectorsValue(d.Outbound))
		v.put(key+".dlp.inbound_detectors", detectorsValue(d.Inbound))
		v.put(key+".dlp.outbound_on_match", d.OnMatch)
		v.put(key+".dlp.inbound_on_match", d.InboundOnMatch)
	}
	if b := r.Budget; b != nil {
		v.put(key+".budget.requests", b.Requests)
		v.put(key+".budget.bytes_out", bytesText(b.BytesOut))
		v.put(key+".budget.bytes_in", bytesText(b.BytesIn))
		v.put(key+".budget.per_minute", b.PerMinute)
	}
	if a := r.Response; a != nil {
		v.put(key+".response.max_bytes", bytesText(a.MaxBytes))
		v.put(key+".response.types", a.Types)
	}
}

// detectorsValue is false for none, as in a manifest.
func detectorsValue(names []string) any {
	if len(names) == 0 {
		return false
	}
	return names
}

func (v *values) repo(key string, r Repo) {
	v.put(key+".url", r.URL)
	v.put(key+".identity", r.Key.Path)
	for _, form := range []struct{ key, token string }{{"provisioned_key", "token_env"}, {"key", "forge_token_env"}} {
		at := key + "." + form.key
		v.put(at+".provider", r.Key.Provider)
		v.put(at+".path", r.Key.Path)
		v.put(at+"."+form.token, r.Key.TokenEnv)
		v.put(at+".api_url", r.Key.APIURL)
	}
	v.put(key+".host_key", r.HostKey)
}
