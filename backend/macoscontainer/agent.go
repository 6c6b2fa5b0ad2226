package macoscontainer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/command"
	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/cli"
	"github.com/bottle-mcp/bottle-mcp/backend/vmguest"
	"github.com/bottle-mcp/bottle-mcp/sidecars/pid1"
)

// Bounds of a guest.
const (
	// agentSleepSeconds keeps the guest alive so that commands can be run in it
	// (bot-bottle's _AGENT_SLEEP_SECONDS); the bottle's expiry is its upper bound.
	agentSleepSeconds = 30 * 24 * 60 * 60
	// keeperUID is who holds the guest open: neither the agent, who could end
	// its own machine by accident (kill -9 -1), nor root.
	keeperUID = 65533

	defaultPIDs = 2048
	minMemory   = 200 << 20 // the engine's
)

// guestMount is where the agent finds this program and its CAs.
var guestMount = filepath.Dir(backend.GuestBinary) //nolint:gochecknoglobals // a constant

// StartAgent implements backend.Backend.
func (b *Backend) StartAgent(ctx context.Context, spec backend.AgentSpec) (backend.Account, error) {
	a, err := b.startAgent(ctx, spec)
	if err != nil {
		return backend.Account{}, fmt.Errorf("start the agent of bottle %s: %w", spec.ID, err)
	}
	return a, nil
}

func (b *Backend) startAgent(ctx context.Context, spec backend.AgentSpec) (none backend.Account, err error) {
	r, err := b.known(ctx, spec.ID)
	if err != nil {
		return none, err
	}
	if spec.Isolation != "" && spec.Isolation != isolationVM {
		return none, fmt.Errorf("backend %s has no isolation class %.60q: use %q", Name, spec.Isolation, isolationVM)
	}
	ctx, cancel := context.WithTimeout(ctx, b.scaled(startTimeout))
	defer cancel()
	if spec.Image == "" {
		if spec.Image, err = b.PrepareImage(ctx, backend.ImageSpec{}, nil); err != nil {
			return none, err
		}
	}
	req, err := b.agentRequest(r, spec)
	if err != nil {
		return none, err
	}
	if err := b.writeGuestFiles(ctx, r.ID, spec.CACert); err != nil {
		return none, err
	}
	if _, err := b.cli.Run(ctx, req); err != nil {
		if late(err) {
			b.unsettled.add(r.ID)
		}
		return none, taken(err)
	}
	if spec.User == "" {
		if spec.User, err = b.images.User(ctx, spec.Image); err != nil {
			return none, err
		}
	}
	if err := b.furnish(ctx, &r, spec); err != nil {
		return none, b.withLogs(ctx, req.Name, err)
	}
	return r.Account, nil
}

// agentRequest is the agent's container.
func (b *Backend) agentRequest(r record, spec backend.AgentSpec) (cli.RunRequest, error) {
	l := spec.Limits
	if l.MemoryBytes != 0 && l.MemoryBytes < minMemory {
		return cli.RunRequest{}, fmt.Errorf("memory %d bytes is less than the %d that Apple's container gives a machine: allow more", l.MemoryBytes, minMemory)
	}
	if l.PIDs == 0 {
		l.PIDs = defaultPIDs
	}
	var relays map[int]string
	if r.Topology == socket {
		relays = map[int]string{}
		for _, svc := range r.Services {
			relays[svc.Port()] = guestSockets + "/" + pid1.SocketName(svc)
		}
	}
	idle := vmguest.IdleArgv(min(agentSleepSeconds*time.Second, time.Until(r.Expires)), relays)
	req := cli.RunRequest{
		Name: roleAgent.name(r.ID), Image: spec.Image, Platform: b.images.Platform(),
		Entrypoint: idle[0], Args: idle[1:],
		Env: spec.Env, Labels: r.identity().labels(roleAgent), NoDNS: true,
		UID: keeperUID, GID: keeperUID, Workdir: "/", Init: true, CapDrop: []string{"ALL"},
		CPUs: int(math.Ceil(l.CPUs)), MemoryBytes: l.MemoryBytes &^ (1<<20 - 1), // whole MiB are the engine's measure
		Ulimits: []string{"core=0:0", fmt.Sprintf("nproc=%[1]d:%[1]d", l.PIDs+vmguest.SpareProcesses)},
		Mounts:  []cli.Mount{{Host: filepath.Join(b.dir(r.ID), guestDir), Guest: guestMount, ReadOnly: true}},
	}
	if r.Topology == socket {
		for _, svc := range r.Services {
			req.Mounts = append(req.Mounts, cli.Mount{Host: r.socketOf(svc), Guest: relays[svc.Port()]})
		}
	} else {
		req.Networks = []string{roleInternal.name(r.ID)}
	}
	return req, nil
}

// writeGuestFiles makes the directory that the agent sees read-only: this
// program and the bottle's CA.
func (b *Backend) writeGuestFiles(ctx context.Context, id backend.ID, caCert []byte) error {
	twin, err := b.images.Twin(ctx)
	if err != nil {
		return err
	}
	dir := filepath.Join(b.dir(id), guestDir)
	// The guest's users are not the host's: they must get in. The directory
	// around it keeps other users of the host away.
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // see above
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("bottle %s has an agent already: %w", id, backend.ErrExists)
		}
		return fmt.Errorf("make the guest's directory: %w", err)
	}
	if err := placeTwin(twin, filepath.Join(dir, filepath.Base(backend.GuestBinary))); err != nil {
		return err
	}
	for _, path := range []string{backend.GuestCACert, backend.GuestCABundle} {
		if err := b.writeGuestFile(id, filepath.Base(path), caCert); err != nil {
			return err
		}
	}
	return nil
}

func (b *Backend) writeGuestFile(id backend.ID, name string, data []byte) error {
	path := filepath.Join(b.dir(id), guestDir, name)
	if err := os.WriteFile(path, data, 0o644); err != nil { //nolint:gosec // certificates are public
		return fmt.Errorf("write the guest's %s: %w", name, err)
	}
	return nil
}

// placeTwin gives the guest the linux build under a name of its own: a link
// costs nothing, and where that cannot be, a copy.
func placeTwin(twin, path string) error {
	if err := os.Link(twin, path); err == nil {
		return nil
	}
	from, err := os.Open(twin)
	if err != nil {
		return fmt.Errorf("read the linux build of this program: %w", err)
	}
	defer func() { _ = from.Close() }()
	to, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755) //nolint:gosec // the guest's users run it
	if err != nil {
		return fmt.Errorf("give the guest this program: %w", err)
	}
	_, err = to.ReadFrom(from)
	if err := errors.Join(err, to.Close()); err != nil {
		return fmt.Errorf("give the guest this program: %w", err)
	}
	return nil
}

// furnish makes a home for the agent and a bundle of CAs, and remembers which
// start of the guest all this is true of.
func (b *Backend) furnish(ctx context.Context, r *record, spec backend.AgentSpec) error {
	c, err := b.cli.Inspect(ctx, roleAgent.name(r.ID))
	if err != nil {
		return err
	}
	if c.State != "running" {
		return errors.New("it ended at once")
	}
	if err := b.asAsked(*r, c); err != nil {
		return err
	}
	r.AgentStarted = c.Started
	if r.Account, err = b.makeHome(ctx, r.ID, spec.User); err != nil {
		return fmt.Errorf("make the agent's home: %w", err)
	}
	if err := b.writeBundle(ctx, *r, spec.CACert); err != nil {
		return fmt.Errorf("read the image's CAs: %w", err)
	}
	return b.writeRecord(*r)
}

// asAsked demands that the engine's own word on the guest is what was asked for:
// an option that a release ignores must not go unnoticed.
func (b *Backend) asAsked(r record, c cli.Container) error {
	networks := []string{roleInternal.name(r.ID)}
	if r.Topology == socket {
		networks = nil
	}
	switch {
	case c.Started.IsZero():
		return errors.New("the engine does not say when the guest was started, so nobody could tell it from another")
	case !slices.ContainsFunc(c.CapDrop, func(s string) bool { return strings.EqualFold(s, "ALL") }):
		return fmt.Errorf("the engine did not drop all capabilities, only %q", c.CapDrop)
	case !slices.Equal(c.Networks, networks):
		return fmt.Errorf("the engine put the guest on networks %q instead of %q", c.Networks, networks)
	case len(c.Nameservers) > 0:
		return fmt.Errorf("the engine gave the guest the resolvers %q", c.Nameservers)
	}
	return nil
}

// makeHome lets the guest find out who works in it and make that user's home, in
// parts as root and as the agent: root has no capability that could change an
// owner.
func (b *Backend) makeHome(ctx context.Context, id backend.ID, user string) (backend.Account, error) {
	said, err := b.inside(ctx, id, userIDs{}, vmguest.HomeArgv(user))
	if err != nil {
		return backend.Account{}, err
	}
	a, err := vmguest.ParseAccount(said)
	switch {
	case err != nil:
		return a, err
	case a.UID == keeperUID:
		return a, fmt.Errorf("the image's user %s has the uid %d, which holds the guest open: give it another", a.Name, a.UID)
	}
	for _, p := range vmguest.HomePhases(a) {
		if _, err := b.inside(ctx, id, userIDs{p.UID, p.GID}, p.Argv); err != nil {
			return a, err
		}
	}
	return a, nil
}

// writeBundle gives the guest the CAs of its image and the bottle's own in one
// file. What the image says is not believed further than its form.
func (b *Backend) writeBundle(ctx context.Context, r record, caCert []byte) error {
	text, err := b.inside(ctx, r.ID, idsOf(r.Account), vmguest.RootsArgv())
	if err != nil {
		return err
	}
	roots, err := vmguest.ParseRoots(text)
	if err != nil {
		return err
	}
	return b.writeGuestFile(r.ID, filepath.Base(backend.GuestCABundle), vmguest.Bundle(roots, caCert))
}

// insideTimeout bounds one of this backend's own questions to a guest.
const insideTimeout = 30 * time.Second

// inside runs one of our own verbs in the agent and returns what it printed.
func (b *Backend) inside(ctx context.Context, id backend.ID, as userIDs, argv []string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, b.scaled(insideTimeout))
	defer cancel()
	stdout, stderr := command.NewTail(vmguest.MaxRoots+1), command.NewTail(2<<10)
	res, err := b.cli.Exec(ctx, cli.ExecRequest{
		Container: roleAgent.name(id), Argv: argv, UID: as.uid, GID: as.gid, Workdir: "/", Stdout: stdout, Stderr: stderr,
	})
	switch {
	case err != nil:
		return nil, err
	case res.Failure != nil:
		return nil, res.Failure
	case res.Code != 0:
		return nil, fmt.Errorf("it ended with %d: %s", res.Code, command.Printable(stderr.String(), 2<<10))
	}
	return stdout.Bytes(), nil
}
