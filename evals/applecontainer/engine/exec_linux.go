package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/faults"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/shape"
)

// ExecRequest runs a command in a running container.
type ExecRequest struct {
	ID        string
	Argv      []string
	Env       []string    // put behind the container's own
	User      *shape.User // nil = the container's
	GroupsAdd []uint32
	Workdir   string
	TTY       bool
	Detach    bool
	Streams   Streams
	Signals   <-chan os.Signal
}

// Streams are the caller's. Stdin nil is none.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Exec returns the command's status. The command goes straight to the runtime:
// Podman's own exec costs ten times as much and gives it other capabilities.
func (e *Engine) Exec(ctx context.Context, req ExecRequest) (int, error) {
	c, err := e.container(req.ID)
	if err != nil {
		return 0, err
	}
	r, err := e.alive(req.ID)
	if err != nil {
		return 0, err
	}
	if r == nil {
		return 0, Failf(InvalidState, "container %s is not running", req.ID)
	}
	process, err := e.execProcess(req, r)
	if err != nil {
		return 0, err
	}
	// When this program is killed, the rest goes with the container.
	dir, err := os.MkdirTemp(e.containerPath(req.ID), "exec-")
	if err != nil {
		return 0, err
	}
	code, err := e.execIn(ctx, c.PodmanID, process, req, dir)
	return code, errors.Join(err, os.RemoveAll(dir))
}

// execProcess is the init process's description with what the request changes.
// Nothing of it can be more than the container has, unless a fault is on.
func (e *Engine) execProcess(req ExecRequest, r *running) (*specs.Process, error) {
	process := &specs.Process{}
	if found, err := load(e.containerPath(req.ID, fileProcess), process); err != nil || !found {
		return nil, errors.Join(err, Failf(InvalidState, "container %s is not running", req.ID))
	}
	guest := &guestRoot{rootfs: fmt.Sprintf("/proc/%d/root", r.PID)}
	process.Args, process.Terminal = req.Argv, req.TTY
	process.Env = appendEnv(process.Env, req.Env)
	if req.User != nil {
		uid, gid, groups, err := guest.user(*req.User, nil)
		if err != nil {
			return nil, err
		}
		process.User = specs.User{UID: uid, GID: gid, AdditionalGids: groups}
	}
	process.User.AdditionalGids = append(process.User.AdditionalGids, req.GroupsAdd...)
	if req.Workdir != "" {
		process.Cwd = path.Join("/", req.Workdir)
	}
	if e.faults.On(faults.ExecRegainsCaps) {
		have, err := e.available()
		if err != nil {
			return nil, err
		}
		process.Capabilities = capabilityFields(capabilitySet(nil, nil, have))
	}
	if !guest.executable(req.Argv[0], process.Env) {
		return nil, missingExecutable(req.Argv[0])
	}
	if err := guest.makeDirectory(process.Cwd); err != nil {
		return nil, because(err, "failed to create the working directory %s", process.Cwd)
	}
	return process, nil
}

// appendEnv puts variables behind those that are there. In Apple's guest both
// are handed over and getenv finds the first one; the runtime here would let
// the last one win, so a variable that is set already is left out.
func appendEnv(own, more []string) []string {
	out := slices.Clone(own)
	for _, kv := range more {
		name, _, _ := strings.Cut(kv, "=")
		if !slices.ContainsFunc(out, func(have string) bool { return strings.HasPrefix(have, name+"=") }) {
			out = append(out, kv)
		}
	}
	return out
}

// Files of one exec.
const (
	execProcessFile = "process.json"
	execPIDFile     = "pid"
	execLogFile     = "log"
	execConsole     = "console"
)

func (e *Engine) execIn(ctx context.Context, podmanID string, process *specs.Process, req ExecRequest, dir string) (int, error) {
	data, err := json.Marshal(process)
	if err != nil {
		return 0, err
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(file(execProcessFile), data, 0o600); err != nil {
		return 0, err
	}
	args := []string{"--log=" + file(execLogFile), "exec", "--process", file(execProcessFile), "--pid-file", file(execPIDFile)}
	if req.Detach {
		args = append(args, "--detach")
	}
	cmd := exec.CommandContext(ctx, "crun", args...)
	// The guest's process outlives a program that is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	x := &execution{cmd: cmd, pidFile: file(execPIDFile), signals: req.Signals}
	if req.TTY {
		return x.terminal(req.Streams, file(execConsole), podmanID)
	}
	cmd.Args = append(cmd.Args, podmanID)
	code, err := x.run(req)
	if _, statErr := os.Stat(file(execPIDFile)); err == nil && code != 0 && errors.Is(statErr, fs.ErrNotExist) {
		text, _ := os.ReadFile(file(execLogFile)) // empty: there is nothing to add
		return 0, because(errors.New(lastLine(string(text))), "failed to exec in container %s", req.ID)
	}
	return code, err
}

// execution is one run of the runtime for an exec.
type execution struct {
	cmd     *exec.Cmd
	pidFile string
	signals <-chan os.Signal
}

func (x *execution) run(req ExecRequest) (int, error) {
	if req.Detach {
		return exitCode(x.cmd.Run())
	}
	pipes, err := openPipes(req.Streams)
	if err != nil {
		return 0, err
	}
	x.cmd.Stdin, x.cmd.Stdout, x.cmd.Stderr = pipes.theirs[0], pipes.theirs[1], pipes.theirs[2]
	if err := x.cmd.Start(); err != nil {
		return 0, errors.Join(err, pipes.close())
	}
	pipes.release()
	return x.wait(pipes)
}

// wait passes signals on until the process has ended, and then what it wrote.
func (x *execution) wait(pipes *pipes) (int, error) {
	ended := make(chan error, 1)
	go func() { ended <- x.cmd.Wait() }()
	code, err := forward(x.signals, ended, x.signal)
	return code, errors.Join(err, pipes.drain())
}

// signal sends a signal to the process in the guest.
func (x *execution) signal(signal syscall.Signal) {
	var pid int
	eventually(context.Background(), time.Second, func() bool {
		text, err := os.ReadFile(x.pidFile)
		if err == nil {
			pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		return err == nil && pid > 0
	})
	if pid > 0 {
		_ = unix.Kill(pid, signal) // it may have ended meanwhile
	}
}

// ErrGaveUp says that the program was told to end for the third time.
var ErrGaveUp = errors.New("interrupted three times")

// forward passes signals on until the end. The third INT or TERM ends waiting.
func forward(signals <-chan os.Signal, ended <-chan error, send func(syscall.Signal)) (int, error) {
	insisted := 0
	for {
		select {
		case err := <-ended:
			return exitCode(err)
		case s := <-signals:
			signal, ok := s.(syscall.Signal)
			if !ok {
				continue
			}
			if signal == unix.SIGINT || signal == unix.SIGTERM {
				insisted++
			}
			if insisted == 3 {
				return 1, ErrGaveUp
			}
			send(signal)
		}
	}
}
