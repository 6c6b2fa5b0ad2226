package egresstest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars/ca"
)

// Naive is an intercepting proxy as one writes it in an afternoon: it believes
// the last name that it reads, reads names as C would, passes bytes on as they
// came, verifies nobody, follows redirects, and puts the credential on
// everything. What it does not let through is no attack.
type Naive struct {
	Minter *ca.Minter
	// Leads says where a name leads, with "host:port" for an address.
	Leads func(host, port string) string
	Token string
}

// Serve serves until the listener is closed.
func (n *Naive) Serve(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go n.serve(conn)
	}
}

func (n *Naive) serve(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(carryTime))
	in := bufio.NewReaderSize(conn, 128<<10)
	data := readSome(in)
	if !bytes.HasPrefix(data, []byte("CONNECT ")) {
		n.forward(conn, in, data, false, names(data))
		return
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
	first, err := in.Peek(1)
	if err != nil {
		return
	}
	asked := names(data)
	if first[0] != 22 {
		n.forward(conn, in, readSome(in), false, asked)
		return
	}
	n.intercept(conn, in, asked)
}

// readSome reads a head and what came with it.
func readSome(in *bufio.Reader) []byte {
	var data []byte
	for !bytes.Contains(data, []byte("\r\n\r\n")) && !bytes.Contains(data, []byte("\n\n")) && len(data) < 128<<10 {
		if _, err := in.Peek(1); err != nil {
			break
		}
		more, _ := in.Peek(in.Buffered())
		data = append(data, more...)
		_, _ = in.Discard(len(more))
	}
	return data
}

func (n *Naive) intercept(conn net.Conn, in *bufio.Reader, asked []string) {
	hello, _ := in.Peek(in.Buffered())
	hello = bytes.Clone(hello)
	sni := ""
	secure := tls.Server(&buffered{conn, in}, &tls.Config{ //nolint:gosec // it is naive
		MinVersion: tls.VersionTLS10, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			sni = h.ServerName
			return n.Minter.Leaf(Allowed)
		},
	})
	ctx, cancel := context.WithTimeout(context.Background(), carryTime)
	defer cancel()
	if secure.HandshakeContext(ctx) != nil {
		// It does not understand that, and lets it through.
		n.forward(conn, in, hello, false, asked)
		return
	}
	if sni != "" {
		asked = append(asked, sni+":"+portOf(asked))
	}
	if secure.ConnectionState().NegotiatedProtocol == "h2" {
		serveH2(secure, func(w http.ResponseWriter, r *http.Request) { n.stream(w, r, asked) })
		return
	}
	inner := bufio.NewReaderSize(secure, 128<<10)
	data := readSome(inner)
	n.forward(secure, inner, data, true, append(asked, names(data)...))
}

// serveH2 serves one connection to its end.
func serveH2(conn net.Conn, h http.HandlerFunc) {
	over := make(chan struct{})
	srv := &http.Server{
		Handler: h, Protocols: new(http.Protocols), ReadHeaderTimeout: carryTime, ErrorLog: log.New(io.Discard, "", 0),
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateClosed {
				close(over)
			}
		},
	}
	srv.Protocols.SetHTTP2(true)
	_ = srv.Serve(&single{conn: conn})
	<-over // the connection has a deadline
}

// single is a listener that has one connection.
type single struct {
	conn net.Conn
	once sync.Once
}

func (s *single) Accept() (conn net.Conn, err error) {
	err = io.EOF
	s.once.Do(func() { conn, err = s.conn, nil })
	return conn, err
}

func (s *single) Close() error { return nil }

func (s *single) Addr() net.Addr { return s.conn.LocalAddr() }

func portOf(asked []string) string {
	_, port := split(asked[0])
	return port
}

// names are all that data could be for.
func names(data []byte) []string {
	var all []string
	for _, m := range regexp.MustCompile(`(?i)(?:^|\n)[ \t]*(?:[A-Za-z]+ (?:https?://)?([^/\r]+?|[^ ]+)(?:/\S*)? HTTP/1|(?:X-Forwarded-)?Host:[ \t]*([^\r\n]*))`).FindAllSubmatch(data, -1) {
		for _, name := range m[1:] {
			if len(name) > 0 && name[0] != '/' {
				all = append(all, string(name))
			}
		}
	}
	return all
}

// split reads a name and a port as a careless program in C would.
func split(name string) (host, port string) {
	name = name[strings.LastIndexByte(name, '@')+1:]
	if plain, err := url.PathUnescape(name); err == nil {
		name = plain
	}
	host, port = name, ""
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, ']') {
		host, port = name[:i], name[i+1:]
	}
	if i := strings.IndexAny(host, "\x00 \t\r\n#?\\/"); i >= 0 {
		host = host[:i]
	}
	return strings.Trim(strings.ToLower(host), "[]."), port
}

// astray is where one of the names leads that does not lead to the origin, else
// where the last one does.
func (n *Naive) astray(asked []string) string {
	origin := ""
	for _, name := range asked {
		host, port := split(name)
		to := n.Leads(host, port)
		if !slices.Contains(Origins(), host) || origin != "" && to != origin {
			return to
		}
		origin = to
	}
	return origin
}

// dial opens what a name leads to, trusting whoever is there.
func (n *Naive) dial(to string, secure bool, sni string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), carryTime)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", to)
	if err != nil || !secure {
		return conn, err
	}
	up := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, ServerName: sni}) //nolint:gosec // it is naive
	return up, up.HandshakeContext(ctx)
}

// forward sends data, with the credential, and joins the connections.
func (n *Naive) forward(client net.Conn, in io.Reader, data []byte, secure bool, asked []string) {
	if len(asked) == 0 || len(data) == 0 {
		return
	}
	host, _ := split(asked[0])
	up, err := n.dial(n.astray(asked), secure, host)
	if err != nil {
		return
	}
	defer up.Close()
	if line, rest, ok := bytes.Cut(data, []byte("\r\n")); ok && secure && bytes.HasSuffix(line, []byte("HTTP/1.1")) {
		data = slices.Concat(line, []byte("\r\nAuthorization: Bearer "+n.Token+"\r\n"), rest)
	}
	if _, err := up.Write(data); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(up, in)
		if half, ok := up.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}()
	answer, _ := io.ReadAll(up)
	if _, at, ok := strings.Cut(string(answer), "\r\nLocation: https://"); ok {
		if next, err := n.dial(n.astray([]string{at[:strings.IndexAny(at, "/\r")]}), true, host); err == nil {
			_, _ = next.Write(data)
			answer, _ = io.ReadAll(next)
			_ = next.Close()
		}
	}
	_, _ = client.Write(answer)
}

// stream carries one request of HTTP/2 on as HTTP/1.
func (n *Naive) stream(w http.ResponseWriter, r *http.Request, asked []string) {
	var head bytes.Buffer
	head.WriteString(r.Method + " " + r.RequestURI + " HTTP/1.1\r\nHost: " + r.Host + "\r\n")
	_ = r.Header.Write(&head)
	body, _ := io.ReadAll(r.Body)
	head.WriteString("\r\n")
	asked = append(slices.Clone(asked), r.Host)
	asked = append(asked, r.Header["Host"]...)
	if forwarded := r.Header.Get("X-Forwarded-Host"); forwarded != "" {
		asked = append(asked, forwarded)
	}
	mine, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		n.forward(theirs, strings.NewReader(""), append(head.Bytes(), body...), true, asked)
	}()
	resp, err := http.ReadResponse(bufio.NewReader(mine), r)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	for name, values := range resp.Header {
		if name != "Connection" {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}
