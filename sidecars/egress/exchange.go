package egress

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

// exchange is one request from its arrival to its line in the log.
type exchange struct {
	p        *Proxy
	w        http.ResponseWriter
	r        *http.Request
	rc       *http.ResponseController
	s        session
	d        sidecars.Decision
	sent     atomic.Int64 // request body bytes
	echoes   atomic.Int64 // secrets that came back
	got      atomic.Int64 // response body bytes
	body     *requestBody // nil when the request has none
	taken    bool         // the connection was hijacked
	silent   bool         // no line of its own in the log
	recorded bool         // the decision is in the log already
	watch    *watchdog
	certWish atomic.Bool // the server asked for a client's certificate

	// What allowed it: set by admit.
	gen     *generation
	route   *route
	asked   ask
	kept    http.Header // of the agent's, what may go on
	scan    scanState
	ending  ending
	tracked *tracked // nil before it is allowed
}

// ServeHTTP implements http.Handler. It is meant for the server that Serve
// runs; it expects the connections of that server.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.live.handlers.Add(1)
	defer p.live.handlers.Add(-1)
	ex := &exchange{
		p: p, w: w, r: r, rc: http.NewResponseController(w), s: sessionOf(r),
		d: sidecars.Decision{Time: time.Now(), Bottle: p.bottle, Service: sidecars.Egress, Verdict: sidecars.Allow, Method: r.Method},
	}
	defer func() {
		v := recover()
		ex.finish(v)
		if v != nil {
			panic(http.ErrAbortHandler) // closes the connection, prints nothing
		}
	}()
	ex.serve()
}

func (ex *exchange) serve() {
	if g := ex.s.guard; g != nil {
		if f := g.faultOf(ex.r); f != nil {
			ex.refuseFault(f)
			return
		}
	}
	if !ex.p.journal.ledger.Healthy() {
		ex.refuse(unrecorded())
		return
	}
	if ex.r.Method == http.MethodConnect && ex.s.tunnel == nil {
		ex.connect()
		return
	}
	a, no := ex.ask()
	ex.describe(a)
	if no != nil {
		ex.refuse(no)
		return
	}
	if a.to == localAuthority() && a.scheme == schemeHTTP {
		ex.serveLocal(a)
		return
	}
	if no := ex.admit(a); no != nil {
		ex.refuse(no)
		return
	}
	if a.query, no = ex.gen.pins.check(a, ex.route); no != nil {
		ex.refuse(no)
		return
	}
	if no := ex.screen(&a); no != nil {
		ex.refuse(no.withRule(ex.route.rule))
		return
	}
	if m := ex.route.meter; m != nil {
		if no := m.begin(ex.route.below(a.to.Host), ex.r.ContentLength); no != nil {
			ex.refuse(no.withRule(ex.route.rule))
			return
		}
	}
	if a.upgrade != "" {
		ex.upgrade(a, ex.route)
		return
	}
	ex.forward(a, ex.route)
}

// admit decides the request by the policy in force and makes it known to the
// next one.
func (ex *exchange) admit(a ask) *refusal {
	for {
		g := ex.p.current.Load()
		route, no := g.table.decide(a)
		if no != nil {
			return no
		}
		ex.gen, ex.route, ex.asked, ex.d.Rule = g, route, a, route.rule
		if ex.p.running.add(ex, g) {
			return nil
		}
	}
}

// refuseFault answers for a head that the guard turned down; ex.r is the
// stand-in, not what the client sent.
func (ex *exchange) refuseFault(f *fault) {
	ex.d.Method = f.head.method
	ex.d.Host, ex.d.Port = f.head.to.Host, f.head.to.Port
	if f.head.method != http.MethodConnect {
		ex.d.Path = pathOf(f.head.target)
	}
	ex.d.Scheme = ex.scheme()
	ex.refuse(f.refusal)
}

// pathOf cuts scheme, authority (it may hold a password) and query off a target.
func pathOf(target string) string {
	target = untilAny(target, "?#")
	if _, after, ok := strings.Cut(target, "://"); ok && target[0] != '/' {
		_, path, _ := strings.Cut(after, "/")
		return "/" + path
	}
	return target
}

func (ex *exchange) scheme() string {
	if ex.s.tunnel != nil {
		return ex.s.tunnel.scheme
	}
	return schemeHTTP
}

// ask reads the request into what the policy decides on. The names in it are
// compared here: a request that came through a tunnel may be for that tunnel's
// host only, in every form a request can name one.
func (ex *exchange) ask() (ask, *refusal) {
	r := ex.r
	a := ask{method: r.Method, scheme: ex.scheme(), path: r.URL.EscapedPath(), query: r.URL.RawQuery,
		header: r.Header, upgrade: r.Header.Get("Upgrade"), inTunnel: ex.s.tunnel != nil}
	if a.inTunnel {
		a.to = ex.s.tunnel.to
		return a, ex.checkInner()
	}
	switch {
	case r.URL.Host == "":
		return a, malformed(reasonNotProxy, "This is a forward proxy: send an absolute http:// URL, or CONNECT for https://.")
	case r.URL.Scheme != schemeHTTP:
		return a, malformed(reasonScheme, "An https:// URL reaches a proxy by CONNECT, not in the request line.")
	}
	to, err := policy.ParseAuthority(r.URL.Host, portHTTP)
	if err != nil {
		return a, badAuthority(err)
	}
	a.to = to
	return a, nil
}

// checkInner compares the names of a request inside a tunnel with the tunnel's.
func (ex *exchange) checkInner() *refusal {
	want := ex.s.tunnel.to
	implied := want.Port // a Host header may leave the port out, an absolute URI means its scheme's
	if ex.r.URL.Host != "" {
		if implied = portHTTPS; ex.scheme() == schemeHTTP {
			implied = portHTTP
		}
	}
	names := append([]string{ex.r.Host}, ex.r.Header["Host"]...) // the latter over HTTP/2 only
	for _, name := range names {
		got, err := policy.ParseAuthority(name, implied)
		if err != nil {
			return badAuthority(err)
		}
		if got != want {
			return mismatch(reasonHostMismatch, fmt.Sprintf("The request names another server than its tunnel, which goes to %s.", want.Host))
		}
	}
	if ex.r.URL.Scheme != "" && ex.r.URL.Scheme != ex.scheme() {
		return malformed(reasonScheme, "The URL's scheme is not what is spoken in the tunnel.")
	}
	if len(ex.r.Header["Content-Length"]) > 1 {
		return malformed(reasonLength, "Content-Length is repeated.")
	}
	return nil
}

func (ex *exchange) describe(a ask) {
	ex.d.Scheme, ex.d.Host, ex.d.Port, ex.d.Path = a.scheme, a.to.Host, a.to.Port, a.path
}

// endsConnection reports whether bytes after this request's head are no
// request, so that nothing but closing can follow a refusal.
func (ex *exchange) endsConnection() bool {
	return ex.r.Method == http.MethodConnect || ex.r.Header.Get("Upgrade") != "" || ex.s.guard.faultOf(ex.r) != nil
}

// finish writes the log line and leaves the connection in a state from which
// net/http cannot misread it. v is what a panic carried.
func (ex *exchange) finish(v any) {
	if ex.watch != nil {
		ex.watch.stop()
	}
	ex.ending.over()
	if ex.ending.reason() != nil && !ex.taken {
		_ = ex.rc.SetWriteDeadline(time.Time{}) // it may have ended well at the same moment
	}
	ex.leave()
	ex.scan.end(ex.p)
	if v != nil && v != http.ErrAbortHandler { //nolint:errorlint // compared by identity, as net/http does
		unavailable(reasonInternal, "The proxy failed on this request.").note(&ex.d)
	}
	ex.finishBody()
	if ex.silent || ex.recorded {
		return
	}
	ex.measure()
	ex.p.journal.ledger.Add(ex.d)
}

// leave ends what admit began.
func (ex *exchange) leave() {
	if ex.gen == nil {
		return
	}
	ex.p.running.remove(ex)
	if ex.gen != ex.p.current.Load() {
		ex.gen.retire()
	}
}

// measure completes the decision with what the exchange came to.
func (ex *exchange) measure() {
	ex.d.Exchange = ex.tracked.end()
	ex.d.BytesOut, ex.d.BytesIn = ex.sent.Load(), ex.got.Load()
	if n := ex.echoes.Load(); n > 0 && ex.d.Reason == "" {
		ex.d.Layer, ex.d.Reason = layerResponse, reasonEchoed
		ex.d.Message = fmt.Sprintf("A credential of this bottle came back in the answer and was overwritten (%d times).", n)
	}
	ex.d.Duration = time.Since(ex.d.Time)
	ex.scan.note(&ex.d)
}

// finishBody ends a request body that was not read to its end. A transport may
// still wait in a Read of it, and what the client sends of it must not be
// taken for the next request.
func (ex *exchange) finishBody() {
	if ex.taken || ex.body == nil || ex.body.finished() {
		return
	}
	ex.body.close()
	if ex.s.guard != nil {
		ex.s.guard.seal()
		_ = ex.rc.SetReadDeadline(time.Now().Add(-time.Second))
	}
}

// target is the URL the request goes to upstream.
func (a ask) target(r *http.Request) *url.URL {
	return &url.URL{Scheme: a.scheme, Host: hostPort(a.scheme, a.to), Path: r.URL.Path, RawPath: r.URL.RawPath,
		RawQuery: a.query, ForceQuery: r.URL.ForceQuery}
}
