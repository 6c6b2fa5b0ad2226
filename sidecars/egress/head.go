package egress

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars/policy"
)

const (
	maxHeaderLines = 256
	maxMethodLen   = 32
	maxLengthLen   = 18 // digits: always below 2^63
)

// framing says what follows a request head on an HTTP/1 connection.
type framing int

const (
	noBody framing = iota
	sizedBody
	chunkedBody
	rawBytes // CONNECT or an upgrade: no request comes after it
)

// head is what the guard must know of a request to find the next one, and what
// the log keeps of one that is refused here.
type head struct {
	method  string
	target  string // as sent
	to      authority
	framing framing
	length  int64
}

// fields are the headers on which two parsers could disagree about where a
// message ends or whom it is for.
type fields struct {
	host, length, coding, upgrade *string
	connection                    string
}

// inspectHead reads one complete HTTP/1 head, up to and including the empty
// line. It accepts a strict subset of what net/http accepts, so that a head
// which passes means the same to this proxy and to every server behind it.
// impliedPort completes a Host header without port.
func inspectHead(raw []byte, impliedPort int) (head, *refusal) {
	var h head
	if no := checkHeadBytes(raw); no != nil {
		return h, no
	}
	first, rest, _ := bytes.Cut(raw, []byte("\r\n"))
	minor, no := h.readRequestLine(string(first))
	if no != nil {
		return h, no
	}
	f, no := readFields(rest)
	if no != nil {
		return h, no
	}
	if no := h.checkNames(f, minor, impliedPort); no != nil {
		return h, no
	}
	return h, h.setFraming(f, minor)
}

// checkHeadBytes refuses line ends and control characters that parsers treat
// differently. High bytes pass in header values only; names and targets are
// checked where they are read.
func checkHeadBytes(raw []byte) *refusal {
	for i, c := range raw {
		switch {
		case c >= ' ' && c != 0x7f, c == '\t':
		case c == '\r' && i+1 < len(raw) && raw[i+1] == '\n':
		case c == '\n' && i > 0 && raw[i-1] == '\r':
		case c == '\n' || c == '\r':
			return malformed(reasonHead, "A line of the request head does not end in CR LF.")
		default:
			return malformed(reasonHead, "The request head holds a control character.")
		}
	}
	return nil
}

func (h *head) readRequestLine(line string) (minor int, no *refusal) {
	method, rest, ok1 := strings.Cut(line, " ")
	target, version, ok2 := strings.Cut(rest, " ")
	if !ok1 || !ok2 || !isMethod(method) {
		return 0, malformed(reasonHead, "The request line is not METHOD SP TARGET SP VERSION with an upper-case method.")
	}
	h.method, h.target = method, target
	switch version {
	case "HTTP/1.1":
		minor = 1
	case "HTTP/1.0":
	case "HTTP/2.0":
		return 0, protocolRefusal(reasonUpgrade, "HTTP/2 without TLS is not accepted.", "Use HTTP/1.1, or https:// with HTTP/2.")
	default:
		return 0, malformed(reasonHead, "The protocol version is neither HTTP/1.1 nor HTTP/1.0.")
	}
	return minor, checkTarget(method, target)
}

// isMethod takes upper-case tokens: a lower-case "get" is another method to
// some servers and the same to others.
func isMethod(s string) bool {
	if s == "" || len(s) > maxMethodLen {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// checkTarget covers everything but the host in it.
func checkTarget(method, target string) *refusal {
	if err := policy.CheckTarget(target); err != nil {
		return malformed(reasonTarget, "The request's first line is refused: "+err.Error()+".")
	}
	switch {
	case method == http.MethodConnect:
		return nil
	case strings.HasPrefix(target, "/"), strings.Contains(target, "://"):
		return nil
	case target == "*" && method == http.MethodOptions:
		return nil
	}
	return malformed(reasonTarget, "The request target is neither a path nor an absolute URI.")
}

func readFields(block []byte) (fields, *refusal) {
	var f fields
	for n := 0; ; n++ {
		line, rest, ok := bytes.Cut(block, []byte("\r\n"))
		if !ok {
			return f, malformed(reasonHead, "The request head does not end in an empty line.")
		}
		if len(line) == 0 {
			return f, nil
		}
		if n == maxHeaderLines {
			return f, tooLarge("The request has too many header lines.")
		}
		name, value, no := splitField(line)
		if no != nil {
			return f, no
		}
		if no := f.note(name, value); no != nil {
			return f, no
		}
		block = rest
	}
}

func tooLarge(message string) *refusal {
	no := malformed(reasonHeadTooLarge, message)
	no.Status = http.StatusRequestHeaderFieldsTooLarge
	return no
}

func splitField(line []byte) (name, value []byte, no *refusal) {
	if line[0] == ' ' || line[0] == '\t' {
		return nil, nil, malformed(reasonHead, "A header is folded over lines.")
	}
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || len(name) == 0 {
		return nil, nil, malformed(reasonHead, "A header line has no name and colon.")
	}
	for _, c := range name {
		if !isToken(c) {
			return nil, nil, malformed(reasonHead, "A header name holds a character that is not allowed in one.")
		}
	}
	return name, bytes.Trim(value, " \t"), nil
}

func isToken(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// note keeps the headers that matter here and refuses repeated ones.
func (f *fields) note(name, value []byte) *refusal {
	var slot **string
	switch {
	case isName(name, "host"):
		slot = &f.host
	case isName(name, "content-length"):
		slot = &f.length
	case isName(name, "transfer-encoding"):
		slot = &f.coding
	case isName(name, "upgrade"):
		slot = &f.upgrade
	case isName(name, "connection"):
		f.connection += "," + string(value)
		return nil
	default:
		return nil
	}
	if *slot != nil {
		return malformed(reasonLength, "A header that may occur only once (Host, Content-Length, Transfer-Encoding, Upgrade) is repeated.")
	}
	s := string(value)
	*slot = &s
	return nil
}

func isName(name []byte, want string) bool {
	return len(name) == len(want) && strings.EqualFold(string(name), want)
}

// checkNames parses every name the head holds and demands that they agree.
func (h *head) checkNames(f fields, minor, impliedPort int) *refusal {
	named, impliedPort, no := h.namedByTarget(impliedPort)
	if no != nil {
		return no
	}
	if f.host == nil {
		if !named || minor > 0 && h.method != http.MethodConnect {
			return malformed(reasonHostInvalid, "The Host header is missing.")
		}
		return nil
	}
	host, err := policy.ParseAuthority(*f.host, impliedPort)
	if err != nil {
		return badAuthority(err)
	}
	if named && host != h.to {
		return mismatch(reasonHostMismatch, "The Host header and the request target name different servers.")
	}
	h.to = host
	return nil
}

// namedByTarget reads the authority of a CONNECT or absolute target into h.to
// and returns the port that completes a Host header without one.
func (h *head) namedByTarget(impliedPort int) (named bool, implied int, no *refusal) {
	if h.method == http.MethodConnect {
		no := h.setTo(h.target, 0)
		return true, h.to.Port, no
	}
	scheme, after, ok := strings.Cut(h.target, "://")
	if !ok || h.target[0] == '/' {
		return false, impliedPort, nil
	}
	switch strings.ToLower(scheme) {
	case schemeHTTP:
		impliedPort = portHTTP
	case schemeHTTPS:
		impliedPort = portHTTPS
	default:
		return false, 0, malformed(reasonScheme, "The proxy speaks http and https only.")
	}
	return true, impliedPort, h.setTo(untilAny(after, "/?"), impliedPort)
}

func untilAny(s, stops string) string {
	if i := strings.IndexAny(s, stops); i >= 0 {
		return s[:i]
	}
	return s
}

func (h *head) setTo(s string, impliedPort int) *refusal {
	to, err := policy.ParseAuthority(s, impliedPort)
	if err != nil {
		return badAuthority(err)
	}
	h.to = to
	return nil
}

// badAuthority turns an error of parseAuthority into a refusal.
func badAuthority(err error) *refusal {
	reason := reasonHostInvalid
	if errors.Is(err, policy.ErrPort) {
		reason = reasonPortInvalid
	}
	message := err.Error()
	return malformed(reason, strings.ToUpper(message[:1])+message[1:]+".")
}

// setFraming decides where the message ends; anything with two answers is
// refused.
func (h *head) setFraming(f fields, minor int) *refusal {
	switch {
	case f.length != nil && f.coding != nil:
		return malformed(reasonLength, "Content-Length and Transfer-Encoding are both given.")
	case f.coding != nil:
		if minor == 0 || !strings.EqualFold(*f.coding, "chunked") {
			return malformed(reasonLength, "The only transfer coding accepted is chunked, over HTTP/1.1.")
		}
		h.framing = chunkedBody
	case f.length != nil:
		n, err := strconv.ParseInt(*f.length, 10, 64)
		if err != nil || len(*f.length) > maxLengthLen || strings.Trim(*f.length, "0123456789") != "" {
			return malformed(reasonLength, "Content-Length is not one decimal number.")
		}
		if h.length = n; n > 0 {
			h.framing = sizedBody
		}
	}
	if h.method != http.MethodConnect && f.upgrade == nil {
		return nil
	}
	if h.framing != noBody {
		return malformed(reasonLength, "A CONNECT or upgrade request must have no body.")
	}
	h.framing = rawBytes
	return h.checkUpgrade(f)
}

// checkUpgrade wants Upgrade and Connection to say the same.
func (h *head) checkUpgrade(f fields) *refusal {
	if f.upgrade == nil || h.method == http.MethodConnect {
		return nil
	}
	if *f.upgrade == "" {
		return malformed(reasonUpgrade, "The Upgrade header is empty.")
	}
	if d := policy.DecideUpgrade(*f.upgrade); !d.Allow {
		return denied(d)
	}
	if h.method != http.MethodGet || !hasToken(f.connection, "upgrade") {
		return malformed(reasonUpgrade, "A WebSocket handshake is a GET request with Connection: upgrade.")
	}
	return nil
}

// hasToken looks for a word in a comma list.
func hasToken(list, want string) bool {
	for word := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.Trim(word, " \t"), want) {
			return true
		}
	}
	return false
}
