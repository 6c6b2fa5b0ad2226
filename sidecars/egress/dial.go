package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

const (
	// maxAddresses bounds how many answers of one name are tried.
	maxAddresses = 8
	// ownAddressesFor is how long the list of this machine's addresses is
	// kept: addresses come with networks, and reading them costs a system call.
	ownAddressesFor = 5 * time.Second
)

// Resolver turns a name into addresses. *net.Resolver implements it.
type Resolver interface {
	// LookupNetIP returns every address of host; network is "ip".
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// rootedResolver asks for the name exactly: with a trailing dot no search
// domain of the host can turn it into another one.
type rootedResolver struct{ r *net.Resolver }

func (r rootedResolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return r.r.LookupNetIP(ctx, network, host+".")
}

// outbound resolves, classifies and dials. Nothing else in this package opens
// a connection.
type outbound struct {
	classes    *classifier
	resolver   Resolver
	dial       func(ctx context.Context, network, address string) (net.Conn, error)
	interfaces func() ([]net.Addr, error)
	resolveIn  time.Duration
	connectIn  time.Duration

	mu    sync.Mutex
	own   map[netip.Addr]bool
	until time.Time
}

// dialFor serves http.Transport.DialContext.
func (o *outbound) dialFor(t *table) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, _, addr string) (net.Conn, error) { return o.dialName(ctx, t, addr) }
}

// dialName takes the name that the policy allowed; it is looked up in the
// policy again, so that no path through the transport reaches a host without a
// route.
func (o *outbound) dialName(ctx context.Context, t *table, addr string) (net.Conn, error) {
	to, err := policy.ParseAuthority(addr, 0)
	if err != nil {
		return nil, badAuthority(err)
	}
	r := t.lookup(to.Host)
	if r == nil {
		return nil, denied(t.policy.DecideHost(schemeHTTPS, to))
	}
	addrs, no := o.resolve(ctx, r, to.Host)
	if no != nil {
		return nil, no
	}
	ctx, cancel := context.WithTimeout(ctx, o.connectIn)
	defer cancel()
	return o.dialFirst(ctx, r, addrs, to.Port)
}

// resolve returns the addresses of host, all of them permitted: one address
// that is not makes the whole answer suspect (DNS rebinding).
func (o *outbound) resolve(ctx context.Context, r *route, host string) ([]netip.Addr, *refusal) {
	addrs, no := o.lookup(ctx, host)
	if no != nil {
		return nil, no.withRule(r.rule)
	}
	if len(addrs) == 0 {
		return nil, upstreamRefusal(http.StatusBadGateway, reasonResolve, fmt.Sprintf("The name %s has no address.", host)).withRule(r.rule)
	}
	for i, a := range addrs {
		addrs[i] = a.Unmap()
		if class := o.class(addrs[i]); !permits(r.private, addrs[i], class) {
			return nil, addressRefusal(r, host, class)
		}
	}
	return addrs[:min(len(addrs), maxAddresses)], nil
}

func (o *outbound) lookup(ctx context.Context, host string) ([]netip.Addr, *refusal) {
	if addr, ok := policy.LiteralIP(host); ok {
		return []netip.Addr{addr}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, o.resolveIn)
	defer cancel()
	addrs, err := o.resolver.LookupNetIP(ctx, "ip", host)
	if err == nil {
		return addrs, nil
	}
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return nil, upstreamRefusal(http.StatusBadGateway, reasonResolve, fmt.Sprintf("The name %s does not exist.", host))
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &dns) && dns.IsTimeout:
		return nil, upstreamRefusal(http.StatusGatewayTimeout, reasonResolve, fmt.Sprintf("Resolving the name %s took too long.", host))
	}
	return nil, upstreamRefusal(http.StatusBadGateway, reasonResolve, fmt.Sprintf("The name %s could not be resolved.", host))
}

// class adds to the classifier what only this machine knows: its own
// addresses, public ones included. Loopback keeps its own class.
func (o *outbound) class(a netip.Addr) string {
	class := o.classes.class(a)
	if class != classLoopback && class != classMetadata && o.isOwn(a) {
		return classOwn
	}
	return class
}

// isOwn reads the interface addresses. Where that is not possible (a jail may
// forbid it) the check after connecting, in dialOne, still holds.
func (o *outbound) isOwn(a netip.Addr) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now := time.Now(); now.After(o.until) {
		o.until = now.Add(ownAddressesFor)
		if list, err := o.interfaces(); err == nil {
			o.own = map[netip.Addr]bool{}
			for _, entry := range list {
				if p, err := netip.ParsePrefix(entry.String()); err == nil {
					o.own[p.Addr().Unmap().WithZone("")] = true
				}
			}
		}
	}
	return o.own[a]
}

func addressRefusal(r *route, host, class string) *refusal {
	return &refusal{Status: http.StatusForbidden, Layer: layerAddress, Reason: reasonAddress, Rule: r.rule,
		Message: fmt.Sprintf("The name %s resolves to an address that is not public (%s).", host, class),
		Ask:     "If this host is meant to be on a private network, ask the operator to list its address under private in its route."}
}

// dialFirst tries the addresses in order and shares the time left among them.
func (o *outbound) dialFirst(ctx context.Context, r *route, addrs []netip.Addr, port int) (net.Conn, error) {
	var faults []error
	for i, a := range addrs {
		conn, err := o.dialOne(ctx, r, netip.AddrPortFrom(a, uint16(port)), len(addrs)-i) //nolint:gosec // parsePort bounds it
		if err == nil {
			return conn, nil
		}
		var no *refusal
		if errors.As(err, &no) || ctx.Err() != nil {
			return nil, err
		}
		faults = append(faults, err)
	}
	return nil, errors.Join(faults...)
}

func (o *outbound) dialOne(ctx context.Context, r *route, to netip.AddrPort, sharers int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(sharers))
		defer cancel()
	}
	conn, err := o.dial(withTarget(ctx, dialTarget{route: r, to: to, out: o}), "tcp", to.String())
	if err != nil {
		return nil, err
	}
	// A connection to one of this machine's own addresses has that address at
	// both ends. Nothing has been sent on it yet.
	local, remote := addrOf(conn.LocalAddr()), addrOf(conn.RemoteAddr())
	if local == remote && remote == to.Addr() && !permits(r.private, remote, ownOrLoopback(o.classes, remote)) {
		_ = conn.Close()
		return nil, addressRefusal(r, to.Addr().String(), classOwn)
	}
	return conn, nil
}

func ownOrLoopback(c *classifier, a netip.Addr) string {
	if class := c.class(a); class == classLoopback {
		return class
	}
	return classOwn
}

func addrOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// dialTarget is what the control hook compares the socket's address with.
type dialTarget struct {
	route *route
	to    netip.AddrPort
	out   *outbound
}

type targetKey struct{}

func withTarget(ctx context.Context, t dialTarget) context.Context {
	return context.WithValue(ctx, targetKey{}, t)
}

// control is the second check, on the address the system is about to be
// called with: it is the literal that was classified, and still permitted.
func control(ctx context.Context, _, address string, _ syscall.RawConn) error {
	t, ok := ctx.Value(targetKey{}).(dialTarget)
	if !ok {
		return errors.New("dialling without a decision is a defect of this program; report it")
	}
	got, err := netip.ParseAddrPort(address)
	if err != nil || netip.AddrPortFrom(got.Addr().Unmap(), got.Port()) != t.to {
		return addressRefusal(t.route, t.to.String(), classInvalid)
	}
	if class := t.out.class(t.to.Addr()); !permits(t.route.private, t.to.Addr(), class) {
		return addressRefusal(t.route, t.to.String(), class)
	}
	return nil
}

func newDialer() func(ctx context.Context, network, address string) (net.Conn, error) {
	d := &net.Dialer{KeepAlive: 30 * time.Second, FallbackDelay: -1, ControlContext: control}
	return d.DialContext
}

// hostPort writes an authority for a URL, without the scheme's own port.
func hostPort(scheme string, to authority) string {
	if scheme == schemeHTTP && to.Port == portHTTP || scheme == schemeHTTPS && to.Port == portHTTPS {
		return to.Host
	}
	return to.Host + ":" + strconv.Itoa(to.Port)
}
