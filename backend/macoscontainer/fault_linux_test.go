package macoscontainer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/cli"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ca"
)

// faultScale shortens the deadlines so that a program that hangs is given up on
// within seconds. Calls of the stand-in take half a second, on a busy machine
// more.
const faultScale = 0.08

// faulty is a backend whose calls go wrong.
func faulty(t *testing.T, topo topology) *standin {
	t.Helper()
	s := newStandin(t, map[string]string{EnvTopology: string(topo)})
	cfg := s.cfg
	cfg.CLI = cli.Config{Scale: faultScale}
	s.Backend = New(cfg)
	return s
}

// attempt is a whole launch with one command.
func (s *standin) attempt(ctx context.Context, t *testing.T, id backend.ID) error {
	t.Helper()
	cert, key, err := ca.NewAuthority(string(id), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.StartSidecar(ctx, backend.SidecarSpec{
		ID: id, Owner: s.cfg.Owner, Services: []sidecars.Service{sidecars.Egress},
		Config:  sidecars.Config{Bottle: string(id), Routes: []sidecars.Route{}, CACert: string(cert)},
		Secrets: sidecars.Secrets{CAKey: key}, Expires: time.Now().Add(10 * time.Minute),
	})
	if err != nil {
		// What a failed start made is gone with its error.
		if left := s.left(t, id); !slices.Equal(left, s.theirs) {
			t.Errorf("StartSidecar failed (%v) and left %q", err, left)
		}
		return fmt.Errorf("StartSidecar: %w", err)
	}
	_, err = s.StartAgent(ctx, backend.AgentSpec{ID: id, CACert: cert, Env: []string{"PATH=/usr/bin:/bin", "HOME=" + backend.AgentHome}})
	if err != nil {
		return fmt.Errorf("StartAgent: %w", err)
	}
	var out bytes.Buffer
	// A command's time is the caller's to bound.
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	status, err := s.Exec(ctx, id, backend.Command{Argv: []string{"echo", "hello"}}, backend.Streams{Stdout: &out})
	if err != nil || status.Code != 0 || out.String() != "hello\n" {
		return errors.Join(fmt.Errorf("Exec in %s: %+v, %q", id, status, out.String()), err)
	}
	return nil
}

// left is what there still is of a bottle: in the engine, by its own word, and
// in files.
func (s *standin) left(t *testing.T, id backend.ID) []string {
	t.Helper()
	e := s.world.Engine(t)
	var left []string
	for _, name := range slices.Concat(e.Containers, e.Networks, e.Files, e.Sockets) {
		if strings.Contains(name, string(id)) {
			left = append(left, name)
		}
	}
	for _, path := range []string{s.dir(id), s.socketDir(id)} {
		if _, err := os.Lstat(path); err == nil {
			left = append(left, path)
		}
	}
	return left
}

// place is one call of a launch: the n-th of its command.
type place struct {
	command string
	skip    int
}

// places are the calls so far, by their commands.
func places(t *testing.T, w *world.World) []place {
	t.Helper()
	var out []place
	seen := map[string]int{}
	for _, c := range w.CallLog(t) {
		command := commandOf(c.Argv)
		out = append(out, place{command, seen[command]})
		seen[command]++
	}
	return out
}

// commandOf is the command of an argument vector.
func commandOf(argv []string) string {
	groups := []string{"network", "image", "system", "builder", "volume"}
	if len(argv) > 1 && slices.Contains(groups, argv[0]) {
		return argv[0] + " " + argv[1]
	}
	if len(argv) == 0 {
		return ""
	}
	return argv[0]
}

// TestFaultMatrix lets every call of a launch go wrong in every way: the launch
// fails or works, and afterwards nothing is left, by the engine's own word.
func TestFaultMatrix(t *testing.T) {
	for _, topo := range []topology{twoNetwork, socket} {
		t.Run(string(topo), func(t *testing.T) {
			s := faulty(t, topo)
			// The image is loaded once and stays.
			if err := s.attempt(t.Context(), t, "warm"); err != nil {
				t.Fatal(err)
			}
			if err := s.Remove(t.Context(), "warm"); err != nil {
				t.Fatal(err)
			}
			before := s.world.Engine(t)
			begun := len(s.world.CallLog(t))
			if err := s.attempt(t.Context(), t, "good"); err != nil {
				t.Fatal(err)
			}
			calls := places(t, s.world)[begun:]
			if err := s.Remove(t.Context(), "good"); err != nil {
				t.Fatal(err)
			}
			removal := places(t, s.world)[begun+len(calls):]
			actions := []string{"fail", "hang", "garbage", "kill"}
			if topo == socket { // the calls are the same; what they leave is not
				actions = []string{"fail", "kill-after"}
			}
			s.matrix(t, before, matrix{relative(calls), actions, s.broken})
			s.matrix(t, before, matrix{relative(removal), actions, s.brokenRemoval})
		})
	}
}

// relative counts from the first of the places.
func relative(calls []place) []place {
	seen := map[string]int{}
	out := make([]place, 0, len(calls))
	for _, c := range calls {
		out = append(out, place{c.command, seen[c.command]})
		seen[c.command]++
	}
	return out
}

// matrix is every call with every action.
type matrix struct {
	calls   []place
	actions []string
	run     func(*testing.T, place, string)
}

func (s *standin) matrix(t *testing.T, before world.Engine, m matrix) {
	t.Helper()
	if len(m.calls) < 4 {
		t.Fatalf("only %d calls: %+v", len(m.calls), m.calls)
	}
	for i, c := range m.calls {
		for _, action := range m.actions {
			t.Run(fmt.Sprintf("%d %s %s", i, c.command, action), func(t *testing.T) {
				m.run(t, c, action)
				s.world.ClearFault(t, world.FaultNext)
				if left := s.world.Engine(t).Since(before); len(left) > 0 {
					t.Errorf("left behind: %q", left)
				}
				for _, dir := range []string{s.cfg.BottlesDir, s.cfg.SocketDir} {
					if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) > 0 {
						t.Errorf("left behind: %q", names)
					}
				}
			})
		}
	}
}

// broken is a launch with one bad call.
func (s *standin) broken(t *testing.T, c place, action string) {
	s.world.SetNext(t, world.Next{Match: c.command, Skip: c.skip, Action: action})
	start := time.Now()
	err := s.attempt(t.Context(), t, "bad")
	t.Logf("after %s: %v", time.Since(start).Round(time.Millisecond), err)
	if err != nil {
		readable(t, err)
	}
	if err := s.Remove(t.Context(), "bad"); err != nil {
		t.Errorf("Remove: %v", err)
	}
}

// brokenRemoval is a removal with one bad call, and another that mends it.
func (s *standin) brokenRemoval(t *testing.T, c place, action string) {
	if err := s.attempt(t.Context(), t, "bad"); err != nil {
		t.Fatal(err)
	}
	s.world.SetNext(t, world.Next{Match: c.command, Skip: c.skip, Action: action})
	if err := s.Remove(t.Context(), "bad"); err != nil {
		t.Logf("the first removal: %v", err)
		readable(t, err)
		if i, err := s.List(t.Context()); err != nil || len(i) == 0 {
			t.Errorf("what is left is not listed: %v, %v", i, err)
		}
	}
	s.world.ClearFault(t, world.FaultNext)
	if err := s.Remove(t.Context(), "bad"); err != nil {
		t.Errorf("the second removal: %v", err)
	}
}

// readable demands one line that says what failed.
func readable(t *testing.T, err error) {
	t.Helper()
	if text := err.Error(); !strings.Contains(text, "bad") || len(text) > 6000 {
		t.Errorf("the error names no bottle, or is too long: %.300s", text)
	}
}

// TestInterrupted ends a launch's context at each of its calls.
func TestInterrupted(t *testing.T) {
	s := newStandin(t, nil)
	if err := s.attempt(t.Context(), t, "warm"); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), "warm"); err != nil {
		t.Fatal(err)
	}
	before := s.world.Engine(t)
	for n := 1; ; n++ {
		ctx, cancel := context.WithCancel(t.Context())
		seen := 0
		cfg := s.cfg
		cfg.CLI.Record = func([]string) {
			if seen++; seen == n {
				cancel()
			}
		}
		cut := &standin{Backend: New(cfg), world: s.world, settings: s.settings}
		err := cut.attempt(ctx, t, "cut")
		finished := err == nil && ctx.Err() == nil
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("at call %d: %v", n, err)
		}
		if err := s.Remove(t.Context(), "cut"); err != nil {
			t.Errorf("at call %d: %v", n, err)
		}
		if left := s.world.Engine(t).Since(before); len(left) > 0 {
			t.Errorf("at call %d left behind: %q", n, left)
		}
		if finished || n > 60 {
			t.Logf("interrupted at %d calls", n-1)
			break
		}
	}
}

// TestForeignObjects has other people's containers and networks under our
// names: they are refused, and survive every removal.
func TestForeignObjects(t *testing.T) {
	s := newStandin(t, nil)
	if err := s.attempt(t.Context(), t, "warm"); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), "warm"); err != nil {
		t.Fatal(err)
	}
	for _, r := range []role{roleAgent, roleSidecar, roleInternal, roleEgress} {
		t.Run(string(r), func(t *testing.T) {
			name := r.name("task")
			var err error
			if r == roleAgent || r == roleSidecar {
				_, err = s.cli.Run(t.Context(), cli.RunRequest{Name: name, Image: world.AgentImage, Args: []string{"sleep", "1000"}, UID: -1, GID: -1})
			} else {
				err = s.cli.NetworkCreate(t.Context(), cli.NetworkRequest{Name: name})
			}
			if err != nil {
				t.Fatal(err)
			}
			before := s.world.Engine(t)
			s.theirs = s.left(t, "task")
			if err := s.attempt(t.Context(), t, "task"); !errors.Is(err, backend.ErrTaken) {
				t.Errorf("error is %v", err)
			}
			if err := s.Remove(t.Context(), "task"); err != nil {
				t.Errorf("Remove: %v", err)
			}
			if i, err := s.List(t.Context()); err != nil || len(i) != 0 {
				t.Errorf("List: %+v, %v", i, err)
			}
			after := s.world.Engine(t)
			if left := after.Since(before); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
			if lost := before.Since(after); len(lost) > 0 {
				t.Errorf("another's objects are gone: %q", lost)
			}
			if r == roleAgent || r == roleSidecar {
				err = s.cli.Delete(t.Context(), name, true)
			} else {
				err = s.cli.NetworkDelete(t.Context(), name)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRestarted has a guest and a sidecar that somebody started again: they are
// not the ones whose isolation was tested.
func TestRestarted(t *testing.T) {
	for _, r := range []role{roleAgent, roleSidecar} {
		t.Run(string(r), func(t *testing.T) {
			s := newStandin(t, nil)
			if err := s.attempt(t.Context(), t, "task"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(1100 * time.Millisecond) // the engine's times have no fractions
			program := filepath.Join(s.world.Bin, "container")
			for _, verb := range []string{"stop", "start"} {
				if out, err := runProgram(t, program, verb, r.name("task")); err != nil {
					t.Fatalf("%s: %v: %s", verb, err, out)
				}
			}
			s.seen.forget("task")
			_, err := s.Exec(t.Context(), "task", backend.Command{Argv: []string{"true"}}, backend.Streams{})
			// A sidecar without its secrets, which were handed over once, ends
			// at once: the guest has no way out any more, and is the tested one.
			if r == roleAgent && (!errors.Is(err, backend.ErrNotRunning) || !strings.Contains(err.Error(), "started again")) {
				t.Errorf("Exec: %v", err)
			}
			if r == roleSidecar {
				s.noWayOut(t, "task")
			}
			if i, err := s.List(t.Context()); err != nil || len(i) != 1 || i[0].State != backend.Degraded {
				t.Errorf("List: %+v, %v", i, err)
			}
			if err := s.Remove(t.Context(), "task"); err != nil || len(s.left(t, "task")) > 0 {
				t.Errorf("Remove: %v, left %q", err, s.left(t, "task"))
			}
		})
	}
}

// noWayOut demands that a guest reaches no sidecar.
func (s *standin) noWayOut(t *testing.T, id backend.ID) {
	t.Helper()
	r, err := s.readRecord(id)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	status, err := s.Exec(t.Context(), id, backend.Command{
		Argv: []string{backend.GuestBinary, "fetch", "http://_egress.local/healthz"}, Env: []string{"HTTP_PROXY=" + r.Endpoints.Egress},
	}, backend.Streams{Stdout: &out})
	if err == nil && (status.Code == 0 || strings.Contains(out.String(), "ok")) {
		t.Errorf("the sidecar that was started again serves: %+v, %q", status, out.String())
	}
}

// TestServiceDown has an engine whose service went away under a bottle.
func TestServiceDown(t *testing.T) {
	s := newStandin(t, nil)
	if err := s.attempt(t.Context(), t, "task"); err != nil {
		t.Fatal(err)
	}
	s.world.SetFault(t, world.FaultServiceDown, "")
	_, err := s.Check(t.Context())
	var u *backend.UnavailableError
	if !errors.As(err, &u) || !strings.Contains(u.Fix, "container system start") {
		t.Errorf("Check: %v", err)
	}
	s.seen.forget("task")
	for what, err := range map[string]error{
		"Exec": func() error {
			_, err := s.Exec(t.Context(), "task", backend.Command{Argv: []string{"true"}}, backend.Streams{})
			return err
		}(),
		"List":   func() error { _, err := s.List(t.Context()); return err }(),
		"Remove": s.Remove(t.Context(), "task"),
	} {
		if err == nil || !strings.Contains(err.Error(), "container system start") {
			t.Errorf("%s: %v", what, err)
		}
	}
	s.world.ClearFault(t, world.FaultServiceDown)
	if err := s.Remove(t.Context(), "task"); err != nil || len(s.left(t, "task")) > 0 {
		t.Errorf("Remove: %v, left %q", err, s.left(t, "task"))
	}
}

// TestReleases launches on other releases of the program and on Macs that
// cannot.
func TestReleases(t *testing.T) {
	for _, version := range []string{"1.0.0", "1.1.0", "1.2.2", "1.3.0"} {
		t.Run(version, func(t *testing.T) {
			s := newStandin(t, nil)
			s.world.SetFault(t, world.FaultVersion, version)
			if version == "1.3.0" {
				s.world.SetFault(t, world.FaultJSONShape, world.ShapeNew)
			}
			caps, err := s.Check(t.Context())
			if err != nil || !strings.Contains(caps.Detail, version) {
				t.Fatalf("Check: %+v, %v", caps.Detail, err)
			}
			if err := errors.Join(s.attempt(t.Context(), t, "task"), s.Remove(t.Context(), "task")); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("0.12.3", func(t *testing.T) {
		s := newStandin(t, nil)
		s.world.SetFault(t, world.FaultVersion, "0.12.3")
		s.world.SetFault(t, world.FaultJSONShape, world.ShapeOld)
		var u *backend.UnavailableError
		if _, err := s.Check(t.Context()); !errors.As(err, &u) || !strings.Contains(u.Reason, "older than 1.0.0") {
			t.Errorf("Check: %v", err)
		}
		// Other people's objects in the old shapes are read all the same.
		if i, err := s.List(t.Context()); err != nil || len(i) != 0 {
			t.Errorf("List: %v, %v", i, err)
		}
	})
	for name, value := range map[string][2]string{
		"macOS 15": {world.MacProductVersion, "15.6.1"}, "Intel": {world.MacMachine, "x86_64"}, "no Mac": {world.MacSystem, "Linux"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStandin(t, nil)
			s.world.SetMac(t, value[0], value[1])
			var u *backend.UnavailableError
			if _, err := s.Check(t.Context()); !errors.As(err, &u) || u.Fix == "" || len(u.Findings) == 0 {
				t.Errorf("Check: %v", err)
			}
		})
	}
}
