package world_test

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world"
)

// The host of these tests is a world itself: it is known to the last firewall
// rule, and no other program changes it meanwhile.

// nested prepares a world inside this one.
func nested(ctx context.Context, role string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = append(os.Environ(), "BOTTLE_WORLD_NEST=1", roleEnv+"="+role)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// hostState is everything of the machine that a world could change.
func hostState(t *testing.T, w *world.World) []string {
	t.Helper()
	var state []string
	for _, line := range []string{
		"iptables-save", "ip6tables-save", "ip -o link", "ip -o addr", "ip route show table all", "ip -6 route show table all",
		"ip netns", "hostname", "findmnt --raw --noheadings -o TARGET,SOURCE,FSTYPE", "ipcs -a",
		"find /sys/fs/cgroup -type d", "find /run /dev/shm /tmp /var/tmp /etc/containers /var/lib/containers -maxdepth 4 -not -path *.lock",
		"podman network ls --format {{.ID}}", "podman volume ls --quiet", "podman images --all --quiet", "podman ps --all --quiet",
		"grep -H . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding /proc/sys/net/ipv4/conf/all/rp_filter /proc/sys/net/ipv6/conf/all/accept_dad",
	} {
		argv := strings.Fields(line)
		out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
		for l := range strings.Lines(string(out)) {
			// Counters and times of the firewall's dump, and routes' ages.
			if !strings.HasPrefix(l, "#") && !strings.HasPrefix(l, ":") && !strings.Contains(l, " expires ") {
				state = append(state, argv[0]+": "+l)
			}
		}
	}
	for _, name := range w.Engine(t).Processes {
		state = append(state, "process "+name)
	}
	return state
}

func compare(t *testing.T, before, after []string) {
	t.Helper()
	for _, l := range after {
		if !slices.Contains(before, l) {
			t.Errorf("the world left %s", l)
		}
	}
	for _, l := range before {
		if !slices.Contains(after, l) {
			t.Errorf("the world took %s", l)
		}
	}
}

// orphans counts the processes that litter left.
func orphans(t *testing.T) int {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, l := range lines {
		if argv, err := os.ReadFile(l); err == nil && bytes.Contains(argv, []byte("\x00"+orphanSeconds+"\x00")) {
			n++
		}
	}
	return n
}

func TestHostIsAsBefore(t *testing.T) {
	w := world.New(t)
	hostState(t, w)
	before := hostState(t, w)
	out, err := nested(t.Context(), "leave").CombinedOutput()
	if exit := new(exec.ExitError); !asExit(err, &exit) || exit.ExitCode() != exitPlayed {
		t.Fatalf("the payload's exit code was not handed on: %v: %s", err, out)
	}
	if n := orphans(t); n != 0 {
		t.Errorf("%d processes outlive the world", n)
	}
	compare(t, before, hostState(t, w))
}

func TestStateShowsLitter(t *testing.T) {
	w := world.New(t)
	before := hostState(t, w)
	if err := litter(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := orphans(t); n < 2 {
		t.Errorf("%d orphans seen, want the container's and the daemon", n)
	}
	after := hostState(t, w)
	for _, kind := range []string{"iptables-save", "ip6tables-save", "ip", "findmnt", "find", "podman", "process"} {
		if !slices.ContainsFunc(after, func(l string) bool { return strings.HasPrefix(l, kind) && !slices.Contains(before, l) }) {
			t.Errorf("%s shows nothing of what was left", kind)
		}
	}
	clean(t)
}

// clean undoes litter.
func clean(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{
		{"rm", "--force", "--time", "0", "left"}, {"network", "rm", "left"}, {"volume", "rm", "left"}, {"rmi", "bottle-mcp.invalid/left"},
	} {
		if _, err := world.Podman(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	if err := world.SoftenInternal(t.Context(), "podman1"); err != nil {
		t.Fatal(err)
	}
	pids, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pids {
		if argv, err := os.ReadFile(p); err == nil && string(argv) == "sleep\x00"+orphanSeconds+"\x00" {
			kill(t, filepath.Base(filepath.Dir(p)))
		}
	}
	for end := time.Now().Add(5 * time.Second); orphans(t) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the orphans do not die")
		}
	}
}

func TestSignalsEndTheWorld(t *testing.T) {
	for name, signal := range map[string]os.Signal{"told": unix.SIGTERM, "killed": unix.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			w := world.New(t)
			before := hostState(t, w)
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			cmd := nested(ctx, "stay")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(out).ReadString('\n'); line != "littered\n" {
				t.Fatalf("the payload said %q, %v", line, err)
			}
			if orphans(t) == 0 {
				t.Fatal("no process of the world is seen")
			}
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			for end := time.Now().Add(5 * time.Second); orphans(t) > 0; time.Sleep(20 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%d processes outlive the world", orphans(t))
				}
			}
			if name == "killed" {
				sweepLater(t)
			}
			compare(t, before, hostState(t, w))
		})
	}
}

// sweepLater lets another world remove what a killed one could not.
func sweepLater(t *testing.T) {
	t.Helper()
	locks, err := filepath.Glob("/tmp/bottle-world-*/lock")
	if err != nil || len(locks) == 0 {
		t.Fatalf("the killed world left no directory: %v", err)
	}
	for _, l := range locks {
		old := time.Now().Add(-time.Hour)
		if err := os.Chtimes(l, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := nested(t.Context(), "leave").CombinedOutput(); err == nil {
		t.Fatalf("the sweeping world did not end as told: %s", out)
	}
}

// Tests that start their own binary with a clean environment would otherwise
// make worlds in worlds without end.
func TestNoWorldInAWorldUnlessAskedFor(t *testing.T) {
	world.New(t)
	here, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = []string{world.GateEnv + "=1", roleEnv + "=here", "PATH=" + os.Getenv("PATH")}
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != here {
		t.Errorf("scrubbed, the program is in %q, %v; want %q", out, err, here)
	}
	if out, err := nested(t.Context(), "here").Output(); err != nil || string(out) == here || !strings.HasPrefix(string(out), "pid:") {
		t.Errorf("asked for, the program is in %q, %v; want a world of its own", out, err)
	}
}

func TestProcessesAreBounded(t *testing.T) {
	world.New(t)
	for _, file := range []string{"/sys/fs/cgroup/pids/pids.max", "/sys/fs/cgroup/pids.max"} {
		if limit, err := os.ReadFile(file); err == nil {
			if n, err := strconv.Atoi(strings.TrimSpace(string(limit))); err != nil || n > 10000 {
				t.Errorf("the world may have %q processes", limit)
			}
			return
		}
	}
	t.Error("no limit of processes is to be seen")
}
