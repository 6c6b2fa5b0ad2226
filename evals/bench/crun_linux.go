package main

import (
	"context"
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
	"strconv"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// peerSidecarVerb makes this program the peers' sidecar: an HTTP server on
// descriptor 3 that answers 200.
const peerSidecarVerb = "peer-sidecar"

func peerSidecar() int {
	l, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return 1
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok\n")
	})}
	if !errors.Is(srv.Serve(l), http.ErrServerClosed) {
		return 1
	}
	return 0
}

// crun starts pairs of OCI bundles: an agent in an empty network namespace and
// a sidecar that was handed a listener of it.
type crun struct{ dir, self string }

func newCrun(dir string) (*crun, error) {
	if _, err := exec.LookPath("crun"); err != nil {
		return nil, fmt.Errorf("the peer is missing: install crun: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &crun{dir: filepath.Join(dir, "crun"), self: self}
	return c, os.MkdirAll(filepath.Join(c.dir, "root"), 0o755)
}

func (c *crun) close() { _ = os.RemoveAll(c.dir) }

// launch measures start to the end of the first proxied exec.
func (c *crun) launch(ctx context.Context, i int) (time.Duration, error) {
	id := "bottle-bench-" + strconv.Itoa(i)
	t := time.Now()
	if err := c.start(ctx, id); err != nil {
		return 0, err
	}
	if err := c.exec(ctx, id, "/bin/bash", "-c", proxied); err != nil {
		return 0, err
	}
	d := time.Since(t)
	c.remove(id)
	return d, nil
}

func (c *crun) start(ctx context.Context, id string) error {
	ns := filepath.Join(c.dir, id+".net")
	l, err := emptyNetns(ns)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	if err := c.bundle(id+"-sidecar", "", []string{"/peer", peerSidecarVerb}); err != nil {
		return err
	}
	if err := c.bundle(id, ns, []string{"/bin/sleep", "1000"}); err != nil {
		return err
	}
	if err := c.run(ctx, []*os.File{l}, "run", "-d", "--preserve-fds=1", "-b", filepath.Join(c.dir, id+"-sidecar"), id+"-sidecar"); err != nil {
		return err
	}
	return c.run(ctx, nil, "run", "-d", "-b", filepath.Join(c.dir, id), id)
}

func (c *crun) exec(ctx context.Context, id string, argv ...string) error {
	return c.run(ctx, nil, append([]string{"exec", id}, argv...)...)
}

func (c *crun) remove(id string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = c.run(ctx, nil, "delete", "-f", id)
	_ = c.run(ctx, nil, "delete", "-f", id+"-sidecar")
	ns := filepath.Join(c.dir, id+".net")
	_ = unix.Unmount(ns, unix.MNT_DETACH)
	_ = os.Remove(ns)
}

func (c *crun) run(ctx context.Context, files []*os.File, args ...string) error {
	cmd := exec.CommandContext(ctx, "crun", append([]string{"--root", filepath.Join(c.dir, "state")}, args...)...)
	cmd.ExtraFiles = files
	// Not a pipe: a detached container would keep it open and Wait waiting.
	log, err := os.CreateTemp(c.dir, "log")
	if err != nil {
		return err
	}
	defer func() { _ = log.Close(); _ = os.Remove(log.Name()) }()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("crun %s: %w: %s", args[0], err, text)
	}
	return nil
}

// bundle writes an OCI bundle on this host's programs, read-only: the same
// root filesystem a bottle gets, with fewer walls.
func (c *crun) bundle(id, netns string, argv []string) error {
	dir := filepath.Join(c.dir, id)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	spec := specs.Spec{
		Version:  "1.0.2",
		Root:     &specs.Root{Path: filepath.Join(c.dir, "root")},
		Hostname: "peer",
		Process:  &specs.Process{Args: argv, Cwd: "/", Env: []string{"PATH=/usr/bin:/bin"}, NoNewPrivileges: true},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "mode=755"}},
			{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs"},
			{Destination: "/peer", Type: "bind", Source: c.self, Options: []string{"bind", "ro"}},
		},
		Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{
			{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace},
		}},
	}
	if netns != "" {
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: netns})
	}
	for _, d := range []string{"/usr", "/bin", "/lib", "/lib64"} {
		if _, err := os.Stat(d); err == nil {
			spec.Mounts = append(spec.Mounts, specs.Mount{Destination: d, Type: "bind", Source: d, Options: []string{"rbind", "ro"}})
		}
	}
	data, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.json"), data, 0o600)
}

// emptyNetns makes a network namespace with loopback alone, names it by a file
// and returns a listener in it.
func emptyNetns(path string) (*os.File, error) {
	type result struct {
		f   *os.File
		err error
	}
	ch := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		f, err := listenInNew(path)
		ch <- result{f, err}
	}()
	r := <-ch
	return r.f, r.err
}

func listenInNew(path string) (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(s) }()
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return nil, err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifr); err != nil {
		return nil, err
	}
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9099})
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return nil, err
	}
	self := fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
	if err := unix.Mount(self, path, "", unix.MS_BIND, ""); err != nil {
		return nil, fmt.Errorf("name the network namespace: %w", err)
	}
	return l.File()
}
