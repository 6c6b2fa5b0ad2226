package world

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world/internet"
)

// ip runs one command of iproute2, written as a line.
func ip(ctx context.Context, line string) error {
	out, err := exec.CommandContext(ctx, find("ip"), strings.Fields(line)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", line, err, out)
	}
	return nil
}

func ipAll(ctx context.Context, lines ...string) error {
	for _, line := range lines {
		if err := ip(ctx, line); err != nil {
			return err
		}
	}
	return nil
}

// prepareNetwork makes a new network namespace predictable: addresses work at
// once, and a packet is not dropped for where it came from, which would hide a
// leak.
func prepareNetwork(ctx context.Context) error {
	for name, value := range map[string]string{
		"ipv6/conf/all/accept_dad": "0", "ipv6/conf/default/accept_dad": "0",
		"ipv4/conf/all/rp_filter": "0", "ipv4/conf/default/rp_filter": "0",
	} {
		if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0o644); err != nil {
			return fmt.Errorf("net.%s cannot be set in the world: %w", name, err)
		}
	}
	return ip(ctx, "link set lo up")
}

// outside is the process that is the Internet. Its pipes carry one byte each
// way: "exists", "has its link", "serves".
type outside struct {
	pid  int
	to   *os.File
	from *os.File
}

// startOutside starts the Internet in a network namespace of its own and joins
// it to ours by a pair of virtual cards.
func startOutside(ctx context.Context, l layout) (*outside, error) {
	if err := prepareNetwork(ctx); err != nil {
		return nil, err
	}
	o, err := spawnOutside(l)
	if err != nil {
		return nil, err
	}
	if err := o.wait(); err != nil {
		return nil, err
	}
	if err := ipAll(ctx,
		"link add "+uplink+" type veth peer name uplink netns "+strconv.Itoa(o.pid),
		"addr add "+HostAddress+"/24 dev "+uplink,
		"addr add "+HostAddress6+"/64 dev "+uplink+" nodad",
		"link set "+uplink+" up",
	); err != nil {
		return nil, err
	}
	if _, err := o.to.Write([]byte{1}); err != nil {
		return nil, fmt.Errorf("the fake Internet has ended: %w", err)
	}
	if err := o.wait(); err != nil {
		return nil, err
	}
	if err := ipAll(ctx, "route add default via "+gateway, "-6 route add default via "+gateway6); err != nil {
		return nil, err
	}
	return o, reach(ctx)
}

func spawnOutside(l layout) (*outside, error) {
	inRead, inWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	process, err := os.StartProcess("/proc/self/exe", os.Args[:1], &os.ProcAttr{
		Env:   l.stage("internet"),
		Files: []*os.File{inRead, outWrite, os.Stderr},
		Sys:   &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL},
	})
	if err != nil {
		return nil, fmt.Errorf("the fake Internet cannot be started: %w", err)
	}
	_ = inRead.Close()
	_ = outWrite.Close()
	return &outside{process.Pid, inWrite, outRead}, nil
}

func (o *outside) wait() error {
	if err := o.from.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	if _, err := io.ReadFull(o.from, make([]byte, 1)); err != nil {
		return fmt.Errorf("the fake Internet did not come up: %w", err)
	}
	return nil
}

// reach waits until both protocols arrive outside: a new link takes a moment,
// in which a leak would look closed.
func reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var dialer net.Dialer
	for _, a := range CanaryAddresses() {
		for {
			conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(a.String(), "80"))
			if err == nil {
				_ = conn.Close()
				break
			}
			if ctx.Err() != nil {
				return fmt.Errorf("the fake Internet's %s is not reached: %w", a, err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

// serveOutside is the life of the Internet's process.
func serveOutside(l layout) error {
	ctx := context.Background()
	if _, err := os.Stdout.Write([]byte{1}); err != nil {
		return err
	}
	if _, err := io.ReadFull(os.Stdin, make([]byte, 1)); err != nil {
		return err
	}
	if err := prepareNetwork(ctx); err != nil {
		return err
	}
	if err := ipAll(ctx, outsideRoutes()...); err != nil {
		return err
	}
	if err := internet.Serve(ctx, internet.Config{
		Events: l.events(), Names: l.names(), Sites: l.sites(), CACert: l.originCA(), CAKey: l.originCAKey(),
	}); err != nil {
		return err
	}
	if _, err := os.Stdout.Write([]byte{1}); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin) // until the world ends
	return err
}

// outsideRoutes make every address local to the Internet, except the ones that
// networks behind the Mac may have: answers find back to whoever leaked.
func outsideRoutes() []string {
	lines := []string{
		"addr add " + gateway + "/24 dev uplink",
		"addr add " + gateway6 + "/64 dev uplink nodad",
		"link set uplink up",
	}
	for _, back := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"} {
		lines = append(lines, "route add "+back+" via "+HostAddress+" table local")
	}
	return append(lines,
		"route add 198.51.100.0/24 dev uplink table local",
		"route add local 172.31.77.0/24 dev lo table local",
		"route add local 0.0.0.0/0 dev lo table local",
		"-6 route add fc00::/7 via "+HostAddress6+" table local",
		"-6 route add 2001:db8:f::/64 dev uplink table local",
		"-6 route add local fd00:ec2::254/128 dev lo table local",
		"-6 route add local ::/0 dev lo table local",
	)
}

// serveHost opens the services of the Mac itself: what a leaky guest finds on
// the gateway address of its network.
func serveHost(ctx context.Context, l layout) error {
	log, err := internet.OpenLog(l.events(), internet.PlaceHost)
	if err != nil {
		return err
	}
	return errors.Join(
		internet.ServeBanner(ctx, hostTCPPorts(), "a service of the Mac", log),
		internet.ServeUDP(ctx, hostUDPPorts(), log.Echo),
	)
}
