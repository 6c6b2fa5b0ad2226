package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// process is a proxy that was started here. Its numbers are read from outside.
type process struct {
	cmd    *exec.Cmd
	pid    int // of the one that serves, which cmd may have started
	stderr bytes.Buffer
	exited chan struct{}
}

// start starts a program with nothing of the environment but its PATH.
func (p *process) start(cmd *exec.Cmd) error {
	p.stderr.Reset()
	cmd.Stdout, cmd.Stderr = &p.stderr, &p.stderr
	cmd.Env = append(cmd.Env, "PATH="+os.Getenv("PATH"))
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &unix.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
	// The sidecar's daemon has a session of its own, and the kernel shares the
	// processors out by sessions: so everything must have one.
	cmd.SysProcAttr.Setsid = true
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd, p.pid, p.exited = cmd, cmd.Process.Pid, make(chan struct{})
	p.favour()
	go func() {
		_ = cmd.Wait()
		close(p.exited)
	}()
	return nil
}

// favour gives the process's session the priority that this run was given, which
// counts within a session only.
func (p *process) favour() {
	const nobody = 20 // what the system call returns for a nice value of 0
	raw, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil || raw == nobody {
		return
	}
	// Kernels without sessions that share have no such file.
	_ = os.WriteFile(p.path("autogroup"), []byte(strconv.Itoa(nobody-raw)), 0)
}

func (p *process) stop() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// await tries until it works, the process ends or a while has passed.
func (p *process) await(ctx context.Context, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("it ended: %s", p.stderr.Bytes())
		case <-ctx.Done():
			return err
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// processor is the processor time used so far, to the nanosecond.
func (p *process) processor() (time.Duration, error) {
	const schedulerClock = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^p.pid<<3|schedulerClock), &ts); err != nil {
		return 0, fmt.Errorf("read the processor time of process %d: %w", p.pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// memory is the resident memory now and at its highest since resetPeak.
func (p *process) memory() (now, peak int64, err error) {
	data, err := os.ReadFile(p.path("status"))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(line, ":")
		number, _, _ := strings.Cut(strings.TrimSpace(value), " ")
		kilobytes, err := strconv.ParseInt(number, 10, 64)
		switch {
		case err != nil:
		case name == "VmRSS":
			now = kilobytes << 10
		case name == "VmHWM":
			peak = kilobytes << 10
		}
	}
	return now, peak, nil
}

func (p *process) resetPeak() error { return os.WriteFile(p.path("clear_refs"), []byte("5"), 0) }

// files counts the open descriptors.
func (p *process) files() (int, error) {
	entries, err := os.ReadDir(p.path("fd"))
	return len(entries), err
}

func (p *process) path(name string) string { return "/proc/" + strconv.Itoa(p.pid) + "/" + name }
