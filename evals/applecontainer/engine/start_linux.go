package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/faults"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/shape"
)

// defaultMTU is that of every network.
const defaultMTU = 1280

// startContainer runs under the daemon's lock. With stdio, the process is
// attached to it and the function that is returned waits for its status.
func (e *Engine) startContainer(ctx context.Context, id string, stdio []*os.File) (wait func() (int, error), err error) {
	c, err := e.container(id)
	if err != nil {
		return nil, err
	}
	r, err := e.alive(id)
	if err != nil {
		return nil, err
	}
	if r != nil {
		if stdio != nil {
			return nil, Failf(InvalidState, "attach is currently unsupported on already running containers")
		}
		return nil, nil
	}
	if err := e.waitHelper(ctx, id); err != nil {
		return nil, err
	}
	// What a killed starter or helper left behind; nobody else starts now.
	if err := e.forgetRun(id); err != nil {
		return nil, err
	}
	for _, m := range c.Config.Mounts {
		if _, tmpfs := m.Type[shape.MountTmpfs]; tmpfs {
			continue
		}
		if _, err := os.Stat(m.Source); err != nil {
			return nil, Failf(InvalidState, "mount source %s does not exist", m.Source)
		}
	}
	if err := pause(ctx, e.faults.Delay()); err != nil {
		return nil, err
	}
	if e.faults.On(faults.SubnetChanges) {
		if err := e.moveIdle(ctx, c); err != nil {
			return nil, err
		}
	}
	return e.boot(ctx, c, stdio)
}

// moveIdle gives the networks of a container another subnet if nobody else is
// on them.
func (e *Engine) moveIdle(ctx context.Context, c *container) error {
	busy := map[string]bool{}
	all, err := e.containers()
	if err != nil {
		return err
	}
	for _, other := range all {
		r, err := e.alive(other.Config.ID)
		if err != nil {
			return err
		}
		if r != nil {
			for _, a := range r.Networks {
				busy[a.Network] = true
			}
		}
	}
	wanted := map[string]bool{}
	for _, w := range c.Config.Networks {
		wanted[w.Network] = !busy[w.Network]
	}
	return e.changeSubnets(ctx, func(n *network) bool { return wanted[n.Shape.ID] })
}

// boot makes the network, the helper and the process, or nothing.
func (e *Engine) boot(ctx context.Context, c *container, stdio []*os.File) (wait func() (int, error), err error) {
	id := c.Config.ID
	ports, err := e.addresses(c)
	if err != nil {
		return nil, err
	}
	r := &running{Networks: []shape.Attachment{}}
	for _, p := range ports {
		r.Networks = append(r.Networks, p.Attachment)
	}
	// From here on the addresses are taken.
	if err := save(e.containerPath(id, fileRunning), r); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.forgetRun(id))
		}
	}()
	if len(ports) > 0 {
		if err := makeNetns(ctx, e.netns(id), ports); err != nil {
			return nil, because(err, "failed to bootstrap container %s", id)
		}
	}
	helper, err := e.startHelper(ctx, c)
	if err != nil {
		return nil, err
	}
	defer helper.release()
	wait, err = e.podmanStart(ctx, c, stdio)
	if err != nil {
		return nil, err
	}
	if err := e.started(id, r); err != nil {
		return nil, err
	}
	return wait, helper.watch(r)
}

// started completes the record of a run once the process is there.
func (e *Engine) started(id string, r *running) error {
	text, err := os.ReadFile(e.containerPath(id, filePID))
	if err != nil {
		return because(err, "failed to start container %s", id)
	}
	r.PID, err = strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return because(err, "failed to start container %s", id)
	}
	r.Ticks = processTicks(r.PID) // 0: it has ended already
	if err := os.WriteFile(e.containerPath(id, fileStarted), []byte(shape.Date(time.Now())), 0o600); err != nil {
		return err
	}
	return save(e.containerPath(id, fileRunning), r)
}

// addresses hands out an address on every network that the container wants.
func (e *Engine) addresses(c *container) ([]port, error) {
	used, err := e.usedAddresses()
	if err != nil {
		return nil, err
	}
	var ports []port
	for _, wanted := range c.Config.Networks {
		n, err := e.network(wanted.Network)
		if err != nil {
			return nil, err
		}
		subnet := n.subnet()
		address, err := freeAddress(subnet, n.Last, used)
		if err != nil {
			return nil, err
		}
		n.Last = address
		if err := save(e.networkPath(n.Shape.ID), n); err != nil {
			return nil, err
		}
		p := port{Bridge: n.Bridge, Attachment: shape.Attachment{
			Network: n.Shape.ID, Hostname: wanted.Options.Hostname,
			IPv4Address: withBits(address, subnet.Bits()), IPv4Gateway: n.Shape.Status.IPv4Gateway,
			IPv6Address: withBits(address6(subnet, address), 64),
			MACAddress:  wanted.Options.MACAddress, MTU: wanted.Options.MTU, Variant: "reserved",
		}}
		if p.MTU == 0 {
			p.MTU = defaultMTU
		}
		if p.MACAddress == "" {
			p.MACAddress = macOf(c.Config.ID, address)
		}
		ports = append(ports, p)
	}
	return ports, nil
}

// macOf is a locally administered address that differs from run to run.
func macOf(id string, address netip.Addr) string {
	hash, four := short(id), address.As4()
	return fmt.Sprintf("f2:%s:%s:%s:%02x:%02x", hash[:2], hash[2:4], hash[4:6], four[2], four[3])
}

func (e *Engine) usedAddresses() (map[netip.Addr]bool, error) {
	used := map[netip.Addr]bool{}
	all, err := e.containers()
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		r, err := e.run(c.Config.ID)
		if err != nil {
			return nil, err
		}
		if r == nil {
			continue
		}
		for _, a := range r.Networks {
			if prefix, err := netip.ParsePrefix(a.IPv4Address); err == nil {
				used[prefix.Addr()] = true
			}
		}
	}
	return used, nil
}

// podmanStart starts the process. Its log begins anew.
func (e *Engine) podmanStart(ctx context.Context, c *container, stdio []*os.File) (wait func() (int, error), err error) {
	id := c.Config.ID
	for _, name := range []string{fileRefusal, filePID} {
		if err := os.RemoveAll(e.containerPath(id, name)); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(e.containerPath(id, fileLog), nil, 0o600); err != nil {
		return nil, err
	}
	args := []string{"--hooks-dir", e.path("hooks"), "start"}
	if stdio == nil {
		_, err := output(ctx, "", "podman", append(args, c.PodmanID)...)
		return nil, e.startFailure(c, err)
	}
	args = append(args, "--attach", "--sig-proxy=false")
	if c.Stdin {
		args = append(args, "--interactive")
	}
	return e.podmanAttach(ctx, c, append(args, c.PodmanID), stdio)
}

// podmanAttach starts the process with its streams attached. Podman stays as
// long as the process: it has started when its number is written.
func (e *Engine) podmanAttach(ctx context.Context, c *container, args []string, stdio []*os.File) (wait func() (int, error), err error) {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "podman", args...)
	complaints := &gate{to: stdio[2]}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdio[0], stdio[1], complaints
	if err := cmd.Start(); err != nil {
		return nil, because(err, "failed to start container %s", c.Config.ID)
	}
	// Only Podman and the process keep the streams open.
	_ = stdio[0].Close()
	_ = stdio[1].Close()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	pidfile := e.containerPath(c.Config.ID, filePID)
	for {
		select {
		case err := <-ended:
			if _, statErr := os.Stat(pidfile); statErr != nil {
				return nil, e.startFailure(c, fmt.Errorf("%w: %s", cmpError(err, statErr), lastLine(complaints.text())))
			}
			complaints.open()
			return func() (int, error) { return exitCode(err) }, nil
		case <-time.After(2 * time.Millisecond):
			if info, err := os.Stat(pidfile); err == nil && info.Size() > 0 {
				complaints.open()
				return func() (int, error) { return exitCode(<-ended) }, nil
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// gate holds back what Podman says until the process runs: what comes before is
// Podman's own, what comes then the process's.
type gate struct {
	to     *os.File
	lock   sync.Mutex
	held   []byte
	passes bool
}

func (g *gate) Write(p []byte) (int, error) {
	g.lock.Lock()
	defer g.lock.Unlock()
	if g.passes {
		return g.to.Write(p)
	}
	g.held = append(g.held, p...)
	return len(p), nil
}

func (g *gate) open() {
	g.lock.Lock()
	defer g.lock.Unlock()
	_, _ = g.to.Write(g.held) // a caller that is gone misses it
	g.held, g.passes = nil, true
}

func (g *gate) text() string {
	g.lock.Lock()
	defer g.lock.Unlock()
	return string(g.held)
}

func cmpError(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// exitCode is the status that a program passed on.
func exitCode(err error) (int, error) {
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() >= 0 {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// startFailure turns Podman's words into the program's.
func (e *Engine) startFailure(c *container, err error) error {
	if err == nil {
		return nil
	}
	refusal := &Error{}
	if found, loadErr := load(e.containerPath(c.Config.ID, fileRefusal), refusal); loadErr == nil && found {
		return refusal
	}
	if strings.Contains(err.Error(), "executable file") {
		return missingExecutable(c.Config.InitProcess.Executable)
	}
	return because(err, "failed to start container %s", c.Config.ID)
}

func missingExecutable(name string) *Error {
	return Failf(InternalError, "failed to find target executable %s", name)
}

// forgetRun undoes a start that failed.
func (e *Engine) forgetRun(id string) error {
	dropNetns(e.netns(id))
	return os.RemoveAll(e.containerPath(id, fileRunning))
}

// helper is the runtime helper of a container, as its starter sees it.
type helper struct {
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

// startHelper runs the helper and waits until it holds its listeners.
func (e *Engine) startHelper(ctx context.Context, c *container) (*helper, error) {
	cmd := e.role(context.WithoutCancel(ctx), RoleRuntime, c.Config.ID)
	log, err := os.OpenFile(e.containerPath(c.Config.ID, "runtime.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd.Stderr = log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, because(err, "failed to start the runtime of %s", c.Config.ID)
	}
	h := &helper{stdin: stdin, stdout: bufio.NewReader(stdout)}
	line, err := h.stdout.ReadString('\n')
	if err == nil && line == helperReady {
		return h, nil
	}
	h.release()
	return nil, Failf(InternalError, "failed to bootstrap container %s: %s", c.Config.ID, strings.TrimSpace(line))
}

// watch tells the helper which process to watch.
func (h *helper) watch(r *running) error {
	_, err := fmt.Fprintf(h.stdin, "%d %d\n", r.PID, r.Ticks)
	return err
}

// release lets go of the helper; one that watches nothing ends.
func (h *helper) release() { _ = h.stdin.Close() }
