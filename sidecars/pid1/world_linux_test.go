package pid1

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/sidecars/ca"
)

// The addresses of the world and of the sidecar on its two networks.
const (
	worldOutside   = "10.77.0.1" // resolver and upstream
	sidecarOutside = "10.77.0.2"
	worldInside    = "10.78.0.1" // the guest
	sidecarInside  = "10.78.0.2"
	upstreamName   = "up.test"
)

// world is a network namespace with the guest, a resolver and an upstream. It
// is a thread, which is the only one in the namespace.
type world struct {
	t     *testing.T
	work  chan func()
	roots []byte // PEM, of the upstream

	mu   sync.Mutex
	auth []string // what the upstream was sent
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, work: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: thread and namespace end together
		ready <- unix.Unshare(unix.CLONE_NEWNET)
		for f := range w.work {
			f()
		}
	}()
	t.Cleanup(func() { close(w.work) })
	if err := <-ready; err != nil {
		missing(t, "a network namespace cannot be made: "+err.Error())
	}
	return w
}

// do runs f in the namespace. Sockets made there stay there.
func (w *world) do(f func()) {
	done := make(chan struct{})
	w.work <- func() {
		defer close(done)
		f()
	}
	<-done
}

// plug gives the process' network namespace its two interfaces.
func (w *world) plug(pid int) {
	w.t.Helper()
	target := strconv.Itoa(pid)
	for _, line := range []string{
		"ip link set lo up",
		"ip link add w0 type veth peer name eth0 netns " + target,
		"ip link add w1 type veth peer name eth1 netns " + target,
		"ip addr add " + worldOutside + "/24 dev w0",
		"ip addr add " + worldInside + "/24 dev w1",
		"ip link set w0 up",
		"ip link set w1 up",
		"nsenter -t " + target + " -n ip link set lo up",
		"nsenter -t " + target + " -n ip addr add " + sidecarOutside + "/24 dev eth0",
		"nsenter -t " + target + " -n ip link set eth0 up",
		"nsenter -t " + target + " -n ip addr add " + sidecarInside + "/24 dev eth1",
		"nsenter -t " + target + " -n ip link set eth1 up",
	} {
		w.command(line)
	}
}

func (w *world) command(line string) {
	w.t.Helper()
	var out []byte
	var err error
	argv := strings.Fields(line)
	w.do(func() { out, err = exec.Command(argv[0], argv[1:]...).CombinedOutput() })
	if err != nil {
		w.t.Fatalf("%s: %v: %s", line, err, out)
	}
}

// serve starts the resolver and the upstream.
func (w *world) serve() {
	w.t.Helper()
	cert, key, err := ca.NewAuthority("upstreams", time.Now().Add(time.Hour))
	check(w.t, err)
	w.roots = cert
	minter, err := ca.NewMinter(cert, key)
	check(w.t, err)
	var l net.Listener
	var dns net.PacketConn
	w.do(func() {
		if l, err = net.Listen("tcp", worldOutside+":443"); err == nil {
			dns, err = net.ListenPacket("udp", worldOutside+":53")
		}
	})
	check(w.t, err)
	server := &http.Server{
		TLSConfig: &tls.Config{GetCertificate: minter.GetCertificate},
		Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			w.mu.Lock()
			w.auth = append(w.auth, r.Header.Get("Authorization"))
			w.mu.Unlock()
			if r.URL.Path == "/slow" {
				slow(rw, r)
				return
			}
			fmt.Fprintf(rw, "hello from %s\n", r.Host)
		}),
	}
	go func() { _ = server.ServeTLS(l, "", "") }()
	go resolve(dns)
	w.t.Cleanup(func() {
		_ = server.Close()
		_ = dns.Close()
	})
}

// slow sends a line, waits until the client goes away or a while has passed,
// and sends another.
func slow(rw http.ResponseWriter, r *http.Request) {
	fmt.Fprintln(rw, "begin")
	_ = http.NewResponseController(rw).Flush()
	select {
	case <-time.After(2 * time.Second):
		fmt.Fprintln(rw, "end")
	case <-r.Context().Done():
	}
}

// resolve answers every question for an IPv4 address with the upstream's.
func resolve(conn net.PacketConn) {
	buf := make([]byte, 512)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		end := 12
		for end < n && buf[end] != 0 {
			end += int(buf[end]) + 1
		}
		end += 5
		if end > n {
			continue
		}
		out := append([]byte{buf[0], buf[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, buf[12:end]...)
		if binary.BigEndian.Uint16(buf[end-4:]) == 1 {
			out[7] = 1
			out = append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
			out = append(out, net.ParseIP(worldOutside).To4()...)
		}
		_, _ = conn.WriteTo(out, from)
	}
}

func (w *world) sent() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.auth...)
}

// dial connects from the guest.
func (w *world) dial(addr string, timeout time.Duration) (conn net.Conn, err error) {
	w.do(func() { conn, err = net.DialTimeout("tcp", addr, timeout) })
	return conn, err
}

// client is the guest's HTTP client, which trusts the bottle's CA and talks to
// egress through dial.
func client(caCert []byte, dial func() (net.Conn, error)) *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(caCert)
	return &http.Client{
		Timeout: 20 * time.Second,
		Transport: &http.Transport{
			Proxy:             http.ProxyURL(&url.URL{Scheme: "http", Host: "egress"}),
			DialContext:       func(context.Context, string, string) (net.Conn, error) { return dial() },
			TLSClientConfig:   &tls.Config{RootCAs: pool},
			DisableKeepAlives: true,
		},
	}
}

// get returns the status and the body; status 0 is an error, told in body.
func get(c *http.Client, url string) (int, string) {
	resp, err := c.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// firstLine reads the first line of a response's body.
func firstLine(t *testing.T, resp *http.Response) (string, *bufio.Reader) {
	t.Helper()
	r := bufio.NewReader(resp.Body)
	line, err := r.ReadString('\n')
	check(t, err)
	return line, r
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
