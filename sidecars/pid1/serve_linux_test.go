package pid1

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
)

// TestServes is the whole of a sidecar on two networks, in an empty root.
func TestServes(t *testing.T) {
	b := newBox(t, boxOptions{})
	r := b.ready()
	if r.Bottle != testBottle || r.Services[sidecars.Egress] != ServiceOK || len(r.Services) != 1 {
		t.Errorf("report = %+v", r)
	}
	if d := r.Daemons[sidecars.Egress]; !d.Alive || d.PID == 0 || d.Restarts != 0 {
		t.Errorf("daemon = %+v", d)
	}

	t.Run("egress", func(t *testing.T) {
		if status, body := get(b.guest(), "https://"+upstreamName+"/hello"); status != 200 || body != "hello from up.test\n" {
			t.Errorf("an allowed host: %d %q", status, body)
		}
		if sent := b.world.sent(); len(sent) != 1 || sent[0] != "Bearer "+testToken {
			t.Errorf("the upstream was sent %q", sent)
		}
		if status, body := get(b.guest(), "http://other.test/"); status != 403 {
			t.Errorf("a host without a route: %d %q, want 403", status, body)
		}
		// What is allowed is written when it has ended, a moment after its answer.
		for _, want := range []string{`"host":"up.test"`, `"host":"other.test"`, `"verdict":"deny"`} {
			eventually(t, "the decision log has "+want, func() bool {
				return strings.Contains(readAll(t, filepath.Join(b.dir, sidecars.LogDir, sidecars.EgressLog)), want)
			})
		}
	})
	t.Run("walls", func(t *testing.T) { b.checkWalls(t) })
	t.Run("secrets", func(t *testing.T) { b.checkSecrets(t) })
	t.Run("other interface", func(t *testing.T) {
		b.world.command("ip route add " + sidecarInside + "/32 via " + sidecarOutside + " dev w0")
		target := sidecarInside + ":" + strconv.Itoa(sidecars.EgressPort)
		if c, err := b.world.dial(target, 2*time.Second); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("from the other network: %v, %v; want it refused", c, err)
		}
		b.world.command("ip route del " + sidecarInside + "/32 via " + sidecarOutside + " dev w0")
		c, err := b.world.dial(target, 2*time.Second)
		if err != nil {
			t.Fatalf("from the bottle's network: %v", err)
		}
		_ = c.Close()
		if c, err := b.world.dial(sidecarOutside+":"+strconv.Itoa(sidecars.EgressPort), 2*time.Second); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("the other address: %v, %v; want it refused", c, err)
		}
	})
	t.Run("stop", func(t *testing.T) {
		b.signal(unix.SIGTERM)
		if code := b.wait(testWait); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
	})
}

// checkWalls reads what the daemon has left.
func (b *box) checkWalls(t *testing.T) {
	proc := fmt.Sprintf("/proc/%d/", b.daemon())
	status := map[string]string{}
	for line := range strings.Lines(readAll(t, proc+"status")) {
		k, v, _ := strings.Cut(line, ":")
		status[k] = strings.Join(strings.Fields(v), " ")
	}
	none := "0000000000000000"
	user := strings.TrimSpace(strings.Repeat(strconv.Itoa(DaemonUID)+" ", 4))
	for name, want := range map[string]string{
		"Uid": user, "Gid": user, "Groups": "", "NoNewPrivs": "1",
		"CapInh": none, "CapPrm": none, "CapEff": none, "CapBnd": none, "CapAmb": none,
	} {
		if status[name] != want {
			t.Errorf("%s is %q, want %q", name, status[name], want)
		}
	}
	limits := strings.Join(strings.Fields(readAll(t, proc+"limits")), " ")
	for _, want := range []string{"Max core file size 0 0", "Max data size 536870912 536870912", "Max file size 83886080 83886080"} {
		if !strings.Contains(limits, want) {
			t.Errorf("limits lack %q", want)
		}
	}
	// Root owns what belongs to an undumpable process.
	for _, p := range []string{proc, fmt.Sprintf("/proc/%d/", b.cmd.Process.Pid)} {
		var stat unix.Stat_t
		check(t, unix.Stat(p+"environ", &stat))
		if stat.Uid != 0 {
			t.Errorf("%senviron belongs to %d: the process is dumpable", p, stat.Uid)
		}
	}
	fds, err := os.ReadDir(proc + "fd")
	check(t, err)
	for _, fd := range fds {
		if target, _ := os.Readlink(proc + "fd/" + fd.Name()); strings.HasPrefix(target, DefaultConfigDir) &&
			!slices.Contains(ledger.Names(), strings.TrimPrefix(target, filepath.Join(DefaultConfigDir, sidecars.LogDir)+"/")) || strings.HasSuffix(target, sidecars.ErrorLog) {
			t.Errorf("the daemon holds %s", target)
		}
	}
}

// checkSecrets looks for the secrets wherever another process could find them.
func (b *box) checkSecrets(t *testing.T) {
	for _, name := range []string{"ca/ca.key", "tokens/" + testSlot} {
		if _, err := os.Stat(filepath.Join(b.dir, name)); err != nil {
			t.Errorf("before the removal: %v", err)
		}
	}
	check(t, RemoveSecrets(b.dir))
	key := strings.Split(b.key.Reveal(), "\n")[1]
	found := func(where, text string) {
		if strings.Contains(text, testToken) || strings.Contains(text, key) {
			t.Errorf("a secret is in %s", where)
		}
	}
	processes := b.processes()
	if len(processes) < 2 {
		t.Errorf("processes %v: want the init and a daemon", processes)
	}
	for _, pid := range processes {
		for _, name := range []string{"cmdline", "environ", "comm"} {
			path := fmt.Sprintf("/proc/%d/%s", pid, name)
			found(path, readAll(t, path))
		}
	}
	if env := readAll(t, fmt.Sprintf("/proc/%d/environ", b.daemon())); env != "" {
		t.Errorf("the daemon has an environment: %q", env)
	}
	root := fmt.Sprintf("/proc/%d/root", b.cmd.Process.Pid)
	for _, top := range []string{"/run", "/etc"} {
		check(t, filepath.WalkDir(root+top, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				found(path, readAll(t, path))
			}
			return err
		}))
	}
	found("standard error", b.stderr.String())
}

// TestUnixSocket is the topology without a network between guest and sidecar.
func TestUnixSocket(t *testing.T) {
	b := newBox(t, boxOptions{listen: "unix:/run/bottle-sockets", daemons: " egress , egress"})
	b.ready()
	path := fmt.Sprintf("/proc/%d/root/run/bottle-sockets/%s", b.cmd.Process.Pid, SocketName(sidecars.Egress))
	info, err := os.Stat(path)
	check(t, err)
	if info.Mode() != fs.ModeSocket|0o666 {
		t.Errorf("mode = %v", info.Mode())
	}
	guest := client([]byte(b.config.CACert), func() (net.Conn, error) { return net.Dial("unix", path) })
	if status, body := get(guest, "https://"+upstreamName+"/"); status != 200 {
		t.Errorf("through the socket: %d %q", status, body)
	}
	for _, addr := range []string{sidecarInside, sidecarOutside} {
		if c, err := b.world.dial(addr+":"+strconv.Itoa(sidecars.EgressPort), time.Second); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%s: %v, %v; want it refused", addr, c, err)
		}
	}
}

// TestUserNamespace is a machine whose root is not the host's.
func TestUserNamespace(t *testing.T) {
	b := newBox(t, boxOptions{user: true})
	b.ready()
	if status, body := get(b.guest(), "https://"+upstreamName+"/"); status != 200 {
		t.Errorf("%d %q", status, body)
	}
}

// TestOrphansAreReaped has a process lose its parent.
func TestOrphansAreReaped(t *testing.T) {
	b := newBox(t, boxOptions{})
	b.ready()
	out, code := b.inside("orphan")
	if code != 0 || strings.TrimSpace(out) == "" {
		t.Fatalf("orphan: code %d, %q", code, out)
	}
	adopted := func() (n int, zombies int) {
		for _, pid := range b.processes() {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if err != nil {
				continue
			}
			after := string(stat[strings.LastIndexByte(string(stat), ')')+2:])
			fields := strings.Fields(after)
			if fields[1] == strconv.Itoa(b.cmd.Process.Pid) {
				n++
			}
			if fields[0] == "Z" {
				zombies++
			}
		}
		return n, zombies
	}
	if n, _ := adopted(); n != 2 {
		t.Errorf("the init has %d children, want the daemon and the orphan", n)
	}
	eventually(t, "the orphan is reaped", func() bool {
		n, zombies := adopted()
		return n == 1 && zombies == 0
	})
	if r, _ := b.ask(0); !r.Ready || r.Daemons[sidecars.Egress].Restarts != 0 {
		t.Errorf("afterwards: %+v", r)
	}
}

// TestNotReady asks a machine where nobody answers, and one whose daemon does
// not serve.
func TestNotReady(t *testing.T) {
	b := newBox(t, boxOptions{stubborn: true, timing: "grace=200ms"})
	eventually(t, "the daemon runs", func() bool { return strings.Contains(b.stderr.String(), "egress: hello") })
	started := time.Now()
	r, code := b.ask(1500 * time.Millisecond)
	if code != 1 || r.Ready || r.Services[sidecars.Egress] == ServiceOK || !r.Daemons[sidecars.Egress].Alive {
		t.Errorf("code %d, %+v", code, r)
	}
	if took := time.Since(started); took < 1500*time.Millisecond || took > testWait {
		t.Errorf("it took %s", took)
	}
	var out output
	if code := runReady([]string{"--timeout", "0s"}, &out, &out); code != 1 {
		t.Errorf("without an init: code %d, %s", code, &out)
	}
	var alone Report
	check(t, json.Unmarshal([]byte(out.String()), &alone))
	if alone.Ready || alone.Error == "" {
		t.Errorf("without an init: %+v", alone)
	}
}
