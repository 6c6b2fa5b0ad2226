package vmguest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

const patience = 10 * time.Second

// socketPath is short enough for every system.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vmg") //nolint:usetesting // its own directory's name is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// serveSocket answers every connection with handle.
func serveSocket(t *testing.T, handle func(*net.UnixConn)) string {
	t.Helper()
	path := socketPath(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); handle(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return path
}

// startRelay returns the address of a relay that ends with t.
func startRelay(t *testing.T, r relay) (addr string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.serve(ctx, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("the relay ended: %v", err)
			}
		case <-time.After(patience):
			t.Error("the relay does not end with its context")
		}
	})
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

func echo(c *net.UnixConn) {
	_, _ = io.Copy(c, c)
	_ = c.CloseWrite()
}

func TestRelayLargeTransfer(t *testing.T) {
	addr, _ := startRelay(t, relay{path: serveSocket(t, echo), limit: 4})
	sent := make([]byte, 32<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(sent)
	c := dial(t, addr)
	go func() {
		_, _ = c.Write(sent)
		_ = c.CloseWrite()
	}()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes come back, or others: %v", len(got), len(sent), err)
	}
}

// TestRelayHalfClose has each side end its direction first and still be heard.
func TestRelayHalfClose(t *testing.T) {
	t.Run("client first", func(t *testing.T) {
		addr, _ := startRelay(t, relay{limit: 4, path: serveSocket(t, func(c *net.UnixConn) {
			asked, _ := io.ReadAll(c)
			_, _ = c.Write(append([]byte("answer to "), asked...))
		})})
		c := dial(t, addr)
		_, _ = c.Write([]byte("question"))
		_ = c.CloseWrite()
		if got, err := io.ReadAll(c); err != nil || string(got) != "answer to question" {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("server first", func(t *testing.T) {
		heard := make(chan string, 1)
		addr, _ := startRelay(t, relay{limit: 4, path: serveSocket(t, func(c *net.UnixConn) {
			_, _ = c.Write([]byte("greeting"))
			_ = c.CloseWrite()
			rest, _ := io.ReadAll(c)
			heard <- string(rest)
		})})
		c := dial(t, addr)
		if got, err := io.ReadAll(c); err != nil || string(got) != "greeting" {
			t.Errorf("%q, %v", got, err)
		}
		_, _ = c.Write([]byte("late"))
		_ = c.CloseWrite()
		select {
		case got := <-heard:
			if got != "late" {
				t.Errorf("the server hears %q", got)
			}
		case <-time.After(patience):
			t.Error("the server hears no end")
		}
	})
}

func TestRelayRefused(t *testing.T) {
	addr, _ := startRelay(t, relay{path: socketPath(t), limit: 4})
	start := time.Now()
	c := dial(t, addr)
	if n, err := c.Read(make([]byte, 1)); err == nil || time.Since(start) > patience/2 {
		t.Errorf("read %d, %v after %s", n, err, time.Since(start))
	}
}

// TestRelayBroken has a server that drops the connection: the client learns.
func TestRelayBroken(t *testing.T) {
	addr, _ := startRelay(t, relay{limit: 4, path: serveSocket(t, func(*net.UnixConn) {})})
	c := dial(t, addr)
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read %d, %v, want the end", n, err)
	}
}

// TestRelayLimit wants one connection too many closed, and room again when one
// has ended.
func TestRelayLimit(t *testing.T) {
	const limit = 8
	addr, _ := startRelay(t, relay{path: serveSocket(t, echo), limit: limit})
	ping := func(c *net.TCPConn) error {
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		_, err := c.Read(make([]byte, 1))
		return err
	}
	open := make([]*net.TCPConn, limit)
	for i := range open {
		open[i] = dial(t, addr)
		if err := ping(open[i]); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	if err := ping(dial(t, addr)); err == nil {
		t.Fatalf("connection %d of %d is served", limit+1, limit)
	}
	if err := ping(open[0]); err != nil {
		t.Errorf("an old connection fails: %v", err)
	}
	_ = open[1].Close()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err = ping(dial(t, addr)); err == nil {
			return
		}
	}
	t.Errorf("no room after a connection has ended: %v", err)
}

// TestRelayStops ends a relay that carries an idle connection.
func TestRelayStops(t *testing.T) {
	addr, stop := startRelay(t, relay{path: serveSocket(t, echo), limit: 4})
	c := dial(t, addr)
	_, _ = c.Write([]byte("x"))
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection outlives the relay")
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("the listener outlives the relay")
	}
}

// TestRelayListenerLost ends when somebody closes its listener.
func TestRelayListenerLost(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := Relay(t.Context(), l, socketPath(t)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v, want net.ErrClosed", err)
	}
}
