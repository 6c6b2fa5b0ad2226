package egresstest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	// refusedHeader is in every refusal of the proxy.
	refusedHeader = "X-Bottle-Refused"
	// carryTime bounds one attack. What is refused takes milliseconds.
	carryTime = 20 * time.Second
	// mostText bounds what is kept of answers.
	mostText = 64 << 10
)

// Carry carries an attack out against the proxy at an address.
func Carry(ctx context.Context, proxy string, a Attack) Answer {
	ctx, cancel := context.WithTimeout(ctx, carryTime)
	defer cancel()
	var out Answer
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", proxy)
	if err != nil {
		out.Fault = "reach the proxy: " + err.Error()
		return out
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if err := out.carry(ctx, conn, a); err != nil {
		out.Fault = err.Error()
	}
	return out
}

func (out *Answer) carry(ctx context.Context, conn net.Conn, a Attack) error {
	in := bufio.NewReader(conn)
	if a.Connect != nil {
		if _, err := conn.Write(a.Connect); err != nil {
			return fmt.Errorf("ask for a tunnel: %w", err)
		}
		if opened, err := out.read(in, http.MethodConnect); err != nil || !opened {
			return err
		}
	}
	if a.Hello != nil {
		return out.greet(conn, in, a.Hello)
	}
	var link net.Conn = &buffered{conn, in}
	if a.SNI != "" {
		secure := tls.Client(link, a.handshake())
		if err := secure.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("handshake: %w", err)
		}
		link, in = secure, bufio.NewReader(secure)
	}
	if a.Streams != nil {
		return out.streams(link, a.Streams)
	}
	if _, err := link.Write(a.Send); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	for range a.Answers {
		if _, err := out.read(in, http.MethodGet); err != nil {
			return err
		}
	}
	return nil
}

// handshake trusts anybody: an attacker does not care.
func (a Attack) handshake() *tls.Config {
	c := &tls.Config{ServerName: a.SNI, InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}} //nolint:gosec // see above
	if a.Streams != nil {
		c.NextProtos = []string{"h2"}
	}
	if a.OldTLS {
		c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	}
	return c
}

// greet sends a handshake's first record and waits until the other side ends.
func (out *Answer) greet(conn net.Conn, in io.Reader, hello []byte) error {
	if _, err := conn.Write(hello); err != nil {
		return fmt.Errorf("greet: %w", err)
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_, err := io.Copy(io.Discard, io.LimitReader(in, 1<<20))
	return err
}

// read takes one answer and reports whether it opens a tunnel.
func (out *Answer) read(in *bufio.Reader, method string) (bool, error) {
	resp, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		return false, fmt.Errorf("read an answer: %w", err)
	}
	defer resp.Body.Close()
	if method == http.MethodConnect && resp.StatusCode == http.StatusOK {
		return true, nil
	}
	out.Statuses, out.Reasons = append(out.Statuses, resp.StatusCode), append(out.Reasons, resp.Header.Get(refusedHeader))
	var head bytes.Buffer
	_ = resp.Header.Write(&head)
	out.keep(head.Bytes())
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostText))
	out.keep(body)
	if err != nil {
		return false, fmt.Errorf("read an answer's body: %w", err)
	}
	return false, nil
}

func (out *Answer) keep(text []byte) {
	out.Text = append(out.Text, text[:min(len(text), mostText-len(out.Text))]...)
}

// buffered reads what was read ahead first.
type buffered struct {
	net.Conn
	in io.Reader
}

func (b *buffered) Read(p []byte) (int, error) { return b.in.Read(p) }

// CloseWrite ends what is written.
func (b *buffered) CloseWrite() error {
	if half, ok := b.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
