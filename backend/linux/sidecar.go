//go:build linux

package linux

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/frame"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/jail"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/shim"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/egress"
)

// Host ids of guests, as root: each bottle gets one of idRanges ranges above
// idBase, inside what systemd sets aside for containers (524288 to 1879048191).
const (
	idBase   = 0x20000000
	idRanges = 8192
)

// StartSidecar implements backend.Backend: it starts the bottle's shim, which
// starts the guest's first stage (its network namespace holds the listeners)
// and the sidecar.
func (b *Backend) StartSidecar(ctx context.Context, spec backend.SidecarSpec) (backend.Endpoints, error) {
	if err := spec.ID.Validate(); err != nil {
		return backend.Endpoints{}, err
	}
	if !spec.Expires.After(time.Now()) {
		return backend.Endpoints{}, fmt.Errorf("bottle %s would have expired already: give it a time in the future", spec.ID)
	}
	for _, svc := range spec.Services {
		if svc != sidecars.Egress {
			return backend.Endpoints{}, fmt.Errorf("backend %s cannot serve %q yet: take it out of the bottle", Name, svc)
		}
	}
	// The sidecar would say the same, later.
	if _, err := egress.New(spec.Config, spec.Secrets, egress.Options{Log: io.Discard}); err != nil {
		return backend.Endpoints{}, fmt.Errorf("configure the sidecar of bottle %s: %w", spec.ID, err)
	}
	dir := b.dir(spec.ID)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return backend.Endpoints{}, fmt.Errorf("make the directory of bottle %s: %w", spec.ID, err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, shim.StateFile), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return backend.Endpoints{}, fmt.Errorf("bottle %s: %w", spec.ID, backend.ErrExists)
	}
	if err != nil {
		return backend.Endpoints{}, fmt.Errorf("reserve bottle %s: %w", spec.ID, err)
	}
	if err := lock.Close(); err != nil {
		return backend.Endpoints{}, fmt.Errorf("reserve bottle %s: %w", spec.ID, err)
	}
	if err := b.startShim(ctx, spec, dir); err != nil {
		return backend.Endpoints{}, errors.Join(explain(err), b.sweep(dir))
	}
	return endpoints(spec.Services), nil
}

func endpoints(services []sidecars.Service) backend.Endpoints {
	var e backend.Endpoints
	for _, svc := range services {
		if svc == sidecars.Egress {
			e.Egress = "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(sidecars.EgressPort))
		}
	}
	return e
}

// startShim starts the shim and hands it its orders over an unnamed socket.
func (b *Backend) startShim(ctx context.Context, spec backend.SidecarSpec, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	log, err := os.OpenFile(filepath.Join(dir, shim.ErrorFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the shim's log: %w", err)
	}
	defer func() { _ = log.Close() }()
	conn, sock, err := frame.Pair(frame.MaxHost)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	// Not CommandContext: the shim outlives this call and this process.
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{"bottle-mcp", "shim", string(spec.ID)},
		Env: []string{"GOMAXPROCS=2", "GOGC=50"}, Dir: "/", Stderr: log,
		ExtraFiles: []*os.File{sock}, SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	err = cmd.Start()
	if cerr := sock.Close(); err != nil || cerr != nil {
		return fmt.Errorf("start the shim of bottle %s: %w", spec.ID, errors.Join(err, cerr))
	}
	go func() { _ = cmd.Wait() }() // reaped whenever it ends; List tells the state
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	multi := os.Getuid() == 0
	err = conn.Send(shim.Start{
		ID: string(spec.ID), Owner: spec.Owner, Dir: dir, Multi: multi, Base: idRange(spec.ID),
		Services: spec.Services, Config: spec.Config, Secrets: jail.Plain(spec.Secrets),
		Created: time.Now(), Expires: spec.Expires,
	})
	var r shim.Reply
	if err == nil {
		err = conn.Recv(&r)
	}
	if err == nil {
		err = r.Err()
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	_ = cmd.Process.Kill() // its children die with it
	return fmt.Errorf("start the sidecar of bottle %s: %w", spec.ID, err)
}

// idRange spreads bottles over the id ranges, so that two bottles' processes
// are strangers to the host kernel as well.
func idRange(id backend.ID) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return idBase + int(h.Sum32()%idRanges)*shim.MapSize
}

// sweep removes the files a start left behind.
func (b *Backend) sweep(dir string) error {
	var errs []error
	for _, name := range []string{shim.StateFile, shim.StateFile + ".new", shim.SocketFile, shim.ErrorFile, shim.EgressLog} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	// What others keep in the directory is theirs.
	_ = os.Remove(dir)
	return errors.Join(errs...)
}
