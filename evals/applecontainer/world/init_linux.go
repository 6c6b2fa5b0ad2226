package world

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// initMain is process 1 of a world. It makes the world, starts the payload and
// ends with it; the kernel then kills whatever is left.
func initMain(l layout) int {
	// Children die with the thread that started them.
	runtime.LockOSThread()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	outside, err := l.build(ctx)
	if err != nil {
		return failed(err)
	}
	payload, err := os.StartProcess("/proc/self/exe", os.Args, &os.ProcAttr{
		Env:   l.payloadEnv(),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys:   &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL},
	})
	if err != nil {
		return failed(fmt.Errorf("the world's payload cannot be started: %w", err))
	}
	forward(payload)
	code := reap(payload.Pid, outside.pid)
	// The Internet ends with its pipe, which the collector closes when nobody
	// holds it any more: two minutes after the last allocation at the latest.
	runtime.KeepAlive(outside)
	return code
}

func (l layout) build(ctx context.Context) (*outside, error) {
	trees, err := readGroups(l.cgroups())
	if err != nil {
		return nil, err
	}
	if err := l.mountAll(l.keepers()); err != nil {
		return nil, err
	}
	if err := mountGroups(trees); err != nil {
		return nil, err
	}
	if err := unix.Sethostname([]byte("mac")); err != nil {
		return nil, err
	}
	o, err := startOutside(ctx, l)
	if err != nil {
		return nil, err
	}
	return o, serveHost(context.WithoutCancel(ctx), l)
}

// payloadEnv is the environment of the payload: the world's places, and no
// configuration of the host's engines and proxies.
func (l layout) payloadEnv() []string {
	home := os.Getenv("HOME")
	drop := map[string]bool{"PATH": true, "HOME": true, "TMPDIR": true, stageEnv: true, dirEnv: true, GateEnv: true, nestEnv: true, StateEnv: true, "REGISTRY_AUTH_FILE": true}
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		proxy := strings.HasSuffix(strings.ToLower(name), "_proxy")
		engine := strings.HasPrefix(name, "CONTAINER") || strings.HasPrefix(name, "DOCKER_") || strings.HasPrefix(name, "XDG_") || strings.HasPrefix(name, "BOT_BOTTLE_")
		if !drop[name] && !proxy && !engine && !strings.HasSuffix(kv, "=") {
			env = append(env, kv)
		}
	}
	// Go keeps its caches: the tests build programs.
	for name, dir := range map[string]string{"GOPATH": "go", "GOCACHE": ".cache/go-build"} {
		if os.Getenv(name) == "" && home != "" {
			env = append(env, name+"="+filepath.Join(home, dir))
		}
	}
	return append(env,
		"PATH="+l.bin()+":"+os.Getenv("PATH")+":/usr/sbin:/sbin",
		"HOME="+l.path("home"),
		dirEnv+"="+l.dir,
		StateEnv+"="+l.state(),
		GateEnv+"=1",
		stageEnv+"=payload",
	)
}

// forward hands the signals that end a world to its payload.
func forward(payload *os.Process) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM)
	// A terminal sends these to the payload itself.
	signal.Ignore(unix.SIGINT, unix.SIGQUIT, unix.SIGHUP)
	go func() {
		for s := range signals {
			_ = payload.Signal(s)
		}
	}()
}

// reap waits for every child, its own and the orphans', until the payload has
// ended. A world without its Internet proves nothing, so it ends too.
func reap(payload, outside int) int {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return failed(fmt.Errorf("the world's init lost its payload: %w", err))
		case pid == payload && status.Signaled():
			return 128 + int(status.Signal())
		case pid == payload:
			return status.ExitStatus()
		case pid == outside:
			return failed(errors.New("the fake Internet has ended before the tests"))
		}
	}
}
