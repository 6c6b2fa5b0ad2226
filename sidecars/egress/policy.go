package egress

import (
	"fmt"
	"net/http"
	"strings"
)

const (
	schemeHTTP  = "http"
	schemeHTTPS = "https"
)

// ask is one request as the policy sees it: already parsed, nothing secret.
type ask struct {
	method      string
	scheme      string
	to          authority // where it goes, canonical
	path        string    // as sent, still escaped
	query       string    // as sent, still escaped
	contentType string
	upgrade     string // the Upgrade header, "" when absent
	inTunnel    bool
}

// decide is the policy: a pure function of the table and the request. It
// returns the route that allows the request, or why none does. The order is
// that of cost to the agent: what can never be allowed comes after what a
// route could allow, so that a refusal names the first thing to change.
func (t *table) decide(a ask) (*route, *refusal) {
	r, no := t.decideHost(a.scheme, a.to)
	if no != nil {
		return nil, no
	}
	if no := decideMethod(a); no != nil {
		return nil, no.withRule(r.rule)
	}
	if no := decideUpgrade(a.upgrade); no != nil {
		return nil, no.withRule(r.rule)
	}
	if isGitPush(a) {
		return nil, protocolRefusal(reasonGitPush, "Pushing with git over HTTPS is not allowed; pushes are scanned and go through the git gate.",
			"Push to the remote given in GIT_GATE_URL; if it is not set, leave the commits in the workspace and say so.").withRule(r.rule)
	}
	return r, nil
}

// decideHost judges host, port and scheme: all that is known at a CONNECT.
func (t *table) decideHost(scheme string, to authority) (*route, *refusal) {
	r := t.lookup(to.host)
	if r == nil {
		return nil, notAllowed(to)
	}
	if scheme == schemeHTTP && r.auth != nil {
		// A credential must never travel in the clear, and sending the
		// request without it would surprise everybody.
		no := &refusal{Status: http.StatusForbidden, Layer: layerHost, Reason: reasonPlainHTTP, Rule: r.rule,
			Message: fmt.Sprintf("Requests to %s carry a credential and go over https only.", to.host),
			Ask:     "Use the https:// form of the URL."}
		return nil, no
	}
	if !r.serves(scheme, to.port) {
		return nil, &refusal{Status: http.StatusForbidden, Layer: layerHost, Reason: reasonPortNotAllowed, Rule: r.rule,
			Message: fmt.Sprintf("Host %s is allowed, but not %s on port %d.", to.host, scheme, to.port),
			Ask:     askPort(to.host, to.port)}
	}
	return r, nil
}

// decideTunnel judges a CONNECT, before it is known what will be spoken in the
// tunnel: one of the two schemes must be allowed. It returns the rule.
func (t *table) decideTunnel(to authority) (rule string, no *refusal) {
	if to == localAuthority() {
		return localHost, nil
	}
	r, no := t.decideHost(schemeHTTPS, to)
	if no == nil {
		return r.rule, nil
	}
	if r, plain := t.decideHost(schemeHTTP, to); plain == nil {
		return r.rule, nil
	}
	return "", no
}

// localAuthority is where the proxy's own pages are.
func localAuthority() authority { return authority{localHost, portHTTP} }

func notAllowed(to authority) *refusal {
	if looksNumeric(to.host) {
		return &refusal{Status: http.StatusForbidden, Layer: layerHost, Reason: reasonIPLiteral,
			Message: fmt.Sprintf("The address %s is not allowed: routes name hosts, not addresses.", to.host),
			Ask:     "Use the server's name; for a private address without one, ask the operator for a route that names exactly this address."}
	}
	return &refusal{Status: http.StatusForbidden, Layer: layerHost, Reason: reasonHostNotAllowed,
		Message: fmt.Sprintf("Host %s is not on this bottle's allowlist.", to.host),
		Ask:     askRoute(to.host)}
}

func decideMethod(a ask) *refusal {
	switch a.method {
	case http.MethodConnect:
		return protocolRefusal(reasonConnectInside, "CONNECT inside a tunnel or as an HTTP/2 stream is not allowed.",
			"Open a connection of its own to the proxy for each host.")
	case http.MethodTrace, "TRACK":
		return protocolRefusal(reasonMethod, "TRACE would hand injected headers back and is not allowed.", askNone)
	}
	return nil
}

// decideUpgrade allows WebSocket and nothing else: what follows any other
// switch of protocol could not be read as requests any more.
func decideUpgrade(upgrade string) *refusal {
	if upgrade == "" || strings.EqualFold(upgrade, "websocket") {
		return nil
	}
	if strings.Contains(strings.ToLower(upgrade), "h2c") {
		return protocolRefusal(reasonUpgrade, "Upgrading to HTTP/2 without TLS (h2c) is not allowed.",
			"Use HTTP/1.1, or https:// with HTTP/2.")
	}
	return protocolRefusal(reasonUpgrade, "The only protocol a connection may be upgraded to is websocket.", askNone)
}

const gitReceivePack = "git-receive-pack"

// isGitPush recognises both requests of a push over smart HTTP, in every
// spelling a server might decode to them, and the body's type by itself.
func isGitPush(a ask) bool {
	if strings.Contains(strings.ToLower(a.contentType), gitReceivePack) {
		return true
	}
	switch lastSegment(a.path) {
	case gitReceivePack:
		return true
	case "refs": // info/refs; "info" may hide behind dot segments
		return strings.Contains(unescapeFully(a.query), gitReceivePack)
	}
	return false
}

// lastSegment returns the last path segment that a lenient server would see:
// decoded, lower case, without parameters, empty and dot segments skipped.
func lastSegment(path string) string {
	path = strings.ReplaceAll(unescapeFully(path), `\`, "/")
	skip := 0
	for more := true; more; {
		segment := path
		if i := strings.LastIndexByte(path, '/'); i >= 0 {
			path, segment = path[:i], path[i+1:]
		} else {
			more = false
		}
		segment, _, _ = strings.Cut(segment, ";")
		switch segment = strings.Trim(segment, " \t\r\n\x00"); {
		case segment == "" || segment == ".":
		case segment == "..":
			skip++
		case skip > 0:
			skip--
		default:
			return segment
		}
	}
	return ""
}

// unescapeFully decodes percent escapes until none is left, at most four
// times, and lowers the case. Broken escapes stay as they are: a server may
// skip over them, so they must not stop the decoding.
func unescapeFully(s string) string {
	for range 4 {
		plain := unescape(s)
		if plain == s {
			break
		}
		s = plain
	}
	return strings.ToLower(s)
}

func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			out = append(out, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
			continue
		}
		out = append(out, s[i])
	}
	return string(out)
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}
