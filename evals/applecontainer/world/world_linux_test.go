package world_test

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world/internet"
)

// tool runs a program of the world's $PATH as the backend would: with HOME and
// PATH alone.
func tool(t *testing.T, argv ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return strings.TrimSpace(strings.TrimSpace(string(out)) + " (" + err.Error() + ")")
	}
	return strings.TrimSpace(string(out))
}

func TestMacTools(t *testing.T) {
	w := world.New(t)
	for _, c := range []struct {
		name, value string
		argv        []string
		want, other string
	}{
		{world.MacProductVersion, "15.6", []string{"sw_vers", "-productVersion"}, "26.1", "15.6"},
		{world.MacSystem, "FreeBSD", []string{"uname", "-s"}, "Darwin", "FreeBSD"},
		{world.MacMachine, "x86_64", []string{"uname", "-m"}, "arm64", "x86_64"},
		{world.MacARM64, "0", []string{"sysctl", "-n", "hw.optional.arm64"}, "1", "0"},
		{world.MacARM64, "", []string{"sysctl", "-n", "hw.optional.arm64"}, "1", "sysctl: unknown oid 'hw.optional.arm64' (exit status 1)"},
	} {
		t.Run(strings.Join(c.argv, " ")+"="+c.value, func(t *testing.T) {
			if got := tool(t, c.argv...); got != c.want {
				t.Errorf("at first it says %q, want %q", got, c.want)
			}
			t.Run("changed", func(t *testing.T) {
				w.SetMac(t, c.name, c.value)
				if got := tool(t, c.argv...); got != c.other {
					t.Errorf("changed it says %q, want %q", got, c.other)
				}
			})
			if got := tool(t, c.argv...); got != c.want {
				t.Errorf("after the test it says %q, want %q", got, c.want)
			}
		})
	}
	if got := tool(t, "scutil", "--dns"); !strings.Contains(got, "\n  nameserver[0] : "+world.DNSAddress+"\n") {
		t.Errorf("scutil names another resolver: %s", got)
	}
	if got := tool(t, "uname", "-n"); got != "mac" {
		t.Errorf("the host is called %q", got)
	}
	if got := tool(t, "uname", "-r"); strings.Contains(got, "exit") || !strings.Contains(got, ".") {
		t.Errorf("uname -r is not the real one: %q", got)
	}
}

// The stand-in of this package's world is env: it shows what it is given.
func TestContainerInPath(t *testing.T) {
	w := world.New(t)
	if first := strings.Split(os.Getenv("PATH"), ":")[0]; first != w.Bin {
		t.Errorf("$PATH begins with %s", first)
	}
	if got := tool(t, "container"); !strings.Contains(got+"\n", world.StateEnv+"="+w.State+"\n") {
		t.Errorf("the stand-in is not told its state directory: %s", got)
	}
	if got := tool(t, "env", world.StateEnv+"=/elsewhere", "container"); !strings.Contains(got+"\n", world.StateEnv+"=/elsewhere\n") {
		t.Errorf("the stand-in is told another state directory than the caller's: %s", got)
	}
	if got := tool(t, "container", "printf", "%s,", "a b", "", "--", "$HOME"); got != "a b,,--,$HOME," {
		t.Errorf("arguments changed on their way: %s", got)
	}
	if got := tool(t, "container", "sh", "-c", "exit 65"); got != "(exit status 65)" {
		t.Errorf("the exit code changed on its way: %s", got)
	}
}

func TestFaults(t *testing.T) {
	w := world.New(t)
	faults := filepath.Join(w.State, "faults")
	t.Run("set", func(t *testing.T) {
		w.SetFault(t, world.FaultSlowStart, "250")
		w.SetNext(t, world.Next{Match: "network create", Skip: 1, Action: world.ActionKillParent})
		for name, want := range map[string]string{
			world.FaultSlowStart: "250",
			world.FaultNext:      `{"match":"network create","skip":1,"action":"kill-parent"}`,
		} {
			if got, err := os.ReadFile(filepath.Join(faults, name)); err != nil || string(got) != want {
				t.Errorf("fault %s holds %q, %v", name, got, err)
			}
		}
	})
	if left, err := os.ReadDir(faults); err != nil || len(left) != 0 {
		t.Errorf("faults outlive their test: %v, %v", left, err)
	}
	if err := os.WriteFile(filepath.Join(faults, "forgotten"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	world.New(t)
	if left, err := os.ReadDir(faults); err != nil || len(left) != 0 {
		t.Errorf("a new test begins with faults: %v, %v", left, err)
	}
}

func TestCallLog(t *testing.T) {
	w := world.New(t)
	lines := `{"argv":["run","-d"],"pid":7,"start":"2026-01-02T03:04:05Z","exit":1}` + "\n" + `{"argv":["unfini`
	if err := os.WriteFile(filepath.Join(w.State, "calls.jsonl"), []byte(lines), 0o644); err != nil {
		t.Fatal(err)
	}
	calls := w.CallLog(t)
	if len(calls) != 1 || calls[0].PID != 7 || calls[0].Exit != 1 || !slices.Equal(calls[0].Argv, []string{"run", "-d"}) {
		t.Errorf("read %+v", calls)
	}
	if calls := world.New(t).CallLog(t); len(calls) != 0 {
		t.Errorf("a new test begins with calls: %+v", calls)
	}
}

func TestEngineSeesEveryKind(t *testing.T) {
	w := world.New(t)
	before := w.Engine(t)
	if err := litter(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.State, "leftover"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	left := w.Engine(t).Since(before)
	for _, want := range []string{
		"container left", "network left", "volume left", "image bottle-mcp.invalid/left:latest",
		"link podman1", "process conmon", "file leftover",
	} {
		if !slices.Contains(left, want) {
			t.Errorf("%q is not seen in %v", want, left)
		}
	}
	for _, kind := range []string{"rule ", "socket "} {
		if !slices.ContainsFunc(left, func(l string) bool { return strings.HasPrefix(l, kind) }) {
			t.Errorf("no %sis seen in %v", kind, left)
		}
	}
	if err := os.Remove(filepath.Join(w.State, "leftover")); err != nil {
		t.Fatal(err)
	}
	clean(t)
	if left := w.Engine(t).Since(before); len(left) != 0 {
		t.Errorf("nothing is left, but seen are %v", left)
	}
}

const applets = "sh cat sleep env id stat kill setsid tar wget ls head grep sed ps mkdir touch chmod dd find tail cut sort " +
	"wc seq true false test printf echo date nslookup nc ip"

func TestImages(t *testing.T) {
	w := world.New(t)
	w.Images(t)
	w.PublishSite(t, "git.example", bareRepository(t))
	for _, image := range []string{world.AgentImage, world.DebianImage, world.ToolsImage} {
		guest(t, "looked-at", image, "--user", "agent", "--network", "none")
		for line, want := range map[string]string{
			"id":                                     "uid=1000(agent) gid=1000(agent)",
			"stat -c '%U %a' /home/agent /tmp /root": "agent 755\nroot 1777\nroot 700",
			"cd; pwd; echo $HOME; touch /home/agent/x /tmp/x && echo wrote":   "/home/agent\n/home/agent\nwrote",
			"grep -c 'BEGIN CERT' /etc/ssl/certs/ca-certificates.crt | wc -w": "1",
		} {
			if got := in(t, "looked-at", line); got != want {
				t.Errorf("%s: %s says %q, want %q", image, line, got, want)
			}
		}
		if got := in(t, "looked-at", "for a in "+applets+"; do test -x /bin/$a || echo no $a; done; echo seen"); got != "seen" {
			t.Errorf("%s: %s", image, got)
		}
		podman(t, "rm", "--force", "--time", "0", "looked-at")
	}
	guest(t, "client", world.ToolsImage, "--volume", w.OriginCA+":/ca.pem:ro")
	if got := in(t, "client", "cd /tmp && GIT_SSL_CAINFO=/ca.pem git clone -q https://git.example/ here 2>&1 && cat here/README"); got != "from the fake Internet" {
		t.Errorf("git clone said %q", got)
	}
	w.AwaitEvent(t, func(e internet.Event) bool {
		return e.Host == "git.example" && strings.HasPrefix(e.Header.Get("User-Agent"), "git/")
	})
}

// bareRepository is one that any web server can serve.
func bareRepository(t *testing.T) fstest.MapFS {
	t.Helper()
	work, bare := t.TempDir(), t.TempDir()
	for _, line := range []string{
		"git init -q " + work, "git -C " + work + " add README",
		"git -C " + work + " -c user.name=t -c user.email=t@example commit -q -m first",
		"git clone -q --bare " + work + " " + bare + "/r", "git -C " + bare + "/r update-server-info",
	} {
		if err := os.WriteFile(filepath.Join(work, "README"), []byte("from the fake Internet\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		argv := strings.Fields(line)
		if out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
	}
	files := fstest.MapFS{}
	root := filepath.Join(bare, "r")
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(root, path)
		files[name] = &fstest.MapFile{Data: data, Mode: 0o644}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestBuildContext(t *testing.T) {
	w := world.New(t)
	w.Images(t)
	dir := w.BuildContext(t)
	build := func(file string) (string, error) {
		return world.Podman(t.Context(), "build", "--pull=never", "--tag", "bottle-mcp.invalid/built", "--file", filepath.Join(dir, file), dir)
	}
	t.Cleanup(func() { _, _ = world.Podman(context.Background(), "rmi", "--force", "bottle-mcp.invalid/built") })
	if _, err := build("Dockerfile"); err != nil {
		t.Fatal(err)
	}
	got := podman(t, "run", "--rm", "--network", "none", "bottle-mcp.invalid/built", "cat", "/built", "/home/agent/greeting")
	if got != "built\nhello from the build context" {
		t.Errorf("the built image holds %q", got)
	}
	if _, err := build("Dockerfile.network"); err != nil {
		t.Error(err)
	}
	w.AwaitEvent(t, func(e internet.Event) bool { return e.Path == "/from-the-builder" })
	if _, err := build("Dockerfile.fails"); err == nil || !strings.Contains(err.Error(), "the last words") {
		t.Errorf("the failing build said %v", err)
	}
	podman(t, "rmi", "--force", "bottle-mcp.invalid/built")
}

func TestNamesAreChangeable(t *testing.T) {
	w := world.New(t)
	w.SetName(t, "Moved.example", netip.MustParseAddr("44.55.66.77"))
	if got := tool(t, "curl", "-sS", "http://moved.example/"); got != "origin moved.example at 44.55.66.77:80" {
		t.Errorf("a name of the test's leads to %q", got)
	}
	w.SetName(t, "moved.example")
	if got := tool(t, "curl", "-sS", "http://moved.example/"); !strings.Contains(got, "Could not resolve host") {
		t.Errorf("a name that does not exist leads to %q", got)
	}
	if got := tool(t, "curl", "-sS", "-g", "http://"+world.IPv6Name+"/"); got != "origin six.example at [2001:db8:80::80]:80" {
		t.Errorf("the IPv6 name leads to %q", got)
	}
	world.New(t)
	if got := tool(t, "curl", "-sS", "http://moved.example/"); !strings.Contains(got, world.SentinelAddress) {
		t.Errorf("a new test begins with the last one's names: %q", got)
	}
}
