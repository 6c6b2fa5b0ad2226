package macoscontainer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/cli"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/pid1"
)

// TestImageFaults lets every call of a build and of loading the sidecar's image
// go wrong: the next one works, and nothing but images and the builder stays.
func TestImageFaults(t *testing.T) {
	s := faulty(t, twoNetwork)
	files := s.world.BuildContext(t)
	build := func(ctx context.Context, i int) error {
		// Another file makes another image, so that nothing is reused.
		name := filepath.Join(files, fmt.Sprintf("n%d", i))
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.Remove(name) }()
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		_, err := s.PrepareImage(ctx, backend.ImageSpec{Dockerfile: filepath.Join(files, "Dockerfile")}, io.Discard)
		return err
	}
	begun := len(s.world.CallLog(t))
	if err := build(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	calls := relative(places(t, s.world)[begun:])
	if len(calls) < 3 {
		t.Fatalf("a build makes the calls %+v", calls)
	}
	n := 1
	for _, c := range calls {
		for _, action := range []string{"fail", "hang", "garbage", "kill"} {
			if action == "hang" && c.command == "build" {
				continue // its time is the caller's, see TestInterruptedBuild
			}
			t.Run(c.command+" "+action, func(t *testing.T) {
				s.world.SetNext(t, world.Next{Match: c.command, Skip: c.skip, Action: action})
				err := build(t.Context(), n)
				s.world.ClearFault(t, world.FaultNext)
				t.Logf("%v", err)
				n++
				if err := build(t.Context(), n); err != nil {
					t.Errorf("the next build: %v", err)
				}
				n++
				if left, _ := filepath.Glob(filepath.Join(s.cfg.CacheDir, "*stag*", "*")); len(left) > 0 {
					t.Errorf("left behind: %q", left)
				}
			})
		}
	}
}

// TestSidecarImageFaults has a load that fails: the next launch loads again.
func TestSidecarImageFaults(t *testing.T) {
	for _, action := range []string{"fail", "garbage", "kill"} {
		t.Run(action, func(t *testing.T) {
			s := faulty(t, twoNetwork)
			image, err := s.images.Sidecar(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := s.cli.ImageDelete(t.Context(), image); err != nil {
				t.Fatal(err)
			}
			s.world.SetNext(t, world.Next{Match: "image load", Action: action})
			err = s.attempt(t.Context(), t, "load")
			t.Logf("%v", err)
			s.world.ClearFault(t, world.FaultNext)
			if err := errors.Join(s.Remove(t.Context(), "load"), s.attempt(t.Context(), t, "again"), s.Remove(t.Context(), "again")); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestInterruptedBuild ends a build that hangs.
func TestInterruptedBuild(t *testing.T) {
	s := newStandin(t, nil)
	s.world.SetNext(t, world.Next{Match: "build", Action: "hang"})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	start := time.Now()
	_, err := s.PrepareImage(ctx, backend.ImageSpec{Dockerfile: filepath.Join(s.world.BuildContext(t), "Dockerfile")}, io.Discard)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 20*time.Second {
		t.Errorf("after %s: %v", time.Since(start), err)
	}
}

// TestWrongPlatform has images for another processor.
func TestWrongPlatform(t *testing.T) {
	s := newStandin(t, nil)
	s.world.SetFault(t, "wrong-platform", "")
	if _, err := s.PrepareImage(t.Context(), backend.ImageSpec{Reference: world.AgentImage}, io.Discard); err == nil || !strings.Contains(err.Error(), "linux/") {
		t.Errorf("error is %v", err)
	}
	if err := s.attempt(t.Context(), t, "task"); err == nil {
		t.Error("a launch from an image for another processor works")
	}
	if err := s.Remove(t.Context(), "task"); err != nil || len(s.left(t, "task")) > 0 {
		t.Errorf("Remove: %v, left %q", err, s.left(t, "task"))
	}
}

// TestVanished is an engine that forgets containers as soon as they end.
func TestVanished(t *testing.T) {
	s := newStandin(t, nil)
	s.world.SetFault(t, "stopped-vanishes", "")
	if err := s.attempt(t.Context(), t, "task"); err != nil {
		t.Fatal(err)
	}
	for _, r := range []role{roleAgent, roleSidecar} {
		if err := s.cli.Kill(t.Context(), r.name("task"), "KILL"); err != nil {
			t.Fatal(err)
		}
	}
	s.seen.forget("task")
	deadline := time.Now().Add(10 * time.Second)
	for {
		i, err := s.List(t.Context())
		if err == nil && len(i) == 1 && i[0].State == backend.Dead {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("List: %+v, %v", i, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if _, err := s.Exec(t.Context(), "task", backend.Command{Argv: []string{"true"}}, backend.Streams{}); !errors.Is(err, backend.ErrNotRunning) {
		t.Errorf("Exec: %v", err)
	}
	if err := s.Remove(t.Context(), "task"); err != nil || len(s.left(t, "task")) > 0 {
		t.Errorf("Remove: %v, left %q", err, s.left(t, "task"))
	}
}

// TestLongestID has names at the engine's limits, in both topologies.
func TestLongestID(t *testing.T) {
	id := backend.ID(strings.Repeat("long", 10))
	for _, topo := range []topology{twoNetwork, socket} {
		t.Run(string(topo), func(t *testing.T) {
			s := newStandin(t, map[string]string{EnvTopology: string(topo)})
			if err := errors.Join(s.attempt(t.Context(), t, id), s.Remove(t.Context(), id)); err != nil {
				t.Error(err)
			}
			// The engine puts the container's root before the socket's path.
			const before = "/run/container//rootfs"
			if n := len(before) + len(roleSidecar.name(id)) + len(sidecarSockets) + 1 + len(pid1.SocketName(sidecars.Bottles)); n > 107 {
				t.Errorf("a socket's path has %d bytes in the engine", n)
			}
		})
	}
}

// TestDiskFull has no room for a bottle's files.
func TestDiskFull(t *testing.T) {
	s := newStandin(t, nil)
	if err := errors.Join(s.attempt(t.Context(), t, "warm"), s.Remove(t.Context(), "warm")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(s.cfg.BottlesDir, 0o700); err != nil {
		t.Fatal(err)
	}
	before := s.world.Engine(t)
	for _, size := range []string{"4k", "16k", "300k"} {
		t.Run(size, func(t *testing.T) {
			if err := unix.Mount("none", s.cfg.BottlesDir, "tmpfs", 0, "size="+size); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = unix.Unmount(s.cfg.BottlesDir, unix.MNT_DETACH) }()
			err := s.attempt(t.Context(), t, "full")
			if !errors.Is(err, unix.ENOSPC) {
				t.Errorf("error is %v", err)
			}
			if err := s.Remove(t.Context(), "full"); err != nil {
				t.Errorf("Remove: %v", err)
			}
			if left := s.world.Engine(t).Since(before); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
			if names, _ := filepath.Glob(filepath.Join(s.cfg.BottlesDir, "*")); len(names) > 0 {
				t.Errorf("left behind: %q", names)
			}
		})
	}
}

// TestNoSecretStays has an engine that is gone when a bottle is removed: its
// secrets are not left until it comes back.
func TestNoSecretStays(t *testing.T) {
	s := faulty(t, twoNetwork)
	dir := filepath.Join(s.dir("task"), sidecarDir)
	put(t, filepath.Join(s.dir("task"), recordFile), `{"id":"task","owner":"`+s.cfg.Owner+`","topology":"two-network","services":[],"created":"2026-01-02T03:04:05Z","expires":"2036-01-02T03:04:05Z","endpoints":{}}`)
	for _, name := range []string{"ca/ca.key", "tokens/EGRESS_TOKEN_0"} {
		put(t, filepath.Join(dir, name), "secret")
	}
	s.world.SetFault(t, world.FaultServiceDown, "")
	if err := s.Remove(t.Context(), "task"); cli.KindOf(err) != cli.KindUnavailable {
		t.Errorf("Remove: %v", err)
	}
	for _, name := range []string{"ca/ca.key", "tokens/EGRESS_TOKEN_0"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
	if i, err := os.Lstat(filepath.Join(s.dir("task"), recordFile)); err != nil || i.Size() == 0 {
		t.Errorf("the record is gone although something may be left: %v", err)
	}
	s.world.ClearFault(t, world.FaultServiceDown)
	if err := s.Remove(t.Context(), "task"); err != nil || len(s.left(t, "task")) > 0 {
		t.Errorf("Remove: %v, left %q", err, s.left(t, "task"))
	}
}

// TestSubnetMoves is a service that was restarted and gives the bottle's
// networks other subnets: the bottle is refused and removed.
func TestSubnetMoves(t *testing.T) {
	s := newStandin(t, nil)
	if err := s.attempt(t.Context(), t, "task"); err != nil {
		t.Fatal(err)
	}
	before, err := s.cli.NetworkInspect(t.Context(), roleInternal.name("task"))
	if err != nil {
		t.Fatal(err)
	}
	s.world.SetFault(t, world.FaultSubnetChanges, "")
	time.Sleep(1100 * time.Millisecond) // the engine's times have no fractions
	for _, verb := range []string{"stop", "start"} {
		for _, r := range []role{roleAgent, roleSidecar} {
			if out, err := runProgram(t, filepath.Join(s.world.Bin, "container"), verb, r.name("task")); err != nil {
				t.Fatalf("%s: %v: %s", verb, err, out)
			}
		}
	}
	after, err := s.cli.NetworkInspect(t.Context(), roleInternal.name("task"))
	if err != nil || after.Subnet == before.Subnet {
		t.Fatalf("the subnet is %s as before, %v: this proves nothing", after.Subnet, err)
	}
	s.seen.forget("task")
	if _, err := s.Exec(t.Context(), "task", backend.Command{Argv: []string{"true"}}, backend.Streams{}); !errors.Is(err, backend.ErrNotRunning) {
		t.Errorf("Exec: %v", err)
	}
	if i, err := s.List(t.Context()); err != nil || len(i) != 1 || i[0].State == backend.Running {
		t.Errorf("List: %+v, %v", i, err)
	}
	if err := s.Remove(t.Context(), "task"); err != nil || len(s.left(t, "task")) > 0 {
		t.Errorf("Remove: %v, left %q", err, s.left(t, "task"))
	}
}
