package selftest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test binary plays every part: the probe in a faulty guest (a director
// that first builds the fault), and the fake Internet beyond. All of them live
// in namespaces that the test makes, so that no packet leaves this machine.
const roleEnv = "SELFTEST_ROLE"

// Scenarios of a director.
const (
	sceneEmpty    = "empty"    // lo alone: what a guest should be
	sceneLeaky    = "leaky"    // a veth to a fake Internet that answers
	sceneRefusing = "refusing" // the same, and nobody listens there
	sceneSilent   = "silent"   // the same, and it drops what it is sent
	sceneRouted   = "routed"   // the same, and it says that nobody can be reached
)

// The decoys stand for services of the host.
const (
	decoyHost  = "192.0.2.10"
	decoyHost6 = "fe80::10"
)

func TestMain(m *testing.M) {
	role, arg, _ := strings.Cut(os.Getenv(roleEnv), ":")
	_ = os.Unsetenv(roleEnv)
	if slices.Equal(os.Args[1:], verb) {
		os.Exit(GuestMain(context.Background(), os.Stdin, os.Stdout))
	}
	switch role {
	case "":
		os.Exit(m.Run())
	case "machine":
		os.Exit(exitOn(machine(arg)))
	case "lan":
		os.Exit(lanDirector(arg))
	case "walled":
		os.Exit(exitOn(walled(arg)))
	case "internet":
		os.Exit(exitOn(internet(arg)))
	case "director":
		os.Exit(director(arg))
	}
	os.Exit(99)
}

func exitOn(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 70
	}
	return 0
}

// director builds a scene around itself and probes it.
func director(scene string) int {
	// The peer dies with the thread that forked it, and some probes end threads.
	runtime.LockOSThread()
	stop, err := build(scene)
	if err != nil {
		return exitOn(err)
	}
	defer stop()
	return GuestMain(context.Background(), os.Stdin, os.Stdout)
}

func build(scene string) (stop func(), err error) {
	if err := run("ip", "link", "set", "lo", "up"); err != nil {
		return nil, err
	}
	if scene == sceneEmpty {
		return func() {}, nil
	}
	// Without duplicate address detection addresses work at once.
	if err := sysctls(map[string]string{"ipv6/conf/all/accept_dad": "0", "ipv6/conf/default/accept_dad": "0"}); err != nil {
		return nil, err
	}
	peer, stop, err := startMachine("internet:" + scene)
	if err != nil {
		return nil, err
	}
	if err := doors(); err != nil {
		return nil, err
	}
	for _, line := range []string{
		"ip link add leak type veth peer name world netns " + strconv.Itoa(peer.pid),
		"ip addr add 198.51.100.2/24 dev leak",
		"ip addr add 2001:db8:f::2/64 dev leak nodad",
		"ip link set leak up",
	} {
		if err := run(strings.Fields(line)...); err != nil {
			return nil, err
		}
	}
	if err := peer.ready(); err != nil {
		return nil, err
	}
	for _, line := range []string{
		"ip route add default via 198.51.100.1", "ip -6 route add default via 2001:db8:f::1",
	} {
		if err := run(strings.Fields(line)...); err != nil {
			return nil, err
		}
	}
	if err := established(scene); err != nil || scene != sceneRouted {
		return stop, err
	}
	return stop, sysctls(map[string]string{"ipv4/ip_default_ttl": "1", "ipv6/conf/leak/hop_limit": "1"})
}

// established waits until both protocols reach the peer: a new link takes a
// moment, in which a leak would look closed.
func established(scene string) error {
	reached := []string{"198.51.100.1:1", "[2001:db8:f::1]:1"}
	if scene != sceneSilent && scene != sceneRouted {
		reached = append(reached, "[fe80::1%leak]:1")
	}
	for _, where := range reached {
		for end := time.Now().Add(10 * time.Second); ; {
			_, err := net.DialTimeout("tcp", where, 200*time.Millisecond)
			if errors.Is(err, unix.ECONNREFUSED) {
				break
			}
			if time.Now().After(end) {
				return fmt.Errorf("the peer's %s is not reached: %w", where, err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

// doors opens what only leads on within the guest's network namespace: a
// resolver on loopback and an abstract socket.
func doors() error {
	conn, err := net.ListenPacket("udp", "127.0.0.53:53")
	if err != nil {
		return err
	}
	go echo(conn)
	_, err = net.Listen("unix", "@decoy")
	return err
}

func echo(conn net.PacketConn) {
	buf := make([]byte, 512)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		_, _ = conn.WriteTo(buf[:n], from)
	}
}

func run(argv ...string) error {
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
	}
	return nil
}

// other is the process beyond the veth. It says "up" when it exists, is told
// "go" when its link is there, and says "up" again when it serves.
type other struct {
	pid int
	in  io.WriteCloser
	out io.Reader
}

func (o other) ready() error {
	if _, err := io.WriteString(o.in, "go"); err != nil {
		return err
	}
	return o.up()
}

func (o other) up() error {
	_, err := io.ReadFull(o.out, make([]byte, 2))
	return err
}

func startMachine(role string) (other, func(), error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return other{}, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return other{}, nil, err
	}
	if err := cmd.Start(); err != nil {
		return other{}, nil, err
	}
	o := other{cmd.Process.Pid, in, out}
	stop := func() { _ = in.Close(); _ = cmd.Process.Kill(); _ = cmd.Wait() }
	return o, stop, o.up()
}

// internet answers on every target, or refuses, or is silent.
func internet(scene string) error {
	if _, err := os.Stdout.WriteString("up"); err != nil {
		return err
	}
	if _, err := io.ReadFull(os.Stdin, make([]byte, 2)); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/accept_dad", []byte("0"), 0o644); err != nil {
		return err
	}
	own := append(targets(Default().Targets), decoyHost, "fe80::1", decoyHost6)
	if scene == sceneSilent || scene == sceneRouted {
		own = nil // not ours
	}
	if err := forwarding(scene == sceneRouted); err != nil {
		return err
	}
	addresses := append([]string{"198.51.100.1/24", "2001:db8:f::1/64"}, own...)
	if err := run("ip", "link", "set", "lo", "up"); err != nil {
		return err
	}
	for _, a := range addresses {
		// An address given twice by the targets is no error.
		if err := run("ip", "addr", "replace", a, "dev", "world", "nodad"); err != nil {
			return err
		}
	}
	if err := run("ip", "link", "set", "world", "up"); err != nil {
		return err
	}
	if scene == sceneRouted {
		for _, family := range []string{"-4", "-6"} {
			if err := run("ip", family, "route", "add", "default", "dev", "world"); err != nil {
				return err
			}
		}
	}
	if scene == sceneLeaky {
		if err := serve(); err != nil {
			return err
		}
	}
	if _, err := os.Stdout.WriteString("up"); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // until the director ends
	return nil
}

// forwarding makes this machine a router, or one that drops what is not its
// own: a namespace starts with what the host has. The router's clients send
// packets that live for one hop, so that it answers each of them at once; how
// often it may say that it knows no way is limited, and not to be changed here.
func forwarding(on bool) error {
	value := "0"
	if on {
		value = "1"
	}
	return sysctls(map[string]string{
		"ipv4/ip_forward": value, "ipv6/conf/all/forwarding": value, "ipv4/icmp_ratelimit": "0", "ipv6/icmp/ratelimit": "0",
	})
}

func sysctls(values map[string]string) error {
	for path, value := range values {
		if err := os.WriteFile("/proc/sys/net/"+path, []byte(value), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func targets(t Targets) []string {
	return append(append(append(append([]string{}, t.TCP4...), t.TCP6...), t.UDP...), t.Metadata...)
}

func serve() error {
	for _, port := range []string{"22", "80", "443"} {
		l, err := net.Listen("tcp", ":"+port)
		if err != nil {
			return err
		}
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_ = conn.Close()
			}
		}()
	}
	// One socket for each address, so that answers come from where they were asked.
	for _, a := range append(targets(Default().Targets), decoyHost) {
		conn, err := net.ListenPacket("udp", net.JoinHostPort(a, "53"))
		if err == nil {
			go echo(conn)
		}
	}
	return nil
}

// probeScene runs the probe in a scene.
func probeScene(t *testing.T, scene string, spec Spec, env ...string) Result {
	t.Helper()
	return probeAs(t, "director:"+scene, spec, env...)
}

// probeAs runs the probe under a director, in a network namespace and a process
// namespace of its own.
func probeAs(t *testing.T, role string, spec Spec, env ...string) Result {
	t.Helper()
	needNamespaces(t)
	result, err := probeIn(t.Context(), role, spec, env...)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func probeIn(ctx context.Context, role string, spec Spec, env ...string) (Result, error) {
	data, err := json.Marshal(spec)
	if err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cmd := namespaced(ctx, "/proc/self/exe")
	cmd.Env = append(append(os.Environ(), roleEnv+"="+role), env...)
	cmd.Stdin = bytes.NewReader(data)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err = cmd.Run()
	result, decodeErr := DecodeResult(out.Bytes(), spec)
	if decodeErr != nil {
		return Result{}, fmt.Errorf("%s: %w, %w: %s", role, err, decodeErr, &complaint)
	}
	return result, nil
}

// needNamespaces skips a test where the machine has no namespaces for it, and
// fails it where the whole suite was asked for.
func needNamespaces(t *testing.T) {
	t.Helper()
	out, err := namespaced(t.Context(), "ip", "link").CombinedOutput()
	switch {
	case err == nil:
	case os.Getenv("BOTTLE_MCP_STANDIN") == "1":
		t.Fatalf("no network namespaces with ip in them: %v: %s", err, out)
	default:
		t.Skipf("no network namespaces with ip in them: %v: %s", err, out)
	}
}

// namespaced is a command in namespaces of its own, as root of a user namespace
// when not root already.
func namespaced(ctx context.Context, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWNS,
		Pdeathsig:  unix.SIGKILL,
	}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return cmd
}
