//go:build linux

package linux

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/jail"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/shim"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/bottles"
	"github.com/bottle-mcp/bottle-mcp/sidecars/egress"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
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
	if err := checkServices(spec); err != nil {
		return backend.Endpoints{}, err
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
	return backend.EndpointsAt("127.0.0.1", spec.Services), nil
}

// services are those that sidecars here can have.
func services() []sidecars.Service { return []sidecars.Service{sidecars.Egress, sidecars.Bottles} }

// checkServices says early what the sidecar would say later.
func checkServices(spec backend.SidecarSpec) error {
	for _, svc := range spec.Services {
		var err error
		switch svc {
		case sidecars.Egress:
			_, err = egress.New(spec.Config, spec.Secrets, egress.Options{Log: io.Discard})
		case sidecars.Bottles:
			_, err = bottles.New(spec.Config, spec.Secrets, bottles.Options{
				Dial: func(context.Context) (net.Conn, error) { return nil, net.ErrClosed },
			})
			if err == nil && !filepath.IsAbs(spec.HostSocket) {
				err = errors.New("the socket of the host's MCP server has no absolute path; name one")
			}
		default:
			return fmt.Errorf("backend %s cannot serve %q yet: take it out of the bottle", Name, svc)
		}
		if err != nil {
			return fmt.Errorf("configure the sidecar of bottle %s: %w", spec.ID, err)
		}
	}
	return nil
}

// startShim gives a shim its orders over the unnamed socket.
func (b *Backend) startShim(ctx context.Context, spec backend.SidecarSpec, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	k, spare, err := b.keeper()
	if err != nil {
		return fmt.Errorf("start the shim of bottle %s: %w", spec.ID, err)
	}
	err = k.order(ctx, spec, dir)
	if err != nil && spare && ctx.Err() == nil {
		// What was started ahead may have met its end since; a fresh one has not.
		b.log.Warn("the spare bottle could not be used", "error", err)
		if k, err = startKeeper(); err == nil {
			err = k.order(ctx, spec, dir)
		}
	}
	if err != nil {
		return fmt.Errorf("start the sidecar of bottle %s: %w", spec.ID, err)
	}
	return nil
}

// order tells the shim which bottle it keeps and waits until it does. On error
// the shim is ended.
func (k *keeper) order(ctx context.Context, spec backend.SidecarSpec, dir string) error {
	defer func() { _ = k.conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = k.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	start := shim.Start{
		ID: string(spec.ID), Owner: spec.Owner, Dir: dir,
		Services: spec.Services, Config: spec.Config,
		Created: time.Now(), Expires: spec.Expires, HostSocket: spec.HostSocket,
	}
	secrets := jail.EncodeSecrets(spec.Secrets)
	defer clear(secrets)
	err := k.conn.Send(start)
	if err == nil {
		err = k.conn.SendBytes(secrets)
	}
	// A shim that failed says why, also when it did not take its orders.
	var r shim.Reply
	if rerr := k.conn.Recv(&r); rerr == nil && r.Err() != nil {
		err = r.Err()
	} else {
		err = errors.Join(err, rerr)
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	_ = k.cmd.Process.Kill() // its children die with it
	return err
}

// sweep removes the files a start left behind.
func (b *Backend) sweep(dir string) error {
	var errs []error
	for _, name := range append(ledger.Names(), shim.StateFile, shim.StateFile+".new", shim.SocketFile, shim.ErrorFile) {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	// What others keep in the directory is theirs.
	_ = os.Remove(dir)
	return errors.Join(errs...)
}
