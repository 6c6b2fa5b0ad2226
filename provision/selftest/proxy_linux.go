package selftest

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// How the egress proxy is asked about itself, and how it says no. These are
// its public words: agents see them too.
const (
	healthURL     = "http://_egress.local/healthz"
	refusedHeader = "X-Bottle-Refused"
	notAllowed    = "host_not_allowed"
	maxAnswer     = 4 << 10
	httpsPort     = 443
)

// The statuses that tell. net/http is left out on purpose: initialising it
// takes longer than the whole probe, twice at every launch.
const (
	statusOK        = 200
	statusForbidden = 403
	statusServer    = 500
)

// answer is what came back from the proxy.
type answer struct {
	status  int
	refused string // the reason code, "" when it is not a refusal
	body    string
}

// proxyAnswers is the positive control of everything else: the one way out is
// there, and it is this bottle's own.
func (n *network) proxyAnswers(ctx context.Context) (string, error) {
	a, err := n.ask(ctx, "GET "+healthURL+" HTTP/1.1\r\nHost: _egress.local\r\nConnection: close\r\n\r\n")
	if err != nil {
		return "", err
	}
	if a.status != statusOK {
		return "", fmt.Errorf("the proxy answers with status %d", a.status)
	}
	if !slices.Contains(strings.Fields(a.body), n.spec.BottleID) {
		return "", fmt.Errorf("the proxy serves %.60q, not %q", strings.TrimSpace(a.body), n.spec.BottleID)
	}
	return "it serves " + n.spec.BottleID, nil
}

func (n *network) unlistedRefused(ctx context.Context) (string, error) {
	a, err := n.connect(ctx, n.spec.UnlistedHost, httpsPort)
	if err != nil {
		return "", err
	}
	if a.status != statusForbidden || a.refused != notAllowed {
		return "", fmt.Errorf("the proxy answers with status %d and reason %.40q instead of refusing %s", a.status, a.refused, n.spec.UnlistedHost)
	}
	return n.spec.UnlistedHost + " is refused", nil
}

// allowedAnswers shows that the policy is in force and not just everything
// refused. What the host itself says is not asked: it may be down.
func (n *network) allowedAnswers(ctx context.Context) (string, error) {
	a, err := n.connect(ctx, n.spec.AllowedHost, cmp.Or(n.spec.AllowedPort, httpsPort))
	if err != nil {
		return "", err
	}
	if a.status != statusOK && a.status < statusServer {
		return "", fmt.Errorf("the proxy answers with status %d and reason %.40q although policy allows %s", a.status, a.refused, n.spec.AllowedHost)
	}
	return fmt.Sprintf("%s is not refused (status %d)", n.spec.AllowedHost, a.status), nil
}

func (n *network) connect(ctx context.Context, host string, port int) (answer, error) {
	target := net.JoinHostPort(host, strconv.Itoa(port))
	return n.ask(ctx, "CONNECT "+target+" HTTP/1.1\r\nHost: "+target+"\r\n\r\n")
}

// ask speaks to the proxy over a connection of its own: an HTTP client would
// follow the environment and add its own ideas.
func (n *network) ask(ctx context.Context, request string) (answer, error) {
	proxy, err := url.Parse(n.spec.ProxyURL)
	if err != nil {
		return answer{}, fmt.Errorf("the proxy's address %q is not a URL: %w", n.spec.ProxyURL, err)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", proxy.Host)
	if err != nil {
		return answer{}, fmt.Errorf("the proxy cannot be reached: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(deadline(ctx)); err != nil {
		return answer{}, err
	}
	if _, err := io.WriteString(conn, request); err != nil {
		return answer{}, fmt.Errorf("ask the proxy: %w", err)
	}
	a, err := readAnswer(bufio.NewReader(io.LimitReader(conn, maxAnswer)), strings.HasPrefix(request, "GET "))
	if err != nil {
		return answer{}, fmt.Errorf("the proxy does not answer: %w", err)
	}
	return a, nil
}

// readAnswer reads an HTTP/1 response head and, when asked for, the body up to
// the end of a connection that closes after it.
func readAnswer(r *bufio.Reader, withBody bool) (answer, error) {
	tr := textproto.NewReader(r)
	line, err := tr.ReadLine()
	if err != nil {
		return answer{}, err
	}
	version, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	status, err := strconv.Atoi(code)
	if err != nil || !strings.HasPrefix(version, "HTTP/1.") || len(code) != 3 {
		return answer{}, fmt.Errorf("malformed status line %.60q", line)
	}
	header, err := tr.ReadMIMEHeader()
	if err != nil {
		return answer{}, err
	}
	a := answer{status: status, refused: header.Get(refusedHeader)}
	if withBody {
		body, err := io.ReadAll(r)
		if err != nil {
			return a, fmt.Errorf("read the body: %w", err)
		}
		a.body = string(body)
	}
	return a, nil
}
