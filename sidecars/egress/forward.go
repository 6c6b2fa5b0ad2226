package egress

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"sync/atomic"
	"time"
)

const (
	copyBuffer = 32 << 10
	// maxInformational bounds the 1xx responses passed on for one request.
	maxInformational = 32
)

// buffers are shared by everything that copies.
type buffers struct{ pool sync.Pool }

func (b *buffers) get() *[]byte {
	if v, ok := b.pool.Get().(*[]byte); ok {
		return v
	}
	v := make([]byte, copyBuffer)
	return &v
}

func (b *buffers) put(v *[]byte) { b.pool.Put(v) }

// forward sends the request upstream and the answer back, both streaming.
func (ex *exchange) forward(a ask, to *route) {
	ctx, cancel := context.WithCancel(ex.r.Context())
	defer cancel()
	out := ex.outgoing(a, to)
	ex.watch = newWatchdog(ex.p.limits.Idle, func() { ex.ending.end(idle()) })
	ex.ending.onEnd(func() {
		cancel()
		if ex.body != nil && !ex.body.finished() {
			_ = ex.rc.SetReadDeadline(time.Now().Add(-time.Second))
		}
		_ = ex.rc.SetWriteDeadline(time.Now().Add(time.Second)) // leaves time to say why
	})
	if ex.r.ContentLength != 0 {
		// Both directions may flow at once; without this net/http would read
		// the body before it lets an answer out.
		_ = ex.rc.EnableFullDuplex()
	}
	if no, err := ex.screenBody(); no != nil {
		ex.refuse(no.withRule(to.rule))
		return
	} else if err != nil {
		ex.failed(err)
		return
	}
	ex.track()
	resp, err := ex.roundTrip(ctx, out)
	if err != nil {
		ex.failed(err)
		return
	}
	defer resp.Body.Close()
	if ex.ending.reason() != nil {
		// The request was cut and the server answered the part that it got.
		ex.failed(ex.ending.err())
		return
	}
	ex.respond(resp)
}

// outgoing builds the upstream request.
func (ex *exchange) outgoing(a ask, to *route) *http.Request {
	in := ex.r
	out := &http.Request{
		Method:        in.Method,
		URL:           a.target(in),
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        requestHeader(ex.kept, to.auth),
		ContentLength: in.ContentLength,
	}
	if ex.reads() {
		askReadable(out.Header)
	}
	if in.ContentLength == 0 || in.Body == nil || in.Body == http.NoBody {
		out.ContentLength = 0
		return out
	}
	ex.body = &requestBody{ex: ex, auth: to.auth, in: in, out: out, from: staged{from: in.Body, stages: ex.outbound(), refuse: ex.ending.end}}
	out.Body = ex.body
	out.Trailer = http.Header{}
	for name := range in.Trailer {
		if trailerAllowed(name, to.auth) {
			out.Trailer[name] = nil // announced; the values come with the end of the body
		}
	}
	if in.ContentLength < 0 {
		out.TransferEncoding = []string{"chunked"} // also for methods that seldom have a body
	} else if len(out.Trailer) == 0 {
		out.Trailer = nil
	}
	return out
}

// roundTrip passes informational responses on while it waits. The hook may run
// in a goroutine of the transport that outlives the call.
func (ex *exchange) roundTrip(ctx context.Context, out *http.Request) (*http.Response, error) {
	transport := ex.gen.transport(ex.r.ProtoMajor == 2)
	ctx = context.WithValue(ctx, certWish{}, &ex.certWish)
	if ex.r.ProtoAtLeast(1, 1) {
		hook := &earlyHook{ex: ex}
		defer hook.end()
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: hook.got})
	}
	return transport.RoundTrip(out.WithContext(ctx))
}

// earlyHook forwards 1xx responses.
type earlyHook struct {
	ex    *exchange
	mu    sync.Mutex
	count int
	over  bool
}

func (e *earlyHook) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
}

func (e *earlyHook) got(code int, header textproto.MIMEHeader) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.count++; e.count > maxInformational {
		return errors.New("too many informational responses")
	}
	if e.over || code == http.StatusContinue { // 100 follows from reading the body
		return nil
	}
	h := e.ex.w.Header()
	e.ex.scrubHeader(http.Header(header))
	copyResponseHeader(h, http.Header(header))
	e.ex.w.WriteHeader(code)
	clear(h)
	return nil
}

// respond copies an upstream's answer to the client. If it breaks off, the
// client's connection breaks off too: a clean end would pass half an answer
// for a whole one.
func (ex *exchange) respond(resp *http.Response) {
	if resp.StatusCode < http.StatusOK || resp.StatusCode > 999 {
		ex.refuse(upstreamRefusal(http.StatusBadGateway, reasonUpstreamFailed, "The server answered with an invalid status."))
		return
	}
	if no := ex.judgeAnswer(resp); no != nil {
		ex.refuse(no)
		return
	}
	body := &staged{from: resp.Body, refuse: ex.ending.end}
	body.stages = append(ex.inbound(), ex.screenAnswer(resp)...)
	if gated(body.stages) {
		// What is refused at its beginning gets an answer instead of half of one.
		if err := body.begin(copyBuffer); err != nil {
			ex.failed(err)
			return
		}
	}
	ex.d.Status = resp.StatusCode
	h := ex.w.Header()
	copyResponseHeader(h, resp.Header)
	for _, name := range []string{"Date", "Content-Type"} {
		if _, ok := h[name]; !ok {
			h[name] = nil // or net/http adds its own
		}
	}
	announced := ex.announceTrailers(resp)
	if ex.s.guard != nil && ex.endsConnection() {
		h.Set("Connection", "close")
		ex.s.guard.seal()
	}
	ex.w.WriteHeader(resp.StatusCode)
	err := ex.copyBody(resp, body)
	if err == nil && resp.ContentLength < 0 {
		// A server that is told that its answer is not wanted may end it well,
		// in the moment before the connection to it is closed.
		err = ex.ending.err()
	}
	if err != nil {
		ex.broken(err)
	}
	ex.writeTrailers(resp, announced)
}

func (ex *exchange) announceTrailers(resp *http.Response) map[string]bool {
	if len(resp.Trailer) == 0 {
		return nil
	}
	ex.scrubHeader(resp.Trailer)
	announced := make(map[string]bool, len(resp.Trailer))
	for name := range resp.Trailer {
		if trailerAllowed(name, nil) {
			announced[name] = true
			ex.w.Header().Add("Trailer", name)
		}
	}
	return announced
}

// copyBody flushes after every read, whatever the content type: event streams,
// NDJSON and gRPC must not wait for a buffer to fill.
func (ex *exchange) copyBody(resp *http.Response, body *staged) error {
	flusher, ok := ex.w.(http.Flusher)
	if !ok {
		return errors.New("the connection cannot stream")
	}
	buf := ex.p.buffers.get()
	defer ex.p.buffers.put(buf)
	left := resp.ContentLength
	if left != 0 || len(resp.Trailer) > 0 {
		// The head goes out before the body begins: a stream may be quiet.
		if left < 0 {
			flusher.Flush()
		}
	}
	for {
		n, err := body.Read(*buf)
		if n > 0 {
			ex.watch.touch()
			ex.got.Add(int64(n))
			if _, werr := ex.w.Write((*buf)[:n]); werr != nil {
				return &clientError{werr}
			}
			flusher.Flush()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// clientError marks a failure to write to the client.
type clientError struct{ error }

// broken ends an exchange whose answer has begun and cannot be completed.
func (ex *exchange) broken(err error) {
	var gone *clientError
	var no *refusal
	if errors.As(err, &no) {
		ex.ending.end(no)
	}
	switch why := ex.ending.reason(); {
	case why != nil:
		ex.d.Verdict, ex.d.Layer, ex.d.Reason, ex.d.Message = why.verdict(), why.Layer, why.Reason, why.Message
	case errors.As(err, &gone), ex.r.Context().Err() != nil:
		ex.d.Layer, ex.d.Reason, ex.d.Message = layerProxy, reasonClientGone, "The client closed the connection before the answer was complete."
	default:
		ex.d.Layer, ex.d.Reason, ex.d.Message = layerUpstream, reasonUpstreamAbort, "The server broke off its answer."
	}
	ex.abort()
}

// abort never returns. Over HTTP/1 the raw connection is closed beneath TLS,
// so that neither a last chunk nor a close_notify is sent; over HTTP/2
// net/http resets the stream.
func (ex *exchange) abort() {
	if ex.s.guard != nil && ex.s.raw != nil {
		if ex.r.ProtoAtLeast(1, 1) {
			_ = ex.s.raw.Close()
		} else {
			ex.s.raw.abort()
		}
	}
	panic(http.ErrAbortHandler)
}

// writeTrailers sends trailers that were announced under their names and late
// ones with net/http's prefix.
func (ex *exchange) writeTrailers(resp *http.Response, announced map[string]bool) {
	if len(resp.Trailer) == 0 {
		return
	}
	ex.scrubHeader(resp.Trailer)
	_ = ex.rc.Flush() // a body that has begun is chunked, so that trailers can follow
	h := ex.w.Header()
	for name, values := range resp.Trailer {
		switch {
		case announced[name]:
			h[name] = values
		case trailerAllowed(name, nil):
			h[http.TrailerPrefix+name] = values
		}
	}
}

// requestBody is the agent's body on its way upstream: counted, and with its
// trailers handed on at its end (ReverseProxy of Go 1.26 loses those).
type requestBody struct {
	ex     *exchange
	auth   *credential
	in     *http.Request
	out    *http.Request
	from   staged
	ended  atomic.Bool
	read   atomic.Bool // all of it was read before it goes on
	closed atomic.Bool
}

// Read implements io.Reader. The transport calls it from one goroutine.
func (b *requestBody) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.from.Read(p)
	b.ex.sent.Add(int64(n))
	b.ex.watch.touch()
	if errors.Is(err, io.EOF) {
		if no := b.copyTrailers(); no != nil {
			b.ex.ending.end(no)
			return 0, no
		}
		b.ended.Store(true)
	}
	return n, err
}

func (b *requestBody) copyTrailers() *refusal {
	if b.out.Trailer == nil {
		return nil
	}
	for name, values := range b.in.Trailer {
		if trailerAllowed(name, b.auth) {
			b.out.Trailer[name] = values
		}
	}
	return b.ex.screenTrailer(b.out.Trailer)
}

// Close implements io.Closer. It does not close the agent's body: net/http's
// Close reads on to the end, and that is for finishBody to decide.
func (b *requestBody) Close() error {
	b.closed.Store(true)
	return nil
}

func (b *requestBody) close() { b.closed.Store(true) }

func (b *requestBody) finished() bool { return b.ended.Load() || b.read.Load() }
