package world

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world/internet"
)

// Options say what a world is made with.
type Options struct {
	// Standin is the file that `container` in $PATH runs. Empty means that it
	// is built from package evals/applecontainer.
	Standin string
	// WithoutStandin leaves `container` out of $PATH.
	WithoutStandin bool
}

const standinPackage = "github.com/bottle-mcp/bottle-mcp/evals/applecontainer"

// Exit codes of a world that is not the payload's.
const (
	exitFailed  = 70 // the world could not be made, or fell
	exitMissing = 69 // something is not installed
)

// TestMain runs the tests of a package in a world of their own when GateEnv
// asks for it, and plainly otherwise; they skip then, each by New. It returns
// the exit code.
func TestMain(tests func() int, o Options) int {
	if os.Getenv(GateEnv) != "1" && os.Getenv(stageEnv) == "" {
		return tests()
	}
	return Run(tests, o)
}

// Run makes a world, runs payload in it and returns payload's exit code. It
// does so by starting the program again with the same arguments: whatever main
// does before Run happens in every process of the world, so call it first.
func Run(payload func() int, o Options) int {
	stage := os.Getenv(stageEnv)
	_ = os.Unsetenv(stageEnv)
	l := layout{os.Getenv(dirEnv)}
	switch stage {
	case "":
		if inside() {
			return payload()
		}
		return enter(o)
	case "groups":
		return failed(l.takeGroups())
	case "init":
		return initMain(l)
	case "internet":
		return failed(serveOutside(l))
	case "payload":
		return payload()
	}
	return failed(fmt.Errorf("%s=%s is no part of a world", stageEnv, stage))
}

// inside reports whether this process is in a world already. The environment
// may have been scrubbed since: the mark in the world's own /run stays, or a
// test that starts its own binary would make worlds in worlds without end.
func inside() bool {
	if os.Getenv(nestEnv) != "" {
		return false
	}
	_, err := os.Stat(worldMark)
	return err == nil
}

// current is the layout of the world that this process is in.
func current() (layout, error) {
	dir, err := os.ReadFile(worldMark)
	if err != nil {
		return layout{}, fmt.Errorf("this process is in no world: %w", err)
	}
	return layout{string(dir)}, nil
}

func failed(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "world:", err)
	return exitFailed
}

// enter is the part that stays outside: it makes the world's directory and
// groups, waits for the world to end and removes both.
func enter(o Options) int {
	if err := require(); err != nil {
		_ = failed(err)
		return exitMissing
	}
	// The world dies with the thread that started it.
	runtime.LockOSThread()
	_ = os.Unsetenv(nestEnv) // one level, not one in each
	l, lock, err := newLayout()
	if err != nil {
		return failed(err)
	}
	// Held until the end: who finds it free finds a dead world.
	defer func() { _ = os.RemoveAll(l.dir); _ = lock.Close() }()
	if err := l.fill(o); err != nil {
		return failed(err)
	}
	trees, err := makeGroups()
	if err != nil {
		return failed(err)
	}
	defer removeGroups(trees)
	data, err := json.Marshal(trees)
	if err != nil {
		return failed(err)
	}
	if err := os.WriteFile(l.cgroups(), data, 0o644); err != nil {
		return failed(err)
	}
	code, err := l.await()
	if err != nil {
		return failed(err)
	}
	return code
}

// fill writes everything that the world's processes read.
func (l layout) fill(o Options) error {
	if err := errors.Join(l.writeConfig(), l.writeTools(), internet.WriteCA(l.originCA(), l.originCAKey())); err != nil {
		return fmt.Errorf("the world's files cannot be written: %w", err)
	}
	if err := l.writeNames(firstNames()); err != nil {
		return err
	}
	if o.WithoutStandin {
		return os.Remove(filepath.Join(l.bin(), "container"))
	}
	if o.Standin != "" {
		path, err := filepath.Abs(o.Standin)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("the stand-in cannot be read: %w", err)
		}
		return os.WriteFile(l.standin(), data, 0o755)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-o", l.standin(), standinPackage)
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // it is also the guests' init, where there is no C library
	out, err := build.CombinedOutput()
	if err != nil {
		return fmt.Errorf("the stand-in cannot be built: %w: %s", err, out)
	}
	return nil
}

func (l layout) writeNames(names internet.Names) error {
	data, err := json.Marshal(names)
	if err != nil {
		return err
	}
	return replaceFile(l.names(), data)
}

// await starts the world and returns its exit code when all of it has ended.
func (l layout) await() (int, error) {
	madeStorage, err := storagePoint()
	if err != nil {
		return 0, err
	}
	if madeStorage {
		defer func() { _ = os.Remove(storageDir) }()
	}
	process, err := os.StartProcess("/proc/self/exe", os.Args, &os.ProcAttr{
		Env:   l.stage("groups"),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys: &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
			Pdeathsig:  unix.SIGKILL,
		},
	})
	if err != nil {
		return 0, fmt.Errorf("namespaces cannot be made: root needs CAP_SYS_ADMIN: %w", err)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	go func() {
		for range signals {
			// A payload that does not heed it has a moment.
			_ = process.Signal(unix.SIGTERM)
			time.AfterFunc(3*time.Second, func() { _ = process.Kill() })
		}
	}()
	// Wait returns when every process of the namespace is gone.
	state, err := process.Wait()
	signal.Stop(signals)
	close(signals)
	if err != nil {
		return 0, err
	}
	if state.Exited() {
		return state.ExitCode(), nil
	}
	return 0, fmt.Errorf("the world fell: %s", state)
}

const storageDir = "/var/lib/containers"

// storagePoint makes sure that there is a place to mount Podman's storage at.
func storagePoint() (made bool, err error) {
	if err := os.Mkdir(storageDir, 0o755); errors.Is(err, os.ErrExist) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("%s cannot be made: %w", storageDir, err)
	}
	return true, nil
}

// stage is the environment of the process that plays the next part. Of a name
// that stands twice the first would count.
func (l layout) stage(name string) []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, stageEnv+"=") || strings.HasPrefix(kv, dirEnv+"=")
	})
	return append(env, stageEnv+"="+name, dirEnv+"="+l.dir)
}

// takeGroups enters the cgroups and becomes the world's init.
func (l layout) takeGroups() error {
	runtime.LockOSThread()
	trees, err := readGroups(l.cgroups())
	if err != nil {
		return fmt.Errorf("the world's cgroups are not known: %w", err)
	}
	if err := enterGroups(trees); err != nil {
		return err
	}
	return fmt.Errorf("the world's init cannot be started: %w", unix.Exec("/proc/self/exe", os.Args, l.stage("init")))
}
