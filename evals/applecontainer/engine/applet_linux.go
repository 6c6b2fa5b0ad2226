package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lookupTimeout bounds a look-up of the builder.
const lookupTimeout = 10 * time.Second

// statusOfSignal is what a shell says of a process that a signal ended.
const statusOfSignal = 128

// Init is process 1 of a guest with --init: it runs the command, passes signals
// on and reaps what others leave.
func Init(argv []string) (int, error) {
	if len(argv) == 0 {
		return 1, errors.New("init: no command")
	}
	program, err := exec.LookPath(argv[0])
	if err != nil {
		return 1, fmt.Errorf("init: %w", err)
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals)
	child, err := os.StartProcess(program, argv, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return 1, fmt.Errorf("init: %w", err)
	}
	for s := range signals {
		switch s {
		case unix.SIGCHLD:
			if code, ended := reap(child.Pid); ended {
				return code, nil
			}
		case unix.SIGURG: // Go's own
		default:
			_ = child.Signal(s) // it may be about to end
		}
	}
	return 1, errors.New("init: signals ended")
}

// reap takes every process that has ended; code is that of the one given.
func reap(pid int) (code int, ended bool) {
	for {
		var status unix.WaitStatus
		got, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || got <= 0 {
			return code, ended
		}
		if got != pid {
			continue
		}
		code, ended = status.ExitStatus(), true
		if status.Signaled() {
			code = statusOfSignal + int(status.Signal())
		}
	}
}

// Shim is the builder's main process: it waits for its end.
func Shim(ctx context.Context) {
	ctx, stop := signal.NotifyContext(ctx, unix.SIGTERM, unix.SIGINT)
	defer stop()
	<-ctx.Done()
}

// Lookup is what the builder has for getent and nslookup: the last word is
// asked of the guest's nameservers. A failure is the status 2 of getent.
func Lookup(ctx context.Context, role Role, argv []string, out, complaints io.Writer) int {
	if len(argv) == 0 {
		_, _ = fmt.Fprintf(complaints, "usage: %s NAME\n", role)
		return 1
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	name := argv[len(argv)-1]
	// With a dot at the end no search list is tried.
	addresses, err := (&net.Resolver{PreferGo: true}).LookupIPAddr(ctx, strings.TrimSuffix(name, ".")+".")
	if err != nil {
		_, _ = fmt.Fprintf(complaints, "%s: %v\n", role, err)
		return 2
	}
	for _, a := range addresses {
		_, err := fmt.Fprintf(out, "%s\t%s\n", a.IP, name)
		if err != nil {
			return 1
		}
	}
	return 0
}
