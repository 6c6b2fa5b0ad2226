package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/cli"
)

// lookupFunc is how commands in the builder end.
type lookupFunc func(ctx context.Context, argv []string, out func(string)) (cli.ExecResult, error)

// fails is a builder with a getent that does not find the name.
func fails(context.Context, []string, func(string)) (cli.ExecResult, error) {
	return cli.ExecResult{Code: 2}, nil
}

// bare is a builder without any tool.
func bare(_ context.Context, argv []string, _ func(string)) (cli.ExecResult, error) {
	return cli.ExecResult{Code: 1, Failure: &cli.Error{
		Command: "exec", Kind: cli.KindOther, Code: 1, Message: "failed to find target executable " + argv[0],
	}}, nil
}

// onlyCat has a resolv.conf and no tool to look names up.
func onlyCat(conf string) lookupFunc {
	return func(ctx context.Context, argv []string, out func(string)) (cli.ExecResult, error) {
		if argv[0] != "cat" {
			return bare(ctx, argv, out)
		}
		out(conf)
		return cli.ExecResult{}, nil
	}
}

// The whole table of decisions: override × state × lookup. The host's own
// resolver is 10.1.1.1.
func TestEnsureBuilder(t *testing.T) {
	running := func(dns ...string) cli.Builder {
		return cli.Builder{State: "running", ID: "buildkit", Nameservers: dns}
	}
	stopped := cli.Builder{State: "stopped", ID: "buildkit", Nameservers: []string{"10.5.5.5"}}
	stopping := cli.Builder{State: "stopping", ID: "buildkit"}
	for name, tc := range map[string]struct {
		override string
		states   []cli.Builder
		exec     lookupFunc
		want     []string // what is changed
		dns      string   // what a build names
	}{
		"none":                         {"", []cli.Builder{{}}, works, []string{"start 10.1.1.1"}, "10.1.1.1"},
		"none, override":               {"10.9.9.9", []cli.Builder{{}}, works, []string{"start 10.9.9.9"}, "10.9.9.9"},
		"stopped":                      {"", []cli.Builder{stopped}, works, []string{"start 10.1.1.1"}, "10.1.1.1"},
		"stopping, then gone":          {"", []cli.Builder{stopping, stopping, {}}, works, []string{"start 10.1.1.1"}, "10.1.1.1"},
		"stopping, then running":       {"", []cli.Builder{stopping, running("10.5.5.5")}, works, nil, "10.5.5.5"},
		"works":                        {"", []cli.Builder{running("10.5.5.5")}, works, nil, "10.5.5.5"},
		"works with the default":       {"", []cli.Builder{running()}, works, nil, ""},
		"works, override equal":        {"10.5.5.5 10.6.6.6", []cli.Builder{running("10.5.5.5", "10.6.6.6")}, works, nil, "10.5.5.5,10.6.6.6"},
		"works, override differs":      {"10.9.9.9", []cli.Builder{running("10.5.5.5")}, works, []string{"stop", "start 10.9.9.9"}, "10.9.9.9"},
		"works, override in part":      {"10.5.5.5", []cli.Builder{running("10.5.5.5", "10.6.6.6")}, works, []string{"stop", "start 10.5.5.5"}, "10.5.5.5"},
		"works, override in conf":      {"10.9.9.9", []cli.Builder{running()}, onlyCat("# made by us\nnameserver 10.9.9.9\n"), nil, ""},
		"works, another in conf":       {"10.9.9.9", []cli.Builder{running()}, onlyCat("nameserver 192.168.64.1\n"), []string{"stop", "start 10.9.9.9"}, "10.9.9.9"},
		"broken":                       {"", []cli.Builder{running("10.5.5.5")}, fails, []string{"stop", "start 10.1.1.1"}, "10.1.1.1"},
		"broken with what we want":     {"", []cli.Builder{running("10.1.1.1")}, fails, []string{"stop", "start 10.1.1.1"}, "10.1.1.1"},
		"broken, override equal":       {"10.5.5.5", []cli.Builder{running("10.5.5.5")}, fails, []string{"stop", "start 10.5.5.5"}, "10.5.5.5"},
		"broken, override differs":     {"10.9.9.9", []cli.Builder{running("10.5.5.5")}, fails, []string{"stop", "start 10.9.9.9"}, "10.9.9.9"},
		"unknown":                      {"", []cli.Builder{running("10.5.5.5")}, bare, nil, "10.5.5.5"},
		"unknown, override equal":      {"10.5.5.5", []cli.Builder{running("10.5.5.5")}, bare, nil, "10.5.5.5"},
		"unknown, override differs":    {"10.9.9.9", []cli.Builder{running("10.5.5.5")}, bare, []string{"stop", "start 10.9.9.9"}, "10.9.9.9"},
		"unknown, nothing can be told": {"10.9.9.9", []cli.Builder{running()}, bare, []string{"stop", "start 10.9.9.9"}, "10.9.9.9"},
		"a state of its own":           {"", []cli.Builder{{State: "unknown", ID: "buildkit"}}, fails, []string{"stop", "start 10.1.1.1"}, "10.1.1.1"},
	} {
		t.Run(name, func(t *testing.T) {
			engine := newFake()
			engine.states, engine.exec = tc.states, tc.exec
			i := newImages(t, engine, env{EnvDNS: tc.override})
			i.cfg.ResolverText = func(context.Context) ([]byte, error) { return []byte("resolver #1\nnameserver[0] : 10.1.1.1\n"), nil }
			var log bytes.Buffer
			i.log = slog.New(slog.NewTextHandler(&log, nil))
			dns, err := i.ensureBuilder(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := engine.changes(); !slices.Equal(got, tc.want) {
				t.Errorf("changes %v, want %v", got, tc.want)
			}
			if got := strings.Join(dns, ","); got != tc.dns {
				t.Errorf("a build names %q, want %q", got, tc.dns)
			}
			restarted := slices.Contains(tc.want, "stop")
			if warned := strings.Contains(log.String(), "builds of others"); warned != restarted {
				t.Errorf("warned: %v, restarted: %v\n%s", warned, restarted, &log)
			}
		})
	}
}

func TestEnsureBuilderSaysThatNothingHelps(t *testing.T) {
	engine := newFake()
	engine.exec = fails
	i := newImages(t, engine, env{})
	var log bytes.Buffer
	i.log = slog.New(slog.NewTextHandler(&log, nil))
	if err := i.EnsureBuilder(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), EnvDNS) {
		t.Errorf("no advice: %s", &log)
	}
}

func TestEnsureBuilderFails(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*fakeEngine)
		want   string
	}{
		"status":             {func(e *fakeEngine) { e.status = brokenEngine() }, "ask for the builder"},
		"stop":               {func(e *fakeEngine) { e.exec, e.stop = fails, brokenEngine() }, "stop the builder"},
		"start":              {func(e *fakeEngine) { e.states, e.start = []cli.Builder{{}}, brokenEngine() }, "start the builder with resolvers [1.1.1.1]"},
		"start after a stop": {func(e *fakeEngine) { e.exec, e.start = fails, brokenEngine() }, "start the builder"},
		"lookup": {func(e *fakeEngine) {
			e.exec = func(context.Context, []string, func(string)) (cli.ExecResult, error) {
				return cli.ExecResult{}, brokenEngine()
			}
		}, "look a name up in the builder"},
		"engine lost in it": {func(e *fakeEngine) {
			e.exec = func(context.Context, []string, func(string)) (cli.ExecResult, error) {
				return cli.ExecResult{Code: 1, Failure: brokenEngine().(*cli.Error)}, nil
			}
		}, "look a name up in the builder"},
	} {
		t.Run(name, func(t *testing.T) {
			engine := newFake()
			tc.change(engine)
			err := newImages(t, engine, env{}).EnsureBuilder(t.Context())
			mustContain(t, err, tc.want)
			var failure *cli.Error
			if !errors.As(err, &failure) || failure.Kind != cli.KindUnavailable {
				t.Errorf("the engine's error is lost: %v", err)
			}
		})
	}
	t.Run("a bad setting touches nothing", func(t *testing.T) {
		engine := newFake()
		mustContain(t, newImages(t, engine, env{EnvDNS: "x"}).EnsureBuilder(t.Context()), EnvDNS)
		if len(engine.calls) > 0 {
			t.Errorf("calls %v", engine.calls)
		}
	})
	t.Run("it never stops stopping", func(t *testing.T) {
		engine := newFake()
		engine.states = []cli.Builder{{State: "stopping"}}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		err := newImages(t, engine, env{}).EnsureBuilder(ctx)
		mustContain(t, err, "still stopping", "container builder delete --force")
		if len(engine.changes()) > 0 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("changes %v, error %v", engine.changes(), err)
		}
	})
}

func TestLookup(t *testing.T) {
	type end struct {
		code    int
		out     string
		failure *cli.Error
		err     error
	}
	noTool := &cli.Error{Kind: cli.KindOther, Message: "failed to find target executable"}
	for name, tc := range map[string]struct {
		getent, nslookup end
		want             lookup
	}{
		"getent finds":                 {end{out: "192.0.2.1 STREAM example.com\n"}, end{err: errors.New("not asked")}, lookupWorks},
		"getent does not find":         {end{code: 2}, end{err: errors.New("not asked")}, lookupFails},
		"getent hangs":                 {end{err: &cli.Error{Kind: cli.KindTimeout}}, end{err: errors.New("not asked")}, lookupFails},
		"getent hangs otherwise":       {end{err: fmt.Errorf("x: %w", context.DeadlineExceeded)}, end{err: errors.New("not asked")}, lookupFails},
		"another getent, nslookup ok":  {end{code: 1, out: "Unknown database"}, end{out: "Server: 10.1.1.1\n\nName:\texample.com\nAddress: 192.0.2.1\n"}, lookupWorks},
		"no getent, nslookup fails":    {end{code: 1, failure: noTool}, end{code: 1, out: "** server can't find example.com"}, lookupFails},
		"an nslookup that ends with 0": {end{code: 127}, end{out: "Server: 10.1.1.1\nAddress: 10.1.1.1:53\n\n** server can't find example.com: NXDOMAIN\n"}, lookupFails},
		"getent without an answer":     {end{}, end{code: 1}, lookupFails},
		"getent with another answer":   {end{out: "usage: getent"}, end{code: 127}, lookupUnknown},
		"no tool":                      {end{code: 1, failure: noTool}, end{code: 126}, lookupUnknown},
		"builder in the way":           {end{failure: &cli.Error{Kind: cli.KindState, Message: "container buildkit is not running"}}, end{err: &cli.Error{Kind: cli.KindNotFound}}, lookupUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			engine := newFake()
			engine.exec = func(_ context.Context, argv []string, out func(string)) (cli.ExecResult, error) {
				e := map[string]end{"getent": tc.getent, "nslookup": tc.nslookup}[argv[0]]
				out(e.out)
				return cli.ExecResult{Code: e.code, Failure: e.failure}, e.err
			}
			got, err := newImages(t, engine, env{}).lookup(t.Context(), "buildkit")
			if err != nil || got != tc.want {
				t.Errorf("lookup = %v, %v; want %v", got, err, tc.want)
			}
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		engine := newFake()
		engine.exec = func(ctx context.Context, _ []string, _ func(string)) (cli.ExecResult, error) {
			cancel()
			return cli.ExecResult{}, &cli.Error{Kind: cli.KindTimeout, Err: ctx.Err()}
		}
		if got, err := newImages(t, engine, env{}).lookup(ctx, "buildkit"); !errors.Is(err, context.Canceled) {
			t.Errorf("lookup = %v, %v: a caller who left is no broken builder", got, err)
		}
	})
}

func TestBuilderLock(t *testing.T) {
	i := newImages(t, newFake(), env{})
	unlock, err := i.lock(t.Context(), builderLock, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	told := 0
	if _, err := i.lock(ctx, builderLock, func() { told++ }); !errors.Is(err, context.DeadlineExceeded) || told != 1 {
		t.Errorf("a held lock: %v, told %d times", err, told)
	}
	unlock()
	again, err := i.lock(t.Context(), builderLock, func() { t.Error("waits for a free lock") })
	if err != nil {
		t.Fatal(err)
	}
	again()
}
