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

// closedErrnos are this kernel's ways to say that no packet can leave. That
// something refused the connection is not among them: something was reached.
var closedErrnos = []unix.Errno{
	unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EADDRNOTAVAIL, unix.EACCES, unix.EPERM,
	unix.EAFNOSUPPORT, unix.ENETDOWN,
}

// maxSockets bounds the attempts at once. One that finds no room in time is
// red: it was not made.
const maxSockets = 512

// network holds what its checks share.
type network struct {
	spec   Spec
	room   chan struct{}
	around func() (surroundings, error)
	calls  calls
}

func newNetwork(spec Spec) *network {
	return &network{
		spec:   spec,
		room:   make(chan struct{}, maxSockets),
		around: sync.OnceValues(func() (surroundings, error) { return look(spec) }),
	}
}

// plain makes a probe of a check that does not wait.
func plain(run func() (string, error)) probe {
	return func(context.Context) (string, error) { return run() }
}

func (n *network) tcp4(ctx context.Context) (string, error) {
	return n.unreachable(ctx, tries("tcp", n.with(n.spec.Targets.TCP4, netip.Addr.Is4), 80, 443))
}

func (n *network) tcp6(ctx context.Context) (string, error) {
	return n.unreachable(ctx, tries("tcp", n.with(n.spec.Targets.TCP6, netip.Addr.Is6), 80, 443))
}

func (n *network) udp(ctx context.Context) (string, error) {
	all := tries("udp", n.spec.Targets.UDP, 53)
	if n.spec.Canary != "" {
		canary := []string{n.spec.Canary}
		all = append(all, slices.Concat(tries("udp", canary, 53), tries("tcp", canary, 53))...)
	}
	return n.unreachable(ctx, all)
}

// with adds the canary to targets, when it is of their kind.
func (n *network) with(targets []string, kind func(netip.Addr) bool) []string {
	canary, err := netip.ParseAddr(n.spec.Canary)
	if err != nil || !kind(canary) {
		return targets
	}
	return append(slices.Clone(targets), n.spec.Canary)
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
	all := tries("tcp", targets, 22, 80, 443)
	if !n.spec.Network {
		return n.unreachable(ctx, all)
	}
	var routers int
	var routersErr error
	var wg sync.WaitGroup
	wg.Go(func() { routers, routersErr = n.routerLinks(ctx) })
	detail, err := n.unreachable(ctx, all)
	wg.Wait()
	if err = errors.Join(err, routersErr); err != nil {
		return "", oneLine(err)
	}
	return fmt.Sprintf("%s, and %d addresses of gateways", detail, routers), nil
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
	if !n.spec.Network && noWay(t) {
		return nil
	}
	return verdict(n.attempt(ctx, t), n.spec.Network)
}

// noWay reports that this kernel refuses the way to t before a packet leaves.
// Only connect(2) itself can tell that from an "unreachable" that a router sent:
// it answers what the kernel knows, and everything heard later comes by wire.
func noWay(t try) bool {
	to, err := netip.ParseAddrPort(t.where)
	if err != nil {
		return false
	}
	kind, domain := unix.SOCK_STREAM, unix.AF_INET
	if t.proto == "udp" {
		kind = unix.SOCK_DGRAM
	}
	var name unix.Sockaddr
	if to.Addr().Is4() {
		name = &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	} else {
		domain = unix.AF_INET6
		name6 := &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
		if link, err := net.InterfaceByName(to.Addr().Zone()); err == nil {
			name6.ZoneId = uint32(link.Index) //nolint:gosec // the kernel numbers links from 1 in 31 bits
		}
		name = name6
	}
	fd, err := unix.Socket(domain, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return shut(err)
	}
	defer func() { _ = unix.Close(fd) }()
	return shut(unix.Connect(fd, name))
}

// errNoRoom is not a closed way: nothing was tried.
var errNoRoom = errors.New("not tried: too many attempts for the time allowed")

// patience is how long one attempt waits where silence is closed: less than
// half of the time, so that those which find no room at first get a turn too.
func (n *network) patience() time.Duration { return n.spec.Timeout * 9 / 20 }

// enter waits for room for one attempt and gives the time that it has.
func (n *network) enter(ctx context.Context) (inner context.Context, leave func(), err error) {
	select {
	case n.room <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, errNoRoom
	}
	if !n.spec.Network {
		return ctx, func() { <-n.room }, nil
	}
	inner, cancel := context.WithTimeout(ctx, n.patience())
	leave = func() { cancel(); <-n.room }
	if time.Until(deadline(inner)) < n.patience()/2 {
		leave()
		return nil, nil, errNoRoom
	}
	return inner, leave, nil
}

// attempt returns nil when something there accepted or answered.
func (n *network) attempt(ctx context.Context, t try) error {
	ctx, leave, err := n.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
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
// patient is for guests with a network, in which silence is all there is to
// see of a closed way.
func verdict(err error, patient bool) error {
	switch {
	case err == nil:
		return errors.New("it answered")
	case shut(err):
		if !patient {
			return errors.New("somebody said that it is unreachable: a packet may have left")
		}
		return nil
	case errors.Is(err, unix.ECONNREFUSED):
		return errors.New("something there refused the connection, so it was reached")
	case silent(err):
		if patient {
			return nil
		}
		return errors.New("no answer in time: a packet may have left")
	}
	return err
}

// shut reports that this kernel says that no packet can get there.
func shut(err error) bool {
	return slices.ContainsFunc(closedErrnos, func(e unix.Errno) bool { return errors.Is(err, e) })
}

// silent reports that the time was over before anything happened.
func silent(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

// refused reports that something was reached that wants no connection.
func refused(err error) bool {
	return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ECONNRESET)
}

func oneLine(err error) error {
	return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
}

func (n *network) interfaces(context.Context) (string, error) {
	links, err := net.Interfaces()
	if err != nil {
		return "", fmt.Errorf("list the interfaces: %w", err)
	}
	want := slices.Sorted(slices.Values(n.spec.ExpectInterfaces))
	var names []string
	for _, link := range links {
		// A kernel of its own may have tunnels built in, which nobody uses.
		if !n.spec.OwnKernel || slices.Contains(want, link.Name) || !idle(link) {
			names = append(names, link.Name)
		}
	}
	slices.Sort(names)
	if !slices.Equal(names, want) {
		return "", fmt.Errorf("there are %q, expected %q", names, want)
	}
	return strings.Join(names, " ") + " only", nil
}

// idle reports that an interface is down and has no address.
func idle(link net.Interface) bool {
	addrs, err := link.Addrs()
	return err == nil && len(addrs) == 0 && link.Flags&net.FlagUp == 0
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
		ctx, leave, err := n.enter(ctx)
		if err != nil {
			lookup <- err
			return
		}
		defer leave()
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
// refusal is this kernel's own and says that nobody is there; the sidecar may
// be reached, as long as it resolves nothing.
func (n *network) noResolver(ctx context.Context, t try) error {
	if !n.spec.Network && noWay(t) {
		return nil
	}
	err := n.attempt(ctx, t)
	where, parseErr := netip.ParseAddrPort(t.where)
	sidecar, beside := n.spec.sidecar()
	own := parseErr == nil && (where.Addr().IsLoopback() || beside && where.Addr() == sidecar.Addr())
	if own && errors.Is(err, unix.ECONNREFUSED) {
		return nil
	}
	return verdict(err, n.spec.Network)
}
