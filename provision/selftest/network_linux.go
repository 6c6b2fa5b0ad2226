package selftest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// atOnce is how long a refusal by this kernel may take on a busy machine. An
// "unreachable" that takes longer came from somebody else, over a wire.
const atOnce = 250 * time.Millisecond

// closedErrnos are this kernel's ways to say that no packet can leave. That
// something refused the connection is not among them: something was reached.
var closedErrnos = []unix.Errno{
	unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EADDRNOTAVAIL, unix.EACCES, unix.EPERM,
	unix.EAFNOSUPPORT, unix.ENETDOWN,
}

// network holds what its checks share.
type network struct {
	spec Spec
}

func newNetwork(spec Spec) *network { return &network{spec: spec} }

// plain makes a probe of a check that does not wait.
func plain(run func() (string, error)) probe {
	return func(context.Context) (string, error) { return run() }
}

func (n *network) tcp4(ctx context.Context) (string, error) {
	targets := n.spec.Targets.TCP4
	if n.spec.Canary != "" {
		targets = append(slices.Clone(targets), n.spec.Canary)
	}
	return n.unreachable(ctx, "tcp", targets, 80, 443)
}

func (n *network) tcp6(ctx context.Context) (string, error) {
	return n.unreachable(ctx, "tcp", n.spec.Targets.TCP6, 80, 443)
}

func (n *network) udp(ctx context.Context) (string, error) {
	return n.unreachable(ctx, "udp", n.spec.Targets.UDP, 53)
}

func (n *network) metadata(ctx context.Context) (string, error) {
	return n.unreachable(ctx, "tcp", n.spec.Targets.Metadata, 80)
}

// host tries the host's own addresses. Link-local ones mean something on an
// interface only: linkLocal tries them on each.
func (n *network) host(ctx context.Context) (string, error) {
	targets := slices.DeleteFunc(slices.Clone(n.spec.HostAddresses), func(s string) bool {
		addr, err := netip.ParseAddr(s)
		return err == nil && (addr.IsLinkLocalUnicast() && addr.Is6() || addr.IsLoopback())
	})
	if _, err := n.unreachable(ctx, "udp", targets, 53); err != nil {
		return "", err
	}
	return n.unreachable(ctx, "tcp", targets, 22, 80, 443)
}

func (n *network) linkLocal(ctx context.Context) (string, error) {
	links, err := net.Interfaces()
	if err != nil {
		return "", fmt.Errorf("list the interfaces: %w", err)
	}
	addresses := []string{"fe80::1"}
	for _, s := range n.spec.HostAddresses {
		if addr, err := netip.ParseAddr(s); err == nil && addr.Is6() && addr.IsLinkLocalUnicast() {
			addresses = append(addresses, addr.WithZone("").String())
		}
	}
	var targets []string
	for _, link := range links {
		for _, a := range addresses {
			targets = append(targets, a+"%"+link.Name)
		}
	}
	return n.unreachable(ctx, "tcp", targets, 22, 80, 443)
}

// unreachable tries every target on every port, all at once.
func (n *network) unreachable(ctx context.Context, proto string, targets []string, ports ...int) (string, error) {
	type try struct {
		where string
		err   error
	}
	results := make(chan try)
	count := 0
	for _, target := range targets {
		for _, port := range ports {
			count++
			where := net.JoinHostPort(target, strconv.Itoa(port))
			go func() { results <- try{where, n.closed(ctx, proto, where)} }()
		}
	}
	var open []string
	for range count {
		if r := <-results; r.err != nil {
			open = append(open, r.where+": "+r.err.Error())
		}
	}
	if len(open) > 0 {
		slices.Sort(open)
		return "", fmt.Errorf("%s: %s", proto, strings.Join(open, "; "))
	}
	return fmt.Sprintf("%d targets unreachable", count), nil
}

// closed returns nil when where cannot be reached.
func (n *network) closed(ctx context.Context, proto, where string) error {
	start := time.Now()
	err := n.attempt(ctx, proto, where)
	return verdict(err, time.Since(start), n.spec.Canary != "")
}

// attempt returns nil when something at where accepted or answered.
func (n *network) attempt(ctx context.Context, proto, where string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, proto, where)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if proto == "tcp" {
		return nil
	}
	return exchange(ctx, conn, n.spec.UnlistedHost)
}

// exchange sends a DNS question and waits for any answer. Its error is nil
// when there was one.
func exchange(ctx context.Context, conn net.Conn, host string) error {
	if err := conn.SetDeadline(deadline(ctx)); err != nil {
		return err
	}
	if _, err := conn.Write(question(host)); err != nil {
		return err
	}
	_, err := conn.Read(make([]byte, 512))
	return err
}

// verdict says whether a failed attempt proves that the way is closed.
func verdict(err error, took time.Duration, canary bool) error {
	var timeout net.Error
	switch {
	case err == nil:
		return errors.New("it answered")
	case slices.ContainsFunc(closedErrnos, func(e unix.Errno) bool { return errors.Is(err, e) }):
		if took > atOnce && !canary {
			return fmt.Errorf("unreachable only after %s: a packet may have left", took.Round(time.Millisecond))
		}
		return nil
	case errors.Is(err, unix.ECONNREFUSED):
		return errors.New("something there refused the connection, so it was reached")
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		if canary {
			return nil
		}
		return errors.New("no answer in time: a packet may have left")
	}
	return err
}

func (n *network) interfaces(context.Context) (string, error) {
	links, err := net.Interfaces()
	if err != nil {
		return "", fmt.Errorf("list the interfaces: %w", err)
	}
	var names []string
	for _, link := range links {
		names = append(names, link.Name)
	}
	want := slices.Sorted(slices.Values(n.spec.ExpectInterfaces))
	slices.Sort(names)
	if !slices.Equal(names, want) {
		return "", fmt.Errorf("there are %q, expected %q", names, want)
	}
	return strings.Join(names, " ") + " only", nil
}

func routes() (string, error) {
	var found []string
	for path, parse := range map[string]func(string) ([]string, error){
		"/proc/net/route": parseRoute4, "/proc/net/ipv6_route": parseRoute6,
	} {
		text, err := readProc(path)
		if errors.Is(err, unix.ENOENT) {
			continue // this kernel has no such protocol
		}
		if err != nil {
			return "", err
		}
		list, err := parse(text)
		if err != nil {
			return "", fmt.Errorf("read %s: %w", path, err)
		}
		found = append(found, list...)
	}
	if len(found) > 0 {
		return "", fmt.Errorf("there are routes: %s", strings.Join(found, "; "))
	}
	return "none beyond lo", nil
}

// dns looks for a resolver: those the guest is told of, and those that could
// wait on loopback. Any answer, also "no such name", is a way out for data.
func (n *network) dns(ctx context.Context) (string, error) {
	text, err := readProc("/etc/resolv.conf")
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return "", err
	}
	servers := append(parseNameservers(text), "127.0.0.1", "127.0.0.11", "127.0.0.53", "::1")
	for _, server := range servers {
		for _, proto := range []string{"udp", "tcp"} {
			if err := n.noResolver(ctx, proto, server); err != nil {
				return "", fmt.Errorf("resolver %s over %s: %w", server, proto, err)
			}
		}
	}
	addrs, err := (&net.Resolver{PreferGo: true}).LookupHost(ctx, n.spec.UnlistedHost)
	if err == nil {
		return "", fmt.Errorf("%s resolves to %q", n.spec.UnlistedHost, addrs)
	}
	return fmt.Sprintf("%d places hold no resolver", len(servers)), nil
}

// noResolver returns nil when nothing serves names at an address. On loopback a
// refusal is this kernel's own and says that nobody is there.
func (n *network) noResolver(ctx context.Context, proto, server string) error {
	start := time.Now()
	err := n.attempt(ctx, proto, net.JoinHostPort(server, "53"))
	addr, parseErr := netip.ParseAddr(server)
	if parseErr == nil && addr.IsLoopback() && errors.Is(err, unix.ECONNREFUSED) {
		return nil
	}
	return verdict(err, time.Since(start), n.spec.Canary != "")
}
