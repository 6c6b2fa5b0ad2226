package pid1

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ca"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

const (
	testBottle = "fizzy-otter"
	testToken  = "s3cr3t-t0ken-of-the-operator"
	testSlot   = "EGRESS_TOKEN_0"
	// testBottles is the token of the way to the MCP server.
	testBottles = "s3cr3t-t0ken-of-the-bottle"
	testWait    = 15 * time.Second
)

// missing skips the test, or fails it where nothing may be missing.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("BOTTLE_MCP_STANDIN") == "1" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// boxOptions change a machine before it starts.
type boxOptions struct {
	listen string
	until  time.Time
	timing string
	// daemons is BOT_BOTTLE_SIDECAR_DAEMONS.
	daemons  string
	stubborn bool
	user     bool // in a user namespace
	routes   []sidecars.Route
	// spoil changes the directory before it is mounted.
	spoil func(dir string)
	// host is the path of a socket that is mounted; "" = none.
	host string
}

// box is a machine with the init as its first process: namespaces of its own,
// an otherwise empty root and the capabilities that the contract lists.
type box struct {
	t      *testing.T
	world  *world
	cmd    *exec.Cmd
	dir    string // what is mounted
	config sidecars.Config
	key    secret.Value
	stderr *output
	exited chan struct{}
}

// output is a buffer that is written and read at once.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	// A program built for coverage says so by itself.
	return strings.ReplaceAll(o.b.String(), "warning: GOCOVERDIR not set, no coverage data emitted\n", "")
}

// plan is what the box' first process is told.
type plan struct {
	Root, Config, Program string
	Host                  string
	Stubborn              bool
	Args, Env             []string
}

// userBase is where a box in a user namespace has its ids: outside of those
// that anybody has.
const userBase = 0x30000000

func newBox(t *testing.T, o boxOptions) *box {
	t.Helper()
	if os.Getuid() != 0 {
		missing(t, "a machine of its own takes root")
	}
	for _, tool := range []string{"ip", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing(t, tool+" is not here: install iproute2 and util-linux")
		}
	}
	b := &box{t: t, world: newWorld(t), stderr: &output{}, exited: make(chan struct{}), dir: filepath.Join(t.TempDir(), "config")}
	b.world.serve()
	b.write(o)
	program, err := os.Executable()
	check(t, err)
	p := plan{Root: filepath.Join(filepath.Dir(b.dir), "root"), Config: b.dir, Program: program, Stubborn: o.stubborn,
		Args: InitOptions{Listen: o.listen, Until: o.until}.Args(), Env: []string{"LEAK=not-for-daemons"}}
	p.Host = o.host
	check(t, os.Mkdir(p.Root, 0o755))
	if o.daemons != "" {
		p.Env = append(p.Env, sidecars.DaemonsEnv+"="+o.daemons)
	}
	if o.timing != "" {
		p.Env = append(p.Env, timingEnv+"="+o.timing)
	}
	if o.user {
		// Where the go command puts a test program is closed to others.
		data, err := os.ReadFile(program)
		check(t, err)
		p.Program = filepath.Join(filepath.Dir(b.dir), "program")
		check(t, os.WriteFile(p.Program, data, 0o755))
		check(t, os.Chmod(filepath.Dir(filepath.Dir(b.dir)), 0o755))
		check(t, filepath.WalkDir(filepath.Dir(b.dir), func(path string, _ os.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(path, userBase, userBase))
		}))
	}
	b.start(p, o.user)
	return b
}

func (b *box) write(o boxOptions) {
	b.t.Helper()
	cert, key, err := ca.NewAuthority(testBottle, time.Now().Add(time.Hour))
	check(b.t, err)
	if o.routes == nil {
		o.routes = []sidecars.Route{upstream()}
	}
	b.config, b.key = sidecars.Config{Bottle: testBottle, Routes: o.routes, CACert: string(cert)}, key
	secrets := b.secrets()
	if o.host != "" {
		secrets.BottlesToken = secret.New(testBottles)
	}
	check(b.t, WriteConfig(b.dir, b.config, secrets, b.world.roots))
	if o.spoil != nil {
		o.spoil(b.dir)
	}
}

func (b *box) secrets() sidecars.Secrets {
	return sidecars.Secrets{CAKey: b.key, Tokens: map[string]secret.Value{testSlot: secret.New(testToken)}}
}

func upstream() sidecars.Route {
	return sidecars.Route{Host: upstreamName, Private: []string{worldOutside}, Auth: &sidecars.Auth{Scheme: "Bearer", Slot: testSlot}}
}

// start starts the box, plugs its network in and lets it begin.
func (b *box) start(p plan, user bool) {
	b.t.Helper()
	b.cmd = exec.Command("/proc/self/exe", "box")
	b.cmd.Env = []string{}
	b.cmd.Stdout, b.cmd.Stderr = b.stderr, b.stderr
	b.cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
	}
	if user {
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: userBase, Size: 65536}}
		b.cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		b.cmd.SysProcAttr.UidMappings, b.cmd.SysProcAttr.GidMappings = ids, ids
		b.cmd.SysProcAttr.GidMappingsEnableSetgroups = true
		b.cmd.SysProcAttr.Credential = &syscall.Credential{}
	}
	in, err := b.cmd.StdinPipe()
	check(b.t, err)
	if err := b.cmd.Start(); err != nil {
		missing(b.t, "namespaces cannot be made: "+err.Error())
	}
	go func() {
		_ = b.cmd.Wait()
		close(b.exited)
	}()
	b.t.Cleanup(func() {
		_ = b.cmd.Process.Kill()
		<-b.exited
		if b.t.Failed() {
			b.t.Logf("the box said:\n%s", b.stderr)
		}
	})
	b.world.plug(b.cmd.Process.Pid)
	check(b.t, json.NewEncoder(in).Encode(p))
	check(b.t, in.Close())
	// Until then its root is the host's.
	eventually(b.t, "the box' first process is the init", func() bool {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", b.cmd.Process.Pid))
		select {
		case <-b.exited:
			return true
		default:
			return strings.HasPrefix(string(line), "bottle-mcp\x00sidecar\x00init\x00")
		}
	})
}

// enterBox is the first process of the box until it becomes the init. It
// returns only when that failed.
func enterBox() error {
	runtime.LockOSThread()
	var p plan
	if err := json.NewDecoder(os.Stdin).Decode(&p); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", p.Root, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount the root: %w", err)
	}
	binds := map[string]string{p.Program: "/bottle-mcp", p.Config: DefaultConfigDir, os.DevNull: os.DevNull}
	if p.Host != "" {
		binds[p.Host] = HostSocket
	}
	if file, err := elf.Open(p.Program); err == nil && file.Section(".interp") != nil { // built with cgo
		for _, dir := range []string{"/lib", "/lib64", "/usr/lib"} {
			binds[dir] = dir
		}
	}
	for from, to := range binds {
		if err := bind(from, p.Root+to); err != nil {
			return fmt.Errorf("bind %s: %w", from, err)
		}
	}
	if err := fill(p); err != nil {
		return err
	}
	if err := pivot(p.Root); err != nil {
		return err
	}
	for c := uintptr(0); c < lastCapability; c++ {
		if !slices.Contains(keptCapabilities(), c) {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); errors.Is(err, unix.EINVAL) {
				break
			}
		}
	}
	return unix.Exec("/bottle-mcp", append([]string{"bottle-mcp"}, p.Args...), p.Env)
}

// keptCapabilities is Capabilities in numbers.
func keptCapabilities() []uintptr {
	numbers := map[string]uintptr{
		"DAC_OVERRIDE": unix.CAP_DAC_OVERRIDE, "SETUID": unix.CAP_SETUID, "SETGID": unix.CAP_SETGID,
		"SETPCAP": unix.CAP_SETPCAP, "KILL": unix.CAP_KILL,
	}
	var out []uintptr
	for _, name := range Capabilities() {
		out = append(out, numbers[name])
	}
	return out
}

func bind(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		err = os.MkdirAll(to, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(to), 0o755); err == nil {
		err = os.WriteFile(to, nil, 0o755)
	}
	if err != nil {
		return err
	}
	return unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, "")
}

func fill(p plan) error {
	for _, dir := range []string{"/proc", "/etc"} {
		if err := os.MkdirAll(p.Root+dir, 0o755); err != nil {
			return err
		}
	}
	if p.Stubborn {
		if err := os.WriteFile(p.Root+stubbornFile, nil, 0o644); err != nil {
			return err
		}
	}
	if err := os.WriteFile(p.Root+"/etc/resolv.conf", []byte("nameserver "+worldOutside+"\n"), 0o644); err != nil {
		return err
	}
	return unix.Mount("proc", p.Root+"/proc", "proc", 0, "")
}

func pivot(root string) error {
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	return os.Chdir("/")
}

// inside runs the box' program in the box.
func (b *box) inside(args ...string) (string, int) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 2*testWait)
	defer cancel()
	argv := []string{"-t", strconv.Itoa(b.cmd.Process.Pid), "-m", "-n", "-p", "-i", "-u"}
	if b.cmd.SysProcAttr.Cloneflags&unix.CLONE_NEWUSER != 0 {
		argv = append(argv, "-U", "-S", "0", "-G", "0")
	}
	cmd := exec.CommandContext(ctx, "nsenter", append(append(argv, "/bottle-mcp"), args...)...)
	cmd.Env = []string{}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		b.t.Fatalf("run %v in the box: %v", args, err)
	}
	if stderr.Len() > 0 {
		b.t.Logf("%v: %s", args, &stderr)
	}
	return stdout.String(), cmd.ProcessState.ExitCode()
}

// ready waits until the box serves.
func (b *box) ready() Report {
	b.t.Helper()
	r, code := b.ask(testWait)
	if code != 0 || !r.Ready {
		b.t.Fatalf("not ready: code %d, %+v", code, r)
	}
	return r
}

func (b *box) ask(timeout time.Duration) (Report, int) {
	b.t.Helper()
	out, code := b.inside(ReadyArgs(timeout)...)
	var r Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || strings.Count(out, "\n") != 1 {
		b.t.Fatalf("ready printed %q, want one line of JSON: %v", out, err)
	}
	return r, code
}

// guest is the guest's client.
func (b *box) guest() *http.Client {
	return client([]byte(b.config.CACert), func() (net.Conn, error) {
		return b.world.dial(sidecarInside+":"+strconv.Itoa(sidecars.EgressPort), 5*time.Second)
	})
}

// wait returns the box' exit code.
func (b *box) wait(within time.Duration) int {
	b.t.Helper()
	select {
	case <-b.exited:
		return b.cmd.ProcessState.ExitCode()
	case <-time.After(within):
		b.t.Fatalf("it still runs after %s", within)
		return -1
	}
}

func (b *box) signal(sig syscall.Signal) {
	b.t.Helper()
	check(b.t, b.cmd.Process.Signal(sig))
}

// processes are the numbers, on the host, of the processes in the box.
func (b *box) processes() []int {
	b.t.Helper()
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", b.cmd.Process.Pid))
	check(b.t, err)
	entries, err := os.ReadDir("/proc")
	check(b.t, err)
	var out []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid)); err == nil && ns == own {
			out = append(out, pid)
		}
	}
	return out
}

// daemon is the number, on the host, of the daemon.
func (b *box) daemon() int { return b.daemonOf(sidecars.Egress) }

func (b *box) daemonOf(name sidecars.Service) int {
	b.t.Helper()
	for _, pid := range b.processes() {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if string(line) == "bottle-mcp\x00sidecar\x00daemon\x00"+string(name)+"\x00" {
			return pid
		}
	}
	b.t.Fatal("no daemon runs")
	return 0
}

// eventually waits until f is true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(testWait); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, testWait)
		}
	}
}

func readAll(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	check(t, err)
	defer f.Close()
	data, err := io.ReadAll(f)
	check(t, err)
	return string(data)
}
