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
	"sync"
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
	return n.unreachable(ctx, tries("tcp", targets, 80, 443))
}

func (n *network) tcp6(ctx context.Context) (string, error) {
	return n.unreachable(ctx, tries("tcp", n.spec.Targets.TCP6, 80, 443))
}

func (n *network) udp(ctx context.Context) (string, error) {
	return n.unreachable(ctx, tries("udp", n.spec.Targets.UDP, 53))
}

func (n *network) metadata(ctx context.Context) (string, error) {
	return n.unreachable(ctx, tries("tcp", n.spec.Targets.Metadata, 80))
}

// host tries the host's own addresses. Link-local ones mean something on an
// interface only: linkLocal tries them on each.
func (n *network) host(ctx context.Context) (string, error) {
	targets := slices.DeleteFunc(slices.Clone(n.spec.HostAddresses), func(s string) bool {
		addr, err := netip.ParseAddr(s)
		return err == nil && (addr.IsLinkLocalUnicast() && addr.Is6() || addr.IsLoopback())
	})
	return n.unreachable(ctx, append(tries("tcp", targets, 22, 80, 443), tries("udp", targets, 53)...))
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
	return n.unreachable(ctx, tries("tcp", targets, 22, 80, 443))
}

// try is one attempt to reach something.
type try struct{ proto, where string }

func (t try) String() string { return t.where + "/" + t.proto }

func tries(proto string, targets []string, ports ...int) []try {
	var out []try
	for _, target := range targets {
		for _, port := range ports {
			out = append(out, try{proto, net.JoinHostPort(target, strconv.Itoa(port))})
		}
	}
	return out
}

// unreachable demands that every attempt fails as it should.
func (n *network) unreachable(ctx context.Context, all []try) (string, error) {
	if err := together(all, func(t try) error { return n.closed(ctx, t) }); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d targets unreachable", len(all)), nil
}

// together makes all attempts at once, so that each has the whole time: behind
// a silent one, another would end in a time-out that proves nothing.
func together(all []try, attempt func(try) error) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, t := range all {
		wg.Go(func() { errs[i] = attempt(t) })
	}
	wg.Wait()
	var open []string
	for i, err := range errs {
		if err != nil {
			open = append(open, all[i].String()+": "+err.Error())
		}
	}
	if len(open) > 0 {
		return errors.New(strings.Join(open, "; "))
	}
	return nil
}

// closed returns nil when where cannot be reached.
func (n *network) closed(ctx context.Context, t try) error {
	start := time.Now()
	err := n.attempt(ctx, t)
	return verdict(err, time.Since(start), n.spec.Canary != "")
}

// attempt returns nil when something there accepted or answered.
func (n *network) attempt(ctx context.Context, t try) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, t.proto, t.where)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if t.proto == "tcp" {
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
	all := append(tries("udp", servers, 53), tries("tcp", servers, 53)...)
	lookup := make(chan error, 1)
	go func() {
		addrs, err := (&net.Resolver{PreferGo: true}).LookupHost(ctx, n.spec.UnlistedHost)
		if err != nil {
			lookup <- nil // as it should
			return
		}
		lookup <- fmt.Errorf("%s resolves to %q", n.spec.UnlistedHost, addrs)
	}()
	err = together(all, func(t try) error { return n.noResolver(ctx, t) })
	if err = errors.Join(err, <-lookup); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d places hold no resolver", len(servers)), nil
}

// noResolver returns nil when nothing serves names at an address. On loopback a
// refusal is this kernel's own and says that nobody is there.
func (n *network) noResolver(ctx context.Context, t try) error {
	start := time.Now()
	err := n.attempt(ctx, t)
	where, parseErr := netip.ParseAddrPort(t.where)
	if parseErr == nil && where.Addr().IsLoopback() && errors.Is(err, unix.ECONNREFUSED) {
		return nil
	}
	return verdict(err, time.Since(start), n.spec.Canary != "")
}
