package provision_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/provision/provisiontest"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
)

// init keeps the main goroutine on the main thread, as it is where the product
// starts these processes: what /proc says of a process it says of that thread.
func init() { runtime.LockOSThread() } //nolint:gochecknoinits // see above

// TestMain makes the test program what the linux backend starts.
func TestMain(m *testing.M) {
	args := os.Args[1:]
	if handled, code := linux.Hidden(args); handled {
		os.Exit(code)
	}
	if handled, code := provisiontest.Hidden(args, os.Stdin, os.Stdout); handled {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// leaky is the linux backend with a hole: right after the agent has started,
// and before the self-test, a cable is plugged into the guest.
type leaky struct {
	backend.Backend
	plug func(backend.ID) error
}

func (l leaky) StartAgent(ctx context.Context, spec backend.AgentSpec) (backend.Account, error) {
	account, err := l.Backend.StartAgent(ctx, spec)
	return account, errors.Join(err, l.plug(spec.ID))
}

// TestLeakTurnsRed is the positive control of the isolation self-test on the
// real engine: with a way to a fake Internet, in a namespace made here, the
// launch fails, says why, and leaves nothing; without it the same launch works.
func TestLeakTurnsRed(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("plugging a cable into a guest takes root")
	}
	store, err := state.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	engine := linux.New(linux.Config{BottlesDir: store.BottlesDir(), Owner: store.Owner()})
	world := &internet{t: t}
	var tight atomic.Bool
	m, err := provision.NewManager(provision.Config{
		Backends: []backend.Backend{leaky{engine, func(id backend.ID) error {
			if tight.Load() {
				return nil
			}
			return world.plug(guestPID(t, filepath.Join(store.BottlesDir(), string(id))))
		}}},
		State: store, LookupEnv: os.LookupEnv, ManifestHome: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	launch := func() (*provision.Bottle, error) {
		plan, err := m.Plan(t.Context(), provision.LaunchRequest{Principal: provision.Principal{Kind: provision.Operator}})
		if err != nil {
			t.Fatalf("Plan: %v", err)
		}
		return m.Launch(t.Context(), plan, func(provision.Event) {})
	}

	_, err = launch()
	var red *provision.IsolationError
	if !errors.As(err, &red) {
		t.Fatalf("launch with a leak = %v, want an IsolationError", err)
	}
	for _, name := range []string{"tcp4-direct", "udp53-direct", "interfaces", "routes"} {
		for _, as := range []string{"agent", "root"} {
			if !slices.ContainsFunc(red.Report.Checks, func(c provision.Check) bool { return c.Name == name && c.As == as && !c.OK }) {
				t.Errorf("%s as %s is not red", name, as)
			}
		}
	}
	if world.reached.Load() == 0 {
		t.Error("nothing arrived at the fake Internet: the leak leaked nothing, so this proves nothing")
	}
	if left, err := engine.List(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("left behind: %+v, %v", left, err)
	}
	if entries, err := os.ReadDir(store.BottlesDir()); err != nil || len(entries) != 0 {
		t.Errorf("directories left behind: %v, %v", entries, err)
	}

	tight.Store(true)
	b, err := launch()
	if err != nil {
		t.Fatalf("the same launch without the leak: %v", err)
	}
	items, err := m.Cleanup(t.Context(), provision.CleanupRequest{
		IDs: []backend.ID{b.ID}, Principal: provision.Principal{Kind: provision.Operator},
	}, func(provision.Event) {})
	if err != nil || len(items) != 1 || !items[0].Done {
		t.Errorf("Cleanup = %+v, %v", items, err)
	}
}

// guestPID reads PID 1's number on the host from the engine's record.
func guestPID(t *testing.T, dir string) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "shim.json"))
	if err != nil {
		t.Fatal(err)
	}
	var record struct{ Guest struct{ PID int } }
	if err := json.Unmarshal(data, &record); err != nil || record.Guest.PID == 0 {
		t.Fatalf("the engine's record names no guest: %v", err)
	}
	return record.Guest.PID
}

// internet is a network namespace that owns the self-test's targets and counts
// what arrives there.
type internet struct {
	t       *testing.T
	reached atomic.Int64
}

// plug connects the guest with a new fake Internet by a veth and gives it a
// default route, all on a thread that lives in the new namespace.
func (w *internet) plug(guest int) error {
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread, and its namespace, end with it
		err := unix.Unshare(unix.CLONE_NEWNET)
		for _, line := range []string{
			"ip link set lo up",
			"ip link add world type veth peer name leak netns " + strconv.Itoa(guest),
			"ip addr add 198.51.100.1/24 dev world",
			"ip link set world up",
			"ip addr add 203.0.113.1/32 dev lo",
			"nsenter -t " + strconv.Itoa(guest) + " -n ip addr add 198.51.100.2/24 dev leak",
			"nsenter -t " + strconv.Itoa(guest) + " -n ip link set leak up",
			"nsenter -t " + strconv.Itoa(guest) + " -n ip route add default via 198.51.100.1",
		} {
			if err == nil {
				err = command(line)
			}
		}
		if err == nil {
			err = w.serve()
		}
		ready <- err
		<-w.t.Context().Done()
	}()
	return <-ready
}

func command(line string) error {
	argv := strings.Fields(line)
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", line, err, out)
	}
	return nil
}

// serve answers on a target and waits until the way there works.
func (w *internet) serve() error {
	l, err := net.Listen("tcp", "203.0.113.1:80")
	if err != nil {
		return err
	}
	w.t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.reached.Add(1)
			_ = c.SetDeadline(time.Now().Add(time.Second))
			_ = c.Close()
		}
	}()
	return nil
}
