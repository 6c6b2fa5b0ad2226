package policy

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

const (
	maxHostLen  = 253
	maxLabelLen = 63
)

// Reasons why a host or port does not parse. Each is one sentence for people;
// all of them share the reason codes host_invalid and port_invalid.
var (
	errHostEmpty   = errors.New("the host name is empty")
	errHostLong    = errors.New("the host name is longer than 253 characters")
	errHostLabel   = errors.New("a label of the host name is empty, longer than 63 characters, or starts or ends with a hyphen")
	errHostControl = errors.New("the host name holds a control character or blank")
	errHostASCII   = errors.New("the host name is not ASCII; write international names in their xn-- form")
	errHostBracket = errors.New("bracketed addresses are not accepted; use a name")
	errHostUser    = errors.New("user information before the host is not accepted")
	errHostPercent = errors.New("percent encoding and zone identifiers are not accepted in a host")
	errHostChar    = errors.New("the host name holds a character other than letters, digits, hyphen, underscore and dot")
	ErrPort        = errors.New("the port must be one number from 1 to 65535 without leading zeros")
)

// Authority is a canonical host and port.
type Authority struct {
	Host string
	Port int
}

// ParseAuthority reads "host" or "host:port" as it stands in a CONNECT line, a
// Host header, an :authority or an absolute URI. Without a port it takes
// implied; 0 means that the port is required. It accepts less
// than RFC 3986: no brackets, user information, escapes or zone.
func ParseAuthority(s string, implied int) (Authority, error) {
	name, port := s, implied
	if i := strings.IndexByte(s, ':'); i >= 0 {
		// The host is judged first: "[::1]:443" is about brackets, not ports.
		if _, err := ParseHost(s[:i]); err != nil {
			return Authority{}, err
		}
		n, err := parsePort(s[i+1:])
		if err != nil {
			return Authority{}, err
		}
		name, port = s[:i], n
	}
	host, err := ParseHost(name)
	if err != nil {
		return Authority{}, err
	}
	if port == 0 {
		return Authority{}, ErrPort
	}
	return Authority{Host: host, Port: port}, nil
}

func parsePort(s string) (int, error) {
	if s == "" || len(s) > 5 || s[0] == '0' {
		return 0, ErrPort
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, ErrPort
		}
	}
	n, err := strconv.Atoi(s)
	if err != nil || n > 65535 {
		return 0, ErrPort
	}
	return n, nil
}

// ParseHost returns the canonical form of a host: lower case, one trailing dot
// stripped. Names and dotted IPv4 addresses share this form; see LiteralIP.
func ParseHost(s string) (string, error) {
	if s == "" {
		return "", errHostEmpty
	}
	if len(s) > maxHostLen+1 { // one trailing dot may still go
		return "", errHostLong
	}
	upper := false
	for _, c := range []byte(s) {
		if err := checkHostByte(c); err != nil {
			return "", err
		}
		upper = upper || 'A' <= c && c <= 'Z'
	}
	s = strings.TrimSuffix(s, ".")
	if upper {
		s = strings.ToLower(s)
	}
	if len(s) > maxHostLen {
		return "", errHostLong
	}
	for rest, more := s, true; more; {
		var label string
		label, rest, more = strings.Cut(rest, ".")
		if label == "" || len(label) > maxLabelLen || label[0] == '-' || label[len(label)-1] == '-' {
			return "", errHostLabel
		}
	}
	return s, nil
}

func checkHostByte(c byte) error {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_':
		return nil
	case c <= ' ' || c == 0x7f:
		return errHostControl
	case c >= 0x80:
		return errHostASCII
	case c == '[' || c == ']':
		return errHostBracket
	case c == '@':
		return errHostUser
	case c == '%':
		return errHostPercent
	}
	return errHostChar
}

// NumericHost reports whether a resolver or a URL library might read host as
// an IPv4 address: "10.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1".
// The rule is that of the URL standard: the last label is a number.
func NumericHost(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if digits, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}

// LiteralIP returns the address that host spells in canonical dotted form.
func LiteralIP(host string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(host)
	if err != nil || !addr.Is4() {
		return netip.Addr{}, false
	}
	return addr, true
}
