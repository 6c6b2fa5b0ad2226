package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/shape"
)

// Prepare makes the firewall and the default network in this network
// namespace, unless they are there.
func (e *Engine) Prepare(ctx context.Context) error {
	if e.prepared() {
		return nil
	}
	unlock, err := e.lock(ctx, lockPrepare)
	if err != nil {
		return err
	}
	defer unlock()
	if e.prepared() {
		return nil
	}
	if err := setSysctls(); err != nil {
		return err
	}
	if _, err := output(ctx, firewallRules(hostResolver()), "iptables-restore", "--noflush", "-w"); err != nil {
		return err
	}
	if _, err := output(ctx, firewallRules6(), "ip6tables-restore", "--noflush", "-w"); err != nil {
		return err
	}
	// A record from another life of this state directory has no bridge.
	if err := os.RemoveAll(e.networkPath(DefaultNetwork)); err != nil {
		return err
	}
	if err := e.writeHook(); err != nil {
		return err
	}
	return e.createNetwork(ctx, NetworkRequest{
		Name: DefaultNetwork, Labels: map[string]string{shape.RoleLabel: "builtin"},
	})
}

// prepared reports whether the default network is there, its record included,
// which is written last.
func (e *Engine) prepared() bool {
	_, err := os.Stat(e.networkPath(DefaultNetwork))
	return err == nil && bridgeExists(bridgeName(natKind, DefaultNetwork))
}

func bridgeExists(name string) bool {
	_, err := net.InterfaceByName(name)
	return err == nil
}

// setSysctls has the host forward and answer refusals without a limit of rate,
// and keeps the firewall out of what stays on one bridge.
func setSysctls() error {
	for path, value := range map[string]string{
		"ipv4/ip_forward": "1", "ipv4/icmp_ratelimit": "0", "ipv6/icmp/ratelimit": "0",
		"bridge/bridge-nf-call-iptables": "0", "bridge/bridge-nf-call-ip6tables": "0",
	} {
		err := os.WriteFile(filepath.Join("/proc/sys/net", path), []byte(value), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("the host's network cannot be set up: %w", err)
		}
	}
	return nil
}

// hostResolver is the host's first IPv4 nameserver, "" when it has none.
func hostResolver() string {
	data, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) >= 2 && fields[0] == "nameserver" && net.ParseIP(fields[1]).To4() != nil {
			return fields[1]
		}
	}
	return ""
}

func makeBridge(ctx context.Context, n *network) error {
	// What a killed call left behind has no record.
	if bridgeExists(n.Bridge) {
		if err := deleteBridge(ctx, n.Bridge); err != nil {
			return err
		}
	}
	if err := ip(ctx, "link add "+n.Bridge+" type bridge"); err != nil {
		return err
	}
	noDAD(n.Bridge)
	return addressBridge(ctx, n)
}

func addressBridge(ctx context.Context, n *network) error {
	subnet := n.subnet()
	return ip(ctx,
		"addr flush dev "+n.Bridge+" scope global",
		"addr add "+withBits(gatewayOf(subnet), subnet.Bits())+" dev "+n.Bridge,
		"addr add "+withBits(address6(subnet, gatewayOf(subnet)), 64)+" dev "+n.Bridge+" nodad",
		"link set "+n.Bridge+" up")
}

// noDAD has a link's own address usable at once. Without IPv6 there is none.
func noDAD(link string) {
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+link+"/accept_dad", []byte("0"), 0)
}

func deleteBridge(ctx context.Context, bridge string) error {
	if !bridgeExists(bridge) {
		return nil
	}
	return ip(ctx, "link del "+bridge)
}

// port is one interface of a guest.
type port struct {
	shape.Attachment
	Bridge string
}

// makeNetns makes a network namespace with the ports, in order eth0, eth1, …,
// at a path. The first has the default route, also on an internal network.
func makeNetns(ctx context.Context, path string, ports []port) error {
	if err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare the network: %w", err)
		}
		noDAD("default")
		if err := unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("keep the network namespace: %w", err)
		}
		return ip(ctx, "link set lo up")
	}); err != nil {
		return err
	}
	var outside, inside []string
	for i, p := range ports {
		peer := peerName(path, i)
		outside = append(outside,
			fmt.Sprintf("link add %s mtu %d type veth peer name eth%d mtu %d address %s netns %s", peer, p.MTU, i, p.MTU, p.MACAddress, path),
			fmt.Sprintf("link set %s master %s up", peer, p.Bridge))
		inside = append(inside,
			fmt.Sprintf("addr add %s dev eth%d", p.IPv4Address, i),
			fmt.Sprintf("addr add %s dev eth%d nodad", p.IPv6Address, i),
			fmt.Sprintf("link set eth%d up", i))
		if i == 0 {
			inside = append(inside, "route add default via "+p.IPv4Gateway)
		}
	}
	if len(ports) == 0 {
		return nil
	}
	dropPeers(path) // of a guest of this name whose namespace the kernel still holds
	if err := ip(ctx, outside...); err != nil {
		return err
	}
	return inNetns(path, func() error { return ip(ctx, inside...) })
}

// inNetns runs fn in the network namespace at a path; programs that fn starts
// are in it too.
func inNetns(path string, fn func() error) error {
	return onThread(func() error {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open the network namespace: %w", err)
		}
		defer func() { _ = unix.Close(fd) }()
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the network namespace: %w", err)
		}
		return fn()
	})
}

// onThread runs fn on a thread of its own, which ends with it: what fn changed
// of the thread concerns nobody else.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends
		done <- fn()
	}()
	return <-done
}

// dropNetns ends a network namespace whose processes are gone. The file it was
// at stays, since Podman wants to see one.
func dropNetns(path string) {
	for unix.Unmount(path, unix.MNT_DETACH) == nil {
	}
	dropPeers(path)
}

// peerName is the outer end of a guest's interface.
func peerName(path string, i int) string { return fmt.Sprintf("av%s%02d", short(path), i) }

const (
	maxPeers = 8
	dropTime = 10 * time.Second
)

// dropPeers deletes the outer ends of a namespace's links, and the inner ones
// with them. The kernel does so too, but only some time after the last process
// has gone.
func dropPeers(path string) {
	ctx, cancel := context.WithTimeout(context.Background(), dropTime)
	defer cancel()
	for i := range maxPeers {
		if name := peerName(path, i); bridgeExists(name) {
			_ = ip(ctx, "link del "+name) // it may have gone this moment
		}
	}
}
