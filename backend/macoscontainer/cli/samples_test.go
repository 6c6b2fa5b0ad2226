package cli

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/grammar"
)

// sampler makes a request of one method and what its argument vector must say,
// worked out from the request and not from the code that makes the vector.
type sampler func(*generator) (func(context.Context, *CLI) error, grammar.Parsed)

// generator draws values, hostile ones where a request is free.
type generator struct{ *rand.Rand }

func (g *generator) yes() bool                  { return g.IntN(2) == 0 }
func (g *generator) pick(from ...string) string { return from[g.IntN(len(from))] }
func (g *generator) hostile() string            { return g.pick(hostile...) }

// some draws up to n values.
func some[T any](g *generator, n int, draw func() T) []T {
	var out []T
	for range g.IntN(n + 1) {
		out = append(out, draw())
	}
	return out
}

func (g *generator) maybe(draw func() string) string {
	if g.yes() {
		return ""
	}
	return draw()
}

func (g *generator) container() string {
	return g.pick("c1", "bot-bottle-x", "A_b.c", "0--", strings.Repeat("n", 63))
}

func (g *generator) network() string {
	return g.pick("n", "bot-bottle-x", "a.b_c-d", "default", strings.Repeat("n", 63))
}

func (g *generator) reference() string {
	return g.pick("img", "bottle-mcp.invalid/sidecar:1", "r:5000/a/b@sha256:00", "stop", "help")
}

func (g *generator) path() string {
	return "/" + strings.ReplaceAll(g.hostile(), ":", "")
}

func (g *generator) env() string { return g.pick("A", "-B", "--help", "_") + "=" + g.hostile() }

func (g *generator) dns() string {
	return g.pick("1.1.1.1", "127.0.0.1", "2606:4700::1111", "::1")
}

func (g *generator) platform() string { return g.pick("linux/arm64", "linux/amd64", "linux/arm64/v8") }

// user draws a uid and a gid, -1 for both when neither is given.
func (g *generator) user() (uid, gid int) {
	if g.yes() {
		return -1, -1
	}
	return g.IntN(70000), g.IntN(1 << 20)
}

// labels draws labels whose values hold no '=' unless equals.
func (g *generator) labels(equals bool) map[string]string {
	out := map[string]string{}
	for _, key := range some(g, 3, func() string { return g.pick("a", "dev.bottle-mcp.role", "k-1/x.y") }) {
		value := g.hostile()
		if !equals {
			value = strings.ReplaceAll(value, "=", "")
		}
		out[key] = value
	}
	return out
}

// told collects what a vector must say.
type told struct{ grammar.Parsed }

func tell(words ...string) *told {
	return &told{grammar.Parsed{Path: words, Options: map[string][]string{}, Flags: map[string]bool{}}}
}

func (t *told) opt(name string, values ...string) {
	if len(values) > 0 {
		t.Options[name] = append(t.Options[name], values...)
	}
}

func (t *told) set(name, value string) {
	if value != "" {
		t.opt(name, value)
	}
}

func (t *told) flag(name string, on bool) {
	if on {
		t.Flags[name] = true
	}
}

func (t *told) pairs(name string, m map[string]string) {
	var all []string
	for k, v := range m {
		all = append(all, k+"="+v)
	}
	slices.SortFunc(all, func(a, b string) int { // by key alone
		ka, _, _ := strings.Cut(a, "=")
		kb, _, _ := strings.Cut(b, "=")
		return strings.Compare(ka, kb)
	})
	t.opt(name, all...)
}

func (t *told) user(uid, gid int) {
	if uid >= 0 {
		t.opt("uid", strconv.Itoa(uid))
		t.opt("gid", strconv.Itoa(gid))
	}
}

func (t *told) words(words ...string) grammar.Parsed {
	t.Positionals = words
	return t.Parsed
}

// fixed is a method without a choice.
func fixed(call func(context.Context, *CLI) error, want grammar.Parsed) sampler {
	return func(*generator) (func(context.Context, *CLI) error, grammar.Parsed) { return call, want }
}

func asJSON(words ...string) *told {
	t := tell(words...)
	t.opt("format", "json")
	return t
}

// samplers has every method of CLI.
func samplers(t *testing.T) map[string]sampler {
	t.Helper()
	dockerfile := writeDockerfile(t, 10)
	all := asJSON("list")
	all.flag("all", true)
	version := grammar.Parsed{Info: "version"}
	return map[string]sampler{
		"Version":       fixed(func(ctx context.Context, c *CLI) error { _, err := c.Version(ctx); return err }, version),
		"SystemStatus":  fixed(func(ctx context.Context, c *CLI) error { _, err := c.SystemStatus(ctx); return err }, asJSON("system", "status").words()),
		"SystemVersion": fixed(func(ctx context.Context, c *CLI) error { _, err := c.SystemVersion(ctx); return err }, asJSON("system", "version").words()),
		"NetworkList":   fixed(func(ctx context.Context, c *CLI) error { _, err := c.NetworkList(ctx); return err }, asJSON("network", "list").words()),
		"ImageList":     fixed(func(ctx context.Context, c *CLI) error { _, err := c.ImageList(ctx); return err }, asJSON("image", "list").words()),
		"List":          fixed(func(ctx context.Context, c *CLI) error { _, err := c.List(ctx); return err }, all.words()),
		"BuilderStatus": fixed(func(ctx context.Context, c *CLI) error { _, err := c.BuilderStatus(ctx); return err }, asJSON("builder", "status").words()),
		"BuilderStop":   fixed(func(ctx context.Context, c *CLI) error { return c.BuilderStop(ctx) }, tell("builder", "stop").words()),

		"NetworkCreate": sampleNetworkCreate,
		"Run":           sampleRun,
		"Exec":          sampleExec,
		"Copy":          sampleCopy,
		"Build": func(g *generator) (func(context.Context, *CLI) error, grammar.Parsed) {
			return sampleBuild(g, dockerfile)
		},
		"BuilderStart": func(g *generator) (func(context.Context, *CLI) error, grammar.Parsed) {
			dns := some(g, 3, g.dns)
			want := tell("builder", "start")
			want.opt("dns", dns...)
			return func(ctx context.Context, c *CLI) error { return c.BuilderStart(ctx, BuilderRequest{DNS: dns}) }, want.words()
		},
		"NetworkInspect": func(g *generator) (func(context.Context, *CLI) error, grammar.Parsed) {
			name := g.network()
			return func(ctx context.Context, c *CLI) error { _, err := c.NetworkInspect(ctx, name); return err }, tell("network", "inspect").words(name)
		},
		"NetworkDelete": func(g *generator) (func(context.Context, *CLI) error, grammar.Parsed) {
			name := g.network()
			return func(ctx context.Context, c *CLI) error { return c.NetworkDelete(ctx, name) }, tell("network", "delete").words(name)
		},
		"ImageInspect": func(g *generator) (func(context.Context, *CLI) error, grammar.Parsed) {
			ref := g.reference()
			return func(ctx context.Context, c *CLI) error { _, err := c.ImageInspect(ctx, ref); return err }, tell("image", "inspect").words(ref)
		},
		"ImageDelete": func(g *generator) (func(context.Context, *CLI) error, grammar.Parsed) {
			ref := g.reference()
			return func(ctx context.Context, c *CLI) error { return c.ImageDelete(ctx, ref) }, tell("image", "delete").words(ref)
		},
		"ImageLoad": func(g *generator) (func(context.Context, *CLI) error, grammar.Parsed) {
			path := g.path()
			want := tell("image", "load")
			want.opt("input", path)
			return func(ctx context.Context, c *CLI) error { _, err := c.ImageLoad(ctx, path); return err }, want.words()
		},
		"Inspect": func(g *generator) (func(context.Context, *CLI) error, grammar.Parsed) {
			id := g.container()
			return func(ctx context.Context, c *CLI) error { _, err := c.Inspect(ctx, id); return err }, tell("inspect").words(id)
		},
		"Logs": func(g *generator) (func(context.Context, *CLI) error, grammar.Parsed) {
			id, n := g.container(), 1+g.IntN(maxLogLines)
			want := tell("logs")
			want.opt("n", strconv.Itoa(n))
			return func(ctx context.Context, c *CLI) error { _, err := c.Logs(ctx, id, n); return err }, want.words(id)
		},
		"Stop": func(g *generator) (func(context.Context, *CLI) error, grammar.Parsed) {
			id, n := g.container(), g.IntN(1000)
			want := tell("stop")
			want.opt("time", strconv.Itoa(n))
			return func(ctx context.Context, c *CLI) error {
				return c.Stop(ctx, StopRequest{Container: id, Grace: time.Duration(n) * time.Second})
			}, want.words(id)
		},
		"Kill": func(g *generator) (func(context.Context, *CLI) error, grammar.Parsed) {
			id, signal := g.container(), g.pick("TERM", "SIGKILL", "9", "RTMIN+1")
			want := tell("kill")
			want.opt("signal", signal)
			return func(ctx context.Context, c *CLI) error { return c.Kill(ctx, id, signal) }, want.words(id)
		},
		"Delete": func(g *generator) (func(context.Context, *CLI) error, grammar.Parsed) {
			id, force := g.container(), g.yes()
			want := tell("delete")
			want.flag("force", force)
			return func(ctx context.Context, c *CLI) error { return c.Delete(ctx, id, force) }, want.words(id)
		},
	}
}

func sampleNetworkCreate(g *generator) (func(context.Context, *CLI) error, grammar.Parsed) {
	req := NetworkRequest{Name: g.pick("n", "bot-bottle-x", "a.b_c-d"), Internal: g.yes(), Labels: g.labels(true)}
	maps.DeleteFunc(req.Labels, func(_, value string) bool { return value == "" })
	want := tell("network", "create")
	want.flag("internal", req.Internal)
	want.pairs("label", req.Labels)
	return func(ctx context.Context, c *CLI) error { return c.NetworkCreate(ctx, req) }, want.words(req.Name)
}

func sampleRun(g *generator) (func(context.Context, *CLI) error, grammar.Parsed) {
	req := RunRequest{
		Name: g.maybe(g.container), Image: g.reference(), Platform: g.maybe(g.platform), Entrypoint: g.maybe(g.hostile),
		Args: some(g, 6, g.hostile), Env: some(g, 4, g.env), Labels: g.labels(false), Networks: some(g, 2, g.network),
		NoDNS: g.yes(), Workdir: g.maybe(g.path), Init: g.yes(), ReadOnly: g.yes(),
		CapDrop: some(g, 2, func() string { return g.pick("ALL", "CAP_NET_RAW") }), CapAdd: some(g, 1, func() string { return "KILL" }),
		CPUs: g.IntN(5), Tmpfs: some(g, 2, g.path),
		Mounts:  some(g, 3, func() Mount { return Mount{Host: g.path(), Guest: g.path(), ReadOnly: g.yes()} }),
		Sockets: some(g, 2, func() PublishSocket { return PublishSocket{Host: g.path(), Guest: g.path()} }),
	}
	req.UID, req.GID = g.user()
	if !req.NoDNS {
		req.DNS = some(g, 2, g.dns)
	}
	if g.yes() {
		req.MemoryBytes = int64(200+g.IntN(9000)) << 20
	}
	for _, name := range []string{"core", "nofile", "nproc"}[:g.IntN(4)] {
		req.Ulimits = append(req.Ulimits, name+"="+g.pick("0", "-1", "unlimited", "1:2", "18446744073709551615"[:19]))
	}
	for i := range g.IntN(4) {
		req.Publish = append(req.Publish, Publish{HostPort: 2 + 1000*i + g.IntN(1000), GuestPort: 2 + g.IntN(65534)})
	}
	return func(ctx context.Context, c *CLI) error { _, err := c.Run(ctx, req); return err }, wantRun(req)
}

// wantRun is what the program must understand of a request.
func wantRun(req RunRequest) grammar.Parsed {
	want := tell("run")
	want.flag("detach", true)
	want.flag("no-dns", req.NoDNS)
	want.flag("init", req.Init)
	want.flag("read-only", req.ReadOnly)
	want.opt("progress", "none")
	want.set("name", req.Name)
	want.set("platform", req.Platform)
	want.set("entrypoint", req.Entrypoint)
	want.set("workdir", req.Workdir)
	want.opt("env", req.Env...)
	want.pairs("label", req.Labels)
	want.opt("network", req.Networks...)
	if len(req.Networks) == 0 {
		want.opt("network", "none")
	}
	want.opt("dns", req.DNS...)
	want.user(req.UID, req.GID)
	want.opt("cap-drop", req.CapDrop...)
	want.opt("cap-add", req.CapAdd...)
	if req.CPUs > 0 {
		want.opt("cpus", strconv.Itoa(req.CPUs))
	}
	if req.MemoryBytes > 0 {
		want.opt("memory", fmt.Sprintf("%dM", req.MemoryBytes>>20))
	}
	want.opt("ulimit", req.Ulimits...)
	want.opt("tmpfs", req.Tmpfs...)
	for _, m := range req.Mounts {
		suffix := ""
		if m.ReadOnly {
			suffix = ":ro"
		}
		want.opt("volume", m.Host+":"+m.Guest+suffix)
	}
	for _, p := range req.Publish {
		want.opt("publish", fmt.Sprintf("127.0.0.1:%d:%d", p.HostPort, p.GuestPort))
	}
	for _, s := range req.Sockets {
		want.opt("publish-socket", s.Host+":"+s.Guest)
	}
	return want.words(append([]string{req.Image}, req.Args...)...)
}

func sampleExec(g *generator) (func(context.Context, *CLI) error, grammar.Parsed) {
	req := ExecRequest{
		Container: g.container(), Argv: append([]string{g.pick("ls", "-x", "--", "--help", "/bin/a b")}, some(g, 8, g.hostile)...),
		Env: some(g, 3, g.env), Workdir: g.maybe(g.path), Interactive: g.yes(), TTY: g.yes(),
	}
	req.UID, req.GID = g.user()
	want := tell("exec")
	want.flag("interactive", req.Interactive)
	want.flag("tty", req.TTY)
	want.opt("env", req.Env...)
	want.user(req.UID, req.GID)
	want.set("workdir", req.Workdir)
	return func(ctx context.Context, c *CLI) error { _, err := c.Exec(ctx, req); return err },
		want.words(append([]string{req.Container}, req.Argv...)...)
}

func sampleCopy(g *generator) (func(context.Context, *CLI) error, grammar.Parsed) {
	req := CopyRequest{From: g.path(), To: g.container() + ":/d" + g.path()}
	if g.yes() {
		req.From, req.To = req.To, req.From
	}
	return func(ctx context.Context, c *CLI) error { return c.Copy(ctx, req) }, tell("copy").words(req.From, req.To)
}

func sampleBuild(g *generator, dockerfile string) (func(context.Context, *CLI) error, grammar.Parsed) {
	req := BuildRequest{
		Tag: g.reference(), Dockerfile: dockerfile, Context: g.path(), Platform: g.maybe(g.platform), DNS: some(g, 2, g.dns),
		BuildArgs: g.labels(true), Labels: g.labels(false), NoCache: g.yes(),
	}
	want := tell("build")
	want.flag("no-cache", req.NoCache)
	want.opt("progress", "plain")
	want.opt("tag", req.Tag)
	want.opt("file", req.Dockerfile)
	want.set("platform", req.Platform)
	want.opt("dns", req.DNS...)
	want.pairs("build-arg", req.BuildArgs)
	want.pairs("label", req.Labels)
	return func(ctx context.Context, c *CLI) error { _, err := c.Build(ctx, req); return err }, want.words(req.Context)
}
