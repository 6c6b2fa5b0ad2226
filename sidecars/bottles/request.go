package bottles

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// healthPath tells whether the daemon serves, and for whom. It does not ask the
// host.
const healthPath = "/healthz"

// Headers that pass: those that streamable HTTP knows. Everything else stays
// here, credentials and who forwarded what for whom among it.
var (
	requestHeaders  = []string{"Accept", "Content-Type", "Last-Event-Id", "Mcp-Protocol-Version", "Mcp-Session-Id"}
	responseHeaders = []string{"Allow", "Content-Length", "Content-Type", "Mcp-Protocol-Version", "Mcp-Session-Id", "Retry-After"}
	methods         = []string{http.MethodGet, http.MethodPost, http.MethodDelete}
)

// ServeHTTP implements http.Handler.
func (r *Relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	if req.Method == http.MethodGet && req.RequestURI == healthPath {
		_, _ = io.WriteString(w, "ok "+r.bottle+"\n") // nobody is left to tell
		return
	}
	if p := check(req); p != nil {
		p.write(w)
		return
	}
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	default:
		busy().write(w)
		return
	}
	body, p := r.body(w, req)
	if p != nil {
		p.write(w)
		return
	}
	req.Body, req.ContentLength, req.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	if len(body) == 0 {
		req.Body = http.NoBody
	}
	r.proxy.ServeHTTP(w, req)
}

// check says what is wrong with a request's head; nil = nothing.
func check(req *http.Request) *problem {
	switch {
	case req.ProtoMajor != 1 || req.ProtoMinor != 1:
		return &problem{status: http.StatusHTTPVersionNotSupported, reason: "version_not_supported", text: "send HTTP/1.1"}
	// As it was sent: no other spelling, no query, no authority.
	case req.RequestURI != sidecars.BottlesPath:
		return &problem{status: http.StatusNotFound, reason: "path_not_served", text: "nothing is here; the endpoint is " + sidecars.BottlesPath}
	case !slices.Contains(methods, req.Method):
		return &problem{status: http.StatusMethodNotAllowed, reason: "method_not_allowed", text: "use " + strings.Join(methods, ", "), allow: strings.Join(methods, ", ")}
	case len(req.Header["Origin"]) > 0:
		return &problem{status: http.StatusForbidden, reason: "origin_not_allowed", text: "web pages may not use this endpoint; call it from a program, without Origin"}
	case len(req.Header["Upgrade"]) > 0 || len(req.Trailer) > 0:
		return &problem{status: http.StatusBadRequest, reason: "not_supported", text: "send plain requests: no protocol upgrade and no trailers"}
	}
	return nil
}

// body reads the request's body, in bounded time and size.
func (r *Relay) body(w http.ResponseWriter, req *http.Request) ([]byte, *problem) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(r.limits.Body))
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, r.limits.BodyBytes))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, &problem{status: http.StatusRequestEntityTooLarge, reason: "body_too_large", text: "the request is larger than a bottle may send; copy large files by path"}
	case err != nil:
		return nil, &problem{status: http.StatusRequestTimeout, reason: "body_incomplete", text: "the request's body did not arrive whole and in time; send it again"}
	}
	// net/http notices a client that leaves by reading on: without end.
	_ = control.SetReadDeadline(time.Time{})
	return body, nil
}

func (r *Relay) newProxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        r.rewrite,
		Transport:      r.upstream,
		FlushInterval:  -1, // events are answers: none may wait for the next
		ErrorLog:       discard(),
		ModifyResponse: modify,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			p := explain(err)
			r.log.Warn("a call of the host's MCP server failed", "reason", p.reason, "error", err)
			p.write(w)
		},
	}
}

// rewrite makes the server's request: nothing of the guest's is in it but body,
// method and the headers of the list.
func (r *Relay) rewrite(p *httputil.ProxyRequest) {
	p.Out.URL = &url.URL{Scheme: "http", Host: sidecars.BottlesHost, Path: sidecars.BottlesPath}
	p.Out.Host = sidecars.BottlesHost
	p.Out.Header = kept(p.In.Header, requestHeaders)
	p.Out.Header.Set("User-Agent", "bottle-mcp")
	p.Out.Header.Set("Authorization", "Bearer "+r.token.Reveal())
	p.Out.Trailer = nil
	// Without the proxy's wrapper net/http knows that the body is there and sends
	// it with the head: a server that answers early has it already.
	p.Out.Body = p.In.Body
}

// modify lets the answer pass. A server that does not take the token is not the
// one that launched the bottle.
func modify(resp *http.Response) error {
	if resp.StatusCode == http.StatusUnauthorized {
		return errToken
	}
	resp.Header = kept(resp.Header, responseHeaders)
	return nil
}

func kept(from http.Header, names []string) http.Header {
	out := make(http.Header, len(names))
	for _, name := range names {
		if values := from[name]; len(values) > 0 {
			out[name] = slices.Clone(values)
		}
	}
	return out
}
