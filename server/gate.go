package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// gate decides which HTTP requests may come near the protocol. Its checks run
// in the order a caller should learn of them: what a browser's page may not do
// first, whether anything is here last.
type gate struct {
	next    http.Handler
	token   [sha256.Size]byte
	origins []string
	hosts   []string
}

func newGate(cfg HTTPConfig, next http.Handler) *gate {
	return &gate{
		next:    newTurnstile(cfg.MaxConcurrent, next),
		token:   digest(cfg.Token),
		origins: lowered(cfg.AllowedOrigins),
		hosts:   lowered(cfg.AllowedHosts),
	}
}

// digest gives tokens of any length the same one, so that a comparison tells
// nothing, not even the length.
func digest(token secret.Value) [sha256.Size]byte { return sha256.Sum256([]byte(token.Reveal())) }

func lowered(list []string) []string {
	out := make([]string, 0, len(list))
	for _, s := range list {
		out = append(out, strings.ToLower(strings.TrimSuffix(s, "/")))
	}
	return out
}

// ServeHTTP implements http.Handler.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case !g.hostAllowed(r):
		http.Error(w, "this Host is not served; use the address that the server printed, or have the operator allow the host", http.StatusForbidden)
	case !g.originAllowed(r):
		http.Error(w, "this Origin is not allowed; have the operator allow it", http.StatusForbidden)
	case r.URL.Path != Endpoint:
		http.Error(w, "nothing is here; the endpoint is "+Endpoint, http.StatusNotFound)
	case !g.authorized(r):
		challenge := `Bearer realm="bottle-mcp"`
		if r.Header.Get("Authorization") != "" {
			challenge += `, error="invalid_token"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
		http.Error(w, "a bearer token is needed; send the one in the server's token file as: Authorization: Bearer TOKEN", http.StatusUnauthorized)
	default:
		g.next.ServeHTTP(w, r)
	}
}

// turnstile lets so many requests at once through to next.
type turnstile struct {
	next  http.Handler
	slots chan struct{}
}

func newTurnstile(slots int, next http.Handler) *turnstile {
	return &turnstile{next: next, slots: make(chan struct{}, slots)}
}

// ServeHTTP implements http.Handler.
func (t *turnstile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
		t.next.ServeHTTP(w, r)
	default:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many requests at once; retry later", http.StatusServiceUnavailable)
	}
}

// hostAllowed keeps out pages whose name was rebound to this machine: their
// requests carry that name. A literal of the very address they came to cannot
// be such a name.
func (g *gate) hostAllowed(r *http.Request) bool {
	host := hostname(r.Host)
	if IsLoopback(host) || slices.Contains(g.hosts, host) || slices.Contains(g.hosts, strings.ToLower(r.Host)) {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	return host != "" && host == hostname(local.String())
}

// originAllowed holds without an Origin, which only browsers send, for pages of
// this machine, and for those the operator listed.
func (g *gate) originAllowed(r *http.Request) bool {
	values := r.Header.Values("Origin")
	if len(values) == 0 {
		return true
	}
	if len(values) > 1 {
		return false
	}
	if slices.Contains(g.origins, strings.ToLower(values[0])) {
		return true
	}
	u, err := url.Parse(values[0])
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && IsLoopback(u.Hostname())
}

func (g *gate) authorized(r *http.Request) bool { return bears(r, g.token) }

// bears reports whether a request bears the token of that digest.
func bears(r *http.Request, want [sha256.Size]byte) bool {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	got := digest(secret.New(strings.TrimSpace(token)))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// hostname is the host of HOST or HOST:PORT in lower case, an IPv6 literal
// without brackets.
func hostname(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	return strings.ToLower(host)
}
