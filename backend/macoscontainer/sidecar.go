package macoscontainer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/command"
	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/cli"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/bottles"
	"github.com/bottle-mcp/bottle-mcp/sidecars/egress"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
	"github.com/bottle-mcp/bottle-mcp/sidecars/pid1"
)

// Places in the sidecar.
const (
	sidecarConfig = pid1.DefaultConfigDir
	// sidecarSockets is on its root filesystem, where the engine looks, and
	// short: the engine puts up to 75 bytes before it, and 107 are a socket's.
	sidecarSockets = "/s"
)

// maxHostSocket is the longest path of a socket on macOS, without its NUL.
const maxHostSocket = 103

// The sidecar holds one connection table and a CA; a virtual machine with less
// than 200 MiB is refused by the engine.
const (
	sidecarMemory = 512 << 20
	sidecarCPUs   = 1
)

// StartSidecar implements backend.Backend: networks, then the sidecar, then the
// question whether it serves. The engine tells its address only afterwards.
func (b *Backend) StartSidecar(ctx context.Context, spec backend.SidecarSpec) (backend.Endpoints, error) {
	if err := b.admissible(ctx, spec); err != nil {
		return backend.Endpoints{}, err
	}
	topo, err := b.topology()
	if err != nil {
		return backend.Endpoints{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, b.scaled(startTimeout))
	defer cancel()
	r := record{
		ID: spec.ID, Owner: b.cfg.Owner, Topology: topo, Services: spec.Services,
		Created: time.Now().Round(0), Expires: spec.Expires.Round(0),
	}
	r.Account = backend.DefaultAccount() // until the guest says otherwise
	if topo == socket {
		r.Sockets = b.socketDir(spec.ID)
	}
	if slices.Contains(spec.Services, sidecars.Bottles) {
		r.HostSocket = spec.HostSocket
	}
	if err := b.reserve(r); err != nil {
		return backend.Endpoints{}, err
	}
	if err := b.bringUp(ctx, spec, &r); err != nil {
		if late(err) {
			b.unsettled.add(spec.ID)
		}
		err = fmt.Errorf("start the sidecar of bottle %s: %w", spec.ID, taken(err))
		return backend.Endpoints{}, errors.Join(err, b.rollBack(ctx, spec.ID))
	}
	return r.Endpoints, nil
}

// admissible refuses what must not even begin.
func (b *Backend) admissible(ctx context.Context, spec backend.SidecarSpec) error {
	if err := spec.ID.Validate(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("start the sidecar of bottle %s: %w", spec.ID, context.Cause(ctx))
	}
	if !spec.Expires.After(time.Now()) {
		return fmt.Errorf("bottle %s would have expired already: give it a time in the future", spec.ID)
	}
	for _, svc := range spec.Services {
		switch svc {
		case sidecars.Egress:
		case sidecars.Bottles:
			if err := leads(spec); err != nil {
				return fmt.Errorf("configure the sidecar of bottle %s: %w", spec.ID, err)
			}
		case sidecars.GitGate:
			return fmt.Errorf("backend %s refuses bottle %s, which declares git repositories: %s; use another backend, or take the repositories out", Name, spec.ID, gateReason)
		default:
			return fmt.Errorf("backend %s cannot serve %q yet: take it out of the bottle", Name, svc)
		}
	}
	// The sidecar would say the same, later.
	if _, err := egress.New(spec.Config, spec.Secrets, egress.Options{Log: io.Discard}); err != nil {
		return fmt.Errorf("configure the sidecar of bottle %s: %w", spec.ID, err)
	}
	return nil
}

// leads says early what the sidecar, or the engine, would say later.
func leads(spec backend.SidecarSpec) error {
	_, err := bottles.New(spec.Config, spec.Secrets, bottles.Options{
		Dial: func(context.Context) (net.Conn, error) { return nil, net.ErrClosed },
	})
	switch path := spec.HostSocket; {
	case err != nil:
		return err
	case !filepath.IsAbs(path) || strings.ContainsRune(path, ':'):
		return fmt.Errorf("the socket of the host's MCP server is at %.120q: it needs an absolute path without ':', so name another --state-dir", path)
	case len(path) > maxHostSocket:
		return fmt.Errorf("the path %.120q of the host's MCP server has %d bytes and a socket's may have %d: name a shorter --state-dir", path, len(path), maxHostSocket)
	}
	return nil
}

// taken explains a name that somebody else's object has.
func taken(err error) error {
	var failed *cli.Error
	if errors.As(err, &failed) && failed.Kind == cli.KindExists {
		return fmt.Errorf("%w; remove it yourself or choose another id: %w", backend.ErrTaken, err)
	}
	return err
}

// rollBack removes what a failed start made, on its own time.
func (b *Backend) rollBack(ctx context.Context, id backend.ID) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.scaled(stopTimeout))
	defer cancel()
	return b.Remove(ctx, id)
}

// bringUp makes everything of the sidecar and fills in the record.
func (b *Backend) bringUp(ctx context.Context, spec backend.SidecarSpec, r *record) error {
	image, err := b.images.Sidecar(ctx)
	if err != nil {
		return err
	}
	resolvers, err := b.images.Resolvers(ctx)
	if err != nil {
		return err
	}
	if err := b.writeSidecarFiles(spec, *r); err != nil {
		return err
	}
	if err := b.makeNetworks(ctx, *r); err != nil {
		return err
	}
	if _, err := b.cli.Run(ctx, b.sidecarRequest(*r, image, resolvers)); err != nil {
		return err
	}
	if err := b.awaitReady(ctx, r); err != nil {
		return err
	}
	// The sidecar keeps them in memory, also for a daemon that it starts again.
	if err := pid1.RemoveSecrets(filepath.Join(b.dir(r.ID), sidecarDir)); err != nil {
		return err
	}
	return b.writeRecord(*r)
}

// writeSidecarFiles writes the directory that is mounted in the sidecar. The
// ledger's files have a second name where everybody above looks for it.
func (b *Backend) writeSidecarFiles(spec backend.SidecarSpec, r record) error {
	dir := filepath.Join(b.dir(r.ID), sidecarDir)
	roots, err := b.hostRoots()
	if err != nil {
		return err
	}
	if err := pid1.WriteConfig(dir, spec.Config, spec.Secrets, roots); err != nil {
		return err
	}
	for _, name := range ledger.Names() {
		log := filepath.Join(dir, sidecars.LogDir, name)
		f, err := os.OpenFile(log, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("make the egress log: %w", err)
		}
		if err := errors.Join(f.Close(), os.Link(log, filepath.Join(b.dir(r.ID), name))); err != nil {
			return fmt.Errorf("make the egress log: %w", err)
		}
	}
	if r.HostSocket != "" {
		// The sidecar's end gets its mode, and the daemon is another user there.
		// The directory around it keeps other users of the host away.
		if err := os.Chmod(r.HostSocket, 0o666); err != nil { //nolint:gosec // see above
			return fmt.Errorf("open the socket of the host's MCP server: %w", err)
		}
	}
	if r.Sockets == "" {
		return nil
	}
	return makeSocketDir(r.Sockets)
}

func (b *Backend) makeNetworks(ctx context.Context, r record) error {
	roles := []role{roleInternal, roleEgress}
	if r.Topology == socket {
		roles = []role{roleEgress}
	}
	for _, role := range roles {
		err := b.cli.NetworkCreate(ctx, cli.NetworkRequest{
			Name: role.name(r.ID), Internal: role == roleInternal, Labels: r.identity().labels(role),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sidecarRequest is the sidecar's container. The NAT network comes first: the
// first one has the default route.
func (b *Backend) sidecarRequest(r record, image string, resolvers []netip.Addr) cli.RunRequest {
	init := pid1.InitOptions{Listen: pid1.DefaultListen, ConfigDir: sidecarConfig, Until: r.Expires.Add(time.Second)}
	req := cli.RunRequest{
		Name: roleSidecar.name(r.ID), Image: image, Platform: b.images.Platform(),
		Labels: r.identity().labels(roleSidecar), Networks: []string{roleEgress.name(r.ID)},
		Env:        []string{sidecars.DaemonsEnv + "=" + join(r.Services)},
		Entrypoint: sidecarBinary,
		// The engine looks for a published socket on the root filesystem alone.
		UID: 0, GID: 0, ReadOnly: r.Topology == twoNetwork,
		CapDrop: []string{"ALL"}, CapAdd: pid1.Capabilities(),
		CPUs: sidecarCPUs, MemoryBytes: sidecarMemory, Ulimits: []string{"core=0:0"},
		Mounts: []cli.Mount{{Host: filepath.Join(b.dir(r.ID), sidecarDir), Guest: sidecarConfig}},
	}
	if r.HostSocket != "" {
		req.Mounts = append(req.Mounts, cli.Mount{Host: r.HostSocket, Guest: pid1.HostSocket})
	}
	for _, a := range resolvers {
		req.DNS = append(req.DNS, a.String())
	}
	if r.Topology == socket {
		init.Listen = "unix:" + sidecarSockets
		for _, svc := range r.Services {
			req.Sockets = append(req.Sockets, cli.PublishSocket{Host: r.socketOf(svc), Guest: sidecarSockets + "/" + pid1.SocketName(svc)})
		}
	} else {
		req.Networks = append(req.Networks, roleInternal.name(r.ID))
	}
	req.Args = init.Args()
	return req
}

func join(services []sidecars.Service) string {
	out := ""
	for i, s := range services {
		if i > 0 {
			out += ","
		}
		out += string(s)
	}
	return out
}

// awaitReady discovers the sidecar's address and waits until its daemons
// answer.
func (b *Backend) awaitReady(ctx context.Context, r *record) error {
	ctx, cancel := context.WithTimeout(ctx, b.scaled(readyTimeout))
	defer cancel()
	name := roleSidecar.name(r.ID)
	c, err := b.awaitAddress(ctx, *r)
	if err != nil {
		return b.withLogs(ctx, name, err)
	}
	if c.Started.IsZero() {
		return errors.New("the engine does not say when the sidecar was started, so nobody could tell it from another")
	}
	r.SidecarStarted = c.Started
	if err := b.ready(ctx, r.ID); err != nil {
		return b.withLogs(ctx, name, err)
	}
	if r.Topology == socket {
		return b.openSockets(r)
	}
	r.SidecarAddress = internalAddress(c, r.ID)
	r.Endpoints = backend.EndpointsAt(r.SidecarAddress, r.Services)
	r.Endpoints.NoProxy = []string{r.SidecarAddress}
	return nil
}

// ready asks the daemons from inside.
func (b *Backend) ready(ctx context.Context, id backend.ID) error {
	report, code, err := b.askSidecar(ctx, id, pid1.ReadyArgs(b.scaled(readyTimeout)/2))
	if err != nil {
		return err
	}
	if code != 0 || !report.Ready || report.Bottle != string(id) {
		return fmt.Errorf("its daemons do not answer: %v %s", report.Services, command.Printable(report.Error, maxReport))
	}
	return nil
}

// askSidecar runs one of the sidecar's own verbs inside of it. The answer is the
// sidecar's own word, in its own form: that the question could be asked is none.
func (b *Backend) askSidecar(ctx context.Context, id backend.ID, args []string) (report pid1.Report, code int, err error) {
	stdout, stderr := command.NewTail(maxReport), command.NewTail(maxReport)
	res, err := b.cli.Exec(ctx, cli.ExecRequest{
		Container: roleSidecar.name(id), Argv: append([]string{sidecarBinary}, args...), UID: 0, GID: 0,
		Stdout: stdout, Stderr: stderr,
	})
	if err == nil && res.Failure != nil {
		err = res.Failure
	}
	if err != nil {
		return report, 0, err
	}
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
		return report, 0, fmt.Errorf("the sidecar's answer is not understood: %.200q, %.200q: %w", stdout, stderr, err)
	}
	return report, res.Code, nil
}

// maxReport bounds what a sidecar says of itself.
const maxReport = 16 << 10

// sidecarBinary is this program in the sidecar's image.
const sidecarBinary = "/bottle-mcp"

// awaitAddress waits until the sidecar runs and, on two networks, has an
// address on the internal one.
func (b *Backend) awaitAddress(ctx context.Context, r record) (cli.Container, error) {
	for {
		c, err := b.cli.Inspect(ctx, roleSidecar.name(r.ID))
		switch {
		case err != nil:
			return c, err
		case c.State == "stopped":
			return c, errors.New("it ended at once")
		case c.State == "running" && (r.Topology == socket || internalAddress(c, r.ID) != ""):
			return c, nil
		}
		select {
		case <-ctx.Done():
			return c, fmt.Errorf("it has no address on network %s: %w", roleInternal.name(r.ID), context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// internalAddress is a container's IPv4 address on the bottle's internal
// network; "" when it has none.
func internalAddress(c cli.Container, id backend.ID) string {
	for _, a := range c.Attachments {
		addr, err := netip.ParseAddr(a.IPv4)
		if a.Network == roleInternal.name(id) && err == nil && addr.Is4() {
			return addr.String()
		}
	}
	return ""
}

// withLogs adds what the container said last. It must not hold up the launch.
func (b *Backend) withLogs(ctx context.Context, name string, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if text, lerr := b.cli.Logs(ctx, name, 20); lerr == nil && text != "" {
		return fmt.Errorf("%w; its last words: %.2000s", err, text)
	}
	return err
}
