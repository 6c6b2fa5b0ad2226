package cli

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// hostile are values that a careless argument vector would let through as
// something else.
var hostile = []string{
	"-x", "--help", "--version", "-----BEGIN CERTIFICATE-----", "--generate-completion-script", "-=x", "--", "-",
	"", " ", "a b", "line\nline", "k=v", "=", "日本語 ✓", "$(reboot)", "`id`", "a,b", "%s", "'\"\\",
}

// recorded returns the argument vectors that f makes.
func recorded(f func(context.Context, *CLI)) (argvs [][]string) {
	c := New(Config{
		Program: "/nowhere/container", Environ: []string{},
		Record: func(argv []string) { argvs = append(argvs, slices.Clone(argv)) },
	})
	f(context.Background(), c)
	return argvs
}

func TestArgv(t *testing.T) {
	dockerfile := writeDockerfile(t, 10)
	tests := []struct {
		name string
		call func(context.Context, *CLI) error
		want []string
	}{
		{"version", func(ctx context.Context, c *CLI) error { _, err := c.Version(ctx); return err }, []string{"--version"}},
		{"status", func(ctx context.Context, c *CLI) error { _, err := c.SystemStatus(ctx); return err }, []string{"system", "status", "--format=json"}},
		{"versions", func(ctx context.Context, c *CLI) error { _, err := c.SystemVersion(ctx); return err }, []string{"system", "version", "--format=json"}},
		{
			"network create", func(ctx context.Context, c *CLI) error {
				return c.NetworkCreate(ctx, NetworkRequest{Name: "n1", Internal: true, Labels: map[string]string{"b": "x=y", "a": "-"}})
			},
			[]string{"network", "create", "--internal", "--label=a=-", "--label=b=x=y", "--", "n1"},
		},
		{"network list", func(ctx context.Context, c *CLI) error { _, err := c.NetworkList(ctx); return err }, []string{"network", "list", "--format=json"}},
		{"network inspect", func(ctx context.Context, c *CLI) error { _, err := c.NetworkInspect(ctx, "n1"); return err }, []string{"network", "inspect", "--", "n1"}},
		{"network delete", func(ctx context.Context, c *CLI) error { return c.NetworkDelete(ctx, "n1") }, []string{"network", "delete", "--", "n1"}},
		{"image inspect", func(ctx context.Context, c *CLI) error { _, err := c.ImageInspect(ctx, "r/i:t"); return err }, []string{"image", "inspect", "--", "r/i:t"}},
		{"image list", func(ctx context.Context, c *CLI) error { _, err := c.ImageList(ctx); return err }, []string{"image", "list", "--format=json"}},
		{"image load", func(ctx context.Context, c *CLI) error { _, err := c.ImageLoad(ctx, "/a b.tar"); return err }, []string{"image", "load", "--input=/a b.tar"}},
		{"image delete", func(ctx context.Context, c *CLI) error { return c.ImageDelete(ctx, "r/i:t") }, []string{"image", "delete", "--", "r/i:t"}},
		{
			"run, the least", func(ctx context.Context, c *CLI) error {
				_, err := c.Run(ctx, RunRequest{Image: "img", UID: -1, GID: -1})
				return err
			},
			[]string{"run", "--detach", "--progress=none", "--network=none", "--", "img"},
		},
		{
			"run, everything", func(ctx context.Context, c *CLI) error {
				_, err := c.Run(ctx, RunRequest{
					Name: "c1", Image: "img", Platform: "linux/arm64", Entrypoint: "/bin/x", Args: []string{"--help", "--"},
					Env: []string{"A=-1", "B="}, Labels: map[string]string{"k": "v"}, Networks: []string{"out", "in"},
					DNS: []string{"1.1.1.1", "2606:4700::1111"}, UID: 0, GID: 7, Workdir: "/w", Init: true, ReadOnly: true,
					CapDrop: []string{"ALL"}, CapAdd: []string{"CAP_KILL"}, CPUs: 2, MemoryBytes: 512 << 20,
					Ulimits: []string{"nofile=1024:unlimited"}, Tmpfs: []string{"/tmp"},
					Mounts:  []Mount{{Host: "/h", Guest: "/g", ReadOnly: true}, {Host: "/h2,x", Guest: "/g2"}},
					Publish: []Publish{{8080, 80}}, Sockets: []PublishSocket{{"/s.sock", "/g.sock"}},
				})
				return err
			},
			[]string{
				"run", "--detach", "--progress=none", "--name=c1", "--platform=linux/arm64", "--entrypoint=/bin/x", "--env=A=-1", "--env=B=",
				"--label=k=v", "--network=out", "--network=in", "--dns=1.1.1.1", "--dns=2606:4700::1111", "--uid=0", "--gid=7", "--workdir=/w",
				"--init", "--read-only", "--cap-drop=ALL", "--cap-add=CAP_KILL", "--cpus=2", "--memory=512M", "--ulimit=nofile=1024:unlimited",
				"--tmpfs=/tmp", "--volume=/h:/g:ro", "--volume=/h2,x:/g2", "--publish=127.0.0.1:8080:80", "--publish-socket=/s.sock:/g.sock",
				"--", "img", "--help", "--",
			},
		},
		{
			"run without a resolver", func(ctx context.Context, c *CLI) error {
				_, err := c.Run(ctx, RunRequest{Image: "img", NoDNS: true, Networks: []string{"in"}, UID: -1, GID: -1})
				return err
			},
			[]string{"run", "--detach", "--progress=none", "--network=in", "--no-dns", "--", "img"},
		},
		{
			"exec", func(ctx context.Context, c *CLI) error {
				_, err := c.Exec(ctx, ExecRequest{
					Container: "c1", Argv: append([]string{"cmd"}, hostile...), Env: []string{"K=--x"}, UID: 1000, GID: 1000,
					Workdir: "/w", Interactive: true, TTY: true,
				})
				return err
			},
			append([]string{
				"exec", "--interactive", "--tty", "--env=K=--x", "--uid=1000", "--gid=1000", "--workdir=/w", "--", "c1", "cmd",
			}, hostile...),
		},
		{"copy in", func(ctx context.Context, c *CLI) error { return c.Copy(ctx, CopyRequest{"/f", "c1:/d/"}) }, []string{"copy", "--", "/f", "c1:/d/"}},
		{"copy out", func(ctx context.Context, c *CLI) error { return c.Copy(ctx, CopyRequest{"c1:/d", "/f"}) }, []string{"copy", "--", "c1:/d", "/f"}},
		{"inspect", func(ctx context.Context, c *CLI) error { _, err := c.Inspect(ctx, "c1"); return err }, []string{"inspect", "--", "c1"}},
		{"list", func(ctx context.Context, c *CLI) error { _, err := c.List(ctx); return err }, []string{"list", "--all", "--format=json"}},
		{"logs", func(ctx context.Context, c *CLI) error { _, err := c.Logs(ctx, "c1", 20); return err }, []string{"logs", "-n", "20", "--", "c1"}},
		{"stop", func(ctx context.Context, c *CLI) error { return c.Stop(ctx, StopRequest{"c1", 3 * time.Second}) }, []string{"stop", "--time=3", "--", "c1"}},
		{"kill", func(ctx context.Context, c *CLI) error { return c.Kill(ctx, "c1", "TERM") }, []string{"kill", "--signal=TERM", "--", "c1"}},
		{"delete", func(ctx context.Context, c *CLI) error { return c.Delete(ctx, "c1", false) }, []string{"delete", "--", "c1"}},
		{"delete by force", func(ctx context.Context, c *CLI) error { return c.Delete(ctx, "c1", true) }, []string{"delete", "--force", "--", "c1"}},
		{
			"build", func(ctx context.Context, c *CLI) error {
				_, err := c.Build(ctx, BuildRequest{
					Tag: "t:1", Dockerfile: dockerfile, Context: "/ctx", Platform: "linux/arm64", DNS: []string{"9.9.9.9"},
					BuildArgs: map[string]string{"B": "-x=y", "A": ""}, Labels: map[string]string{"l": "v"}, NoCache: true,
				})
				return err
			},
			[]string{
				"build", "--progress=plain", "--tag=t:1", "--file=" + dockerfile, "--platform=linux/arm64", "--dns=9.9.9.9",
				"--build-arg=A=", "--build-arg=B=-x=y", "--label=l=v", "--no-cache", "--", "/ctx",
			},
		},
		{"builder status", func(ctx context.Context, c *CLI) error { _, err := c.BuilderStatus(ctx); return err }, []string{"builder", "status", "--format=json"}},
		{"builder start", func(ctx context.Context, c *CLI) error {
			return c.BuilderStart(ctx, BuilderRequest{DNS: []string{"::1"}})
		}, []string{"builder", "start", "--dns=::1"}},
		{"builder stop", func(ctx context.Context, c *CLI) error { return c.BuilderStop(ctx) }, []string{"builder", "stop"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var err error
			got := recorded(func(ctx context.Context, c *CLI) { err = tt.call(ctx, c) })
			if len(got) != 1 || !slices.Equal(got[0], tt.want) {
				t.Errorf("argv = %q\nwant   %q", got, tt.want)
			}
			if e := wantKind(t, err, KindMissing); !strings.Contains(e.Error(), "install Apple's container") {
				t.Errorf("message %q", e)
			}
		})
	}
}

func writeDockerfile(t *testing.T, size int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "Dockerfile")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// run is a request that is fine but for what change does to it.
func run(change func(*RunRequest)) func(context.Context, *CLI) error {
	return func(ctx context.Context, c *CLI) error {
		req := RunRequest{Name: "c1", Image: "img", UID: -1, GID: -1}
		change(&req)
		_, err := c.Run(ctx, req)
		return err
	}
}

func exec(change func(*ExecRequest)) func(context.Context, *CLI) error {
	return func(ctx context.Context, c *CLI) error {
		req := ExecRequest{Container: "c1", Argv: []string{"x"}, UID: -1, GID: -1}
		change(&req)
		_, err := c.Exec(ctx, req)
		return err
	}
}

func build(change func(*BuildRequest)) func(context.Context, *CLI) error {
	return func(ctx context.Context, c *CLI) error {
		req := BuildRequest{Tag: "t", Context: "/ctx"}
		change(&req)
		_, err := c.Build(ctx, req)
		return err
	}
}

func network(name string, labels map[string]string) func(context.Context, *CLI) error {
	return func(ctx context.Context, c *CLI) error {
		return c.NetworkCreate(ctx, NetworkRequest{Name: name, Labels: labels})
	}
}

func cp(from, to string) func(context.Context, *CLI) error {
	return func(ctx context.Context, c *CLI) error { return c.Copy(ctx, CopyRequest{from, to}) }
}

// TestWhatCannotBeSaidIsRefused: such a value never reaches the program.
func TestWhatCannotBeSaidIsRefused(t *testing.T) {
	long := strings.Repeat("a", 64)
	ports := make([]Publish, 65)
	for i := range ports {
		ports[i] = Publish{1000 + i, 80}
	}
	tests := []struct {
		name string
		call func(context.Context, *CLI) error
		text string // in the message
	}{
		{"name with a dash first", run(func(r *RunRequest) { r.Name = "-x" }), `container name "-x"`},
		{"name of one letter", run(func(r *RunRequest) { r.Name = "a" }), "2 to 63"},
		{"name of 64", run(func(r *RunRequest) { r.Name = long }), "2 to 63"},
		{"name with a newline at its end", run(func(r *RunRequest) { r.Name = "ab\n" }), "container name"},
		{"no image", run(func(r *RunRequest) { r.Image = "" }), "image reference"},
		{"image with a dash first", run(func(r *RunRequest) { r.Image = "--help" }), "image reference"},
		{"image with a space", run(func(r *RunRequest) { r.Image = "a b" }), "image reference"},
		{"image with a control character", run(func(r *RunRequest) { r.Image = "a\x1b" }), "image reference"},
		{"platform", run(func(r *RunRequest) { r.Platform = "arm64" }), "linux/arm64"},
		{"platform list", run(func(r *RunRequest) { r.Platform = "linux/arm64,linux/amd64" }), "platform"},
		{"bare variable", run(func(r *RunRequest) { r.Env = []string{"A=1", "HOME"} }), "environment entry 2"},
		{"variable without a name", run(func(r *RunRequest) { r.Env = []string{"=s3cret"} }), "environment entry 1"},
		{"NUL in a variable", run(func(r *RunRequest) { r.Env = []string{"A=s3cret\x00"} }), `variable "A"`},
		{"NUL in an argument", run(func(r *RunRequest) { r.Args = []string{"a", "b\x00c"} }), "NUL"},
		{"broken UTF-8", run(func(r *RunRequest) { r.Args = []string{"\xff"} }), "UTF-8"},
		{"label with = in its value", run(func(r *RunRequest) { r.Labels = map[string]string{"k": "a=b"} }), "cannot hold '='"},
		{"label with = in its key", run(func(r *RunRequest) { r.Labels = map[string]string{"k=": "a"} }), "label key"},
		{"label without a key", run(func(r *RunRequest) { r.Labels = map[string]string{"": "a"} }), "label key"},
		{"label of the engine's", run(func(r *RunRequest) { r.Labels = map[string]string{"com.apple.container.plugin": "machine"} }), "the engine keeps"},
		{"network none among others", run(func(r *RunRequest) { r.Networks = []string{"out", "none"} }), `network name "none"`},
		{"network with options", run(func(r *RunRequest) { r.Networks = []string{"out,mtu=1280"} }), "network name"},
		{"network in upper case", run(func(r *RunRequest) { r.Networks = []string{"Out"} }), "network name"},
		{"resolver that is none", run(func(r *RunRequest) { r.DNS = []string{"dns.example"} }), "not an IP address"},
		{"resolver with a zone", run(func(r *RunRequest) { r.DNS = []string{"fe80::1%eth0"} }), "not an IP address"},
		{"resolver and none", run(func(r *RunRequest) { r.DNS, r.NoDNS = []string{"1.1.1.1"}, true }), "exclude each other"},
		{"uid alone", run(func(r *RunRequest) { r.UID = 5 }), "give both"},
		{"gid alone", run(func(r *RunRequest) { r.GID = 5 }), "give both"},
		{"uid too large", run(func(r *RunRequest) { r.UID, r.GID = 1<<32, 1 }), "give both"},
		{"relative directory", run(func(r *RunRequest) { r.Workdir = "w" }), "absolute"},
		{"capability", run(func(r *RunRequest) { r.CapAdd = []string{"net_admin,x"} }), "capability"},
		{"CPUs", run(func(r *RunRequest) { r.CPUs = -1 }), "whole number"},
		{"little memory", run(func(r *RunRequest) { r.MemoryBytes = 199 << 20 }), "200 MiB"},
		{"negative memory", run(func(r *RunRequest) { r.MemoryBytes = -1 }), "200 MiB"},
		{"odd memory", run(func(r *RunRequest) { r.MemoryBytes = 300<<20 + 1 }), "whole MiB"},
		{"ulimit", run(func(r *RunRequest) { r.Ulimits = []string{"files=1"} }), "TYPE=SOFT"},
		{"ulimit twice", run(func(r *RunRequest) { r.Ulimits = []string{"core=0", "core=1"} }), "twice"},
		{"tmpfs with options", run(func(r *RunRequest) { r.Tmpfs = []string{"/tmp:size=1"} }), "holds ':'"},
		{"mount with a colon", run(func(r *RunRequest) { r.Mounts = []Mount{{Host: "/a:b", Guest: "/c"}} }), "holds ':'"},
		{"mount of a relative path", run(func(r *RunRequest) { r.Mounts = []Mount{{Host: "vol", Guest: "/c"}} }), "absolute"},
		{"mount on a relative path", run(func(r *RunRequest) { r.Mounts = []Mount{{Host: "/a", Guest: "c"}} }), "absolute"},
		{"mount with a NUL", run(func(r *RunRequest) { r.Mounts = []Mount{{Host: "/a\x00", Guest: "/c"}} }), "NUL"},
		{"port 0", run(func(r *RunRequest) { r.Publish = []Publish{{0, 80}} }), "chooses none"},
		{"port 1", run(func(r *RunRequest) { r.Publish = []Publish{{8080, 1}} }), "from 2 to 65535"},
		{"port 65536", run(func(r *RunRequest) { r.Publish = []Publish{{65536, 80}} }), "from 2 to 65535"},
		{"port twice", run(func(r *RunRequest) { r.Publish = []Publish{{8080, 80}, {8080, 81}} }), "twice"},
		{"65 ports", run(func(r *RunRequest) { r.Publish = ports }), "65 ports"},
		{"long socket", run(func(r *RunRequest) { r.Sockets = []PublishSocket{{"/" + strings.Repeat("s", 100), "/g"}} }), "100 bytes"},
		{"socket with a colon", run(func(r *RunRequest) { r.Sockets = []PublishSocket{{"/s", "/g:x"}} }), "holds ':'"},
		{"no command", exec(func(r *ExecRequest) { r.Argv = nil }), "no command"},
		{"empty command", exec(func(r *ExecRequest) { r.Argv = []string{""} }), "no command"},
		{"container in exec", exec(func(r *ExecRequest) { r.Container = "--help" }), "container name"},
		{"input that is not wanted", exec(func(r *ExecRequest) { r.Stdin = strings.NewReader("") }), "takes none"},
		{"bare variable in exec", exec(func(r *ExecRequest) { r.Env = []string{"TOKEN"} }), "environment entry 1"},
		{"uid alone in exec", exec(func(r *ExecRequest) { r.UID = 0 }), "give both"},
		{"directory in exec", exec(func(r *ExecRequest) { r.Workdir = "-x" }), "absolute"},
		{"network none", network("none", nil), "network name"},
		{"network default", network("default", nil), "the engine's own"},
		{"network label without a value", network("n1", map[string]string{"a": ""}), "needs a value"},
		{"network with a dash first", network("-n", nil), "network name"},
		{"network of 64", network(long, nil), "network name"},
		{"network without a name", network("", nil), "network name"},
		{"network label in upper case", network("n1", map[string]string{"Key": "v"}), "label key"},
		{"network label with an underscore", network("n1", map[string]string{"a_b": "v"}), "label key"},
		{"network label with a long key", network("n1", map[string]string{strings.Repeat("a", 129): "v"}), "label key"},
		{"network label that is long", network("n1", map[string]string{"a": strings.Repeat("v", 4095)}), "4096"},
		{"network label with a NUL", network("n1", map[string]string{"a": "\x00"}), "NUL"},
		{"copy on this host", cp("/a", "/b"), "exactly one"},
		{"copy between containers", cp("c1:/a", "c2:/b"), "exactly one"},
		{"copy of a relative path", cp("a", "c1:/b"), "absolute"},
		{"copy to a relative path", cp("/a", "c1:b"), "absolute"},
		{"copy with two colons", cp("/a", "c1:/b:c"), "holds ':'"},
		{"copy of a whole root", cp("c1:/", "/b"), "root"},
		{"copy with an option as id", cp("/a", "--help:/b"), "container name"},
		{"archive", func(ctx context.Context, c *CLI) error { _, err := c.ImageLoad(ctx, "-"); return err }, "absolute"},
		{"no lines", func(ctx context.Context, c *CLI) error { _, err := c.Logs(ctx, "c1", 0); return err }, "1 to 10000"},
		{"grace", func(ctx context.Context, c *CLI) error { return c.Stop(ctx, StopRequest{"c1", -time.Second}) }, "whole seconds"},
		{"part of a second", func(ctx context.Context, c *CLI) error { return c.Stop(ctx, StopRequest{"c1", time.Millisecond}) }, "whole seconds"},
		{"signal", func(ctx context.Context, c *CLI) error { return c.Kill(ctx, "c1", "-9") }, "signal"},
		{"no signal", func(ctx context.Context, c *CLI) error { return c.Kill(ctx, "c1", "") }, "signal"},
		{"container to delete", func(ctx context.Context, c *CLI) error { return c.Delete(ctx, "--all", true) }, "container name"},
		{"network to delete", func(ctx context.Context, c *CLI) error { return c.NetworkDelete(ctx, "--all") }, "network name"},
		{"image to delete", func(ctx context.Context, c *CLI) error { return c.ImageDelete(ctx, "-a") }, "image reference"},
		{"builder's resolver", func(ctx context.Context, c *CLI) error {
			return c.BuilderStart(ctx, BuilderRequest{DNS: []string{"x"}})
		}, "not an IP address"},
		{"large Dockerfile", build(func(r *BuildRequest) { r.Dockerfile = writeDockerfile(t, 16<<10) }), "less than 16384"},
		{"no Dockerfile", build(func(r *BuildRequest) { r.Dockerfile = "/nowhere/Dockerfile" }), "cannot be read"},
		{"Dockerfile from stdin", build(func(r *BuildRequest) { r.Dockerfile = "-" }), "absolute"},
		{"Dockerfile is a directory", build(func(r *BuildRequest) { r.Dockerfile = t.TempDir() }), "no regular file"},
		{"build argument", build(func(r *BuildRequest) {
			r.Dockerfile, r.BuildArgs = writeDockerfile(t, 1), map[string]string{"a=b": "s3cret"}
		}), "build argument"},
		{"context", build(func(r *BuildRequest) { r.Dockerfile, r.Context = writeDockerfile(t, 1), "." }), "absolute"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var err error
			ran := recorded(func(ctx context.Context, c *CLI) { err = tt.call(ctx, c) })
			if len(ran) != 0 {
				t.Errorf("the program ran: %q", ran)
			}
			e := wantKind(t, err, KindArgument)
			if e.Code != -1 || !strings.Contains(e.Error(), tt.text) || strings.Contains(e.Error(), "s3cret") {
				t.Errorf("code %d, message %q lacks %q or shows a value", e.Code, e, tt.text)
			}
		})
	}
}
