package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// patience is how long one operation may take before the run fails.
const patience = 2 * time.Minute

// conn is a TLS connection to the origin, through a proxy or not, and a client
// on it that does little else than writing and reading, so that it is the
// proxies that are compared.
type conn struct {
	*tls.Conn
	r    *bufio.Reader
	host string
	get  []byte
}

// connect dials, tunnels and finishes a whole handshake: nothing is resumed.
func (t *target) connect(ctx context.Context, host string) (*conn, error) {
	raw, err := t.tunnel(ctx, host)
	if err != nil {
		return nil, err
	}
	secure := tls.Client(raw, &tls.Config{RootCAs: t.trust, ServerName: host})
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("handshake through %s: %w", t.name, err)
	}
	return &conn{Conn: secure, r: bufio.NewReaderSize(secure, 32<<10), host: host, get: head("GET", host, "/v1/kb", "")}, nil
}

// tunnel connects to where TLS begins.
func (t *target) tunnel(ctx context.Context, host string) (net.Conn, error) {
	address := t.proxy
	if address == "" {
		address = "127.0.0.1:443"
	}
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	err = raw.SetDeadline(time.Now().Add(patience))
	if err == nil && t.proxy != "" {
		err = openTunnel(raw, host)
	}
	if err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("tunnel through %s: %w", t.name, err)
	}
	return raw, nil
}

func openTunnel(raw net.Conn, host string) error {
	if _, err := fmt.Fprintf(raw, "CONNECT %s:443 HTTP/1.1\r\nHost: %s:443\r\n\r\n", host, host); err != nil {
		return err
	}
	var got []byte
	for buf := make([]byte, 1024); !bytes.HasSuffix(got, []byte("\r\n\r\n")); { // the server speaks first in no TLS
		n, err := raw.Read(buf)
		if got = append(got, buf[:n]...); err != nil {
			return fmt.Errorf("%w after %q", err, got)
		}
	}
	if !bytes.HasPrefix(got, []byte("HTTP/1.1 200")) && !bytes.HasPrefix(got, []byte("HTTP/1.0 200")) {
		return fmt.Errorf("CONNECT was answered %q", got)
	}
	return nil
}

// head is a request's head as a usual client writes it.
func head(method, host, path, more string) []byte {
	return []byte(method + " " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: egressbench/1.0\r\nAccept: application/json\r\n" +
		"Accept-Language: en\r\n" + more + "\r\n")
}

func (c *conn) close() { _ = c.NetConn().Close() }

// kilobyte fetches the small answer.
func (c *conn) kilobyte() error { return c.exchange(c.get, nil, 1024) }

// post sends a body and waits for the origin's count.
func (c *conn) post(body []byte) error {
	length := strconv.Itoa(len(body))
	return c.exchange(head("POST", c.host, "/v1/sink", "Content-Type: application/json\r\nContent-Length: "+length+"\r\n"), body, int64(len(length)))
}

// exchange sends a request and throws its answer away, which must be of a size.
func (c *conn) exchange(head, body []byte, want int64) error {
	if _, err := c.Write(head); err != nil {
		return err
	}
	if len(body) > 0 {
		if _, err := c.Write(body); err != nil {
			return err
		}
	}
	size, err := c.answerHead()
	if err != nil {
		return err
	}
	if size != want {
		rest, _ := io.ReadAll(io.LimitReader(c.r, min(max(size, 0), 2048)))
		return fmt.Errorf("an answer of %d bytes, not %d: %s", size, want, rest)
	}
	for left := size; left > 0; {
		n, err := c.r.Discard(int(min(left, 32<<10)))
		if left -= int64(n); err != nil {
			return err
		}
	}
	return nil
}

// answerHead reads the head of an answer and returns the length of its body.
func (c *conn) answerHead() (int64, error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
		rest, _ := c.r.Peek(c.r.Buffered())
		return 0, fmt.Errorf("the answer is %q %q", line, rest)
	}
	size := int64(-1)
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("Content-Length")) {
			if size, err = strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64); err != nil {
				return 0, err
			}
		}
	}
	if size < 0 {
		return 0, errors.New("the answer has no length")
	}
	return size, nil
}

// client is net/http's, for what the other one cannot do.
func (t *target) client(h2 bool) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2)
	protocols.SetHTTP2(h2)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: t.trust}, Protocols: protocols, DisableCompression: true}
	if t.proxy != "" {
		tr.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: t.proxy})
	}
	return &http.Client{Transport: tr, Timeout: patience}
}
