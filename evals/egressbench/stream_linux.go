package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/coder/websocket"
)

// streams is how late what an origin sends piece by piece arrives.
func (b *bench) streams(ctx context.Context) error {
	for _, s := range []struct {
		what, path string
		h2         bool
		next       func(*bufio.Reader) (int64, error)
	}{
		{"SSE", "/v1/sse", false, nextLine},
		{"NDJSON", "/v1/ndjson", false, nextLine},
		{"gRPC", "/v1/grpc", true, nextMessage},
	} {
		worst := samples{}
		for range b.pick(min(b.o.rounds, 5), 1) {
			for _, t := range b.all() {
				v, err := worstDelay(ctx, t, s.path, s.h2, s.next)
				if err != nil {
					return fmt.Errorf("%s through %s: %w", s.what, t.name, err)
				}
				worst.add(t.name, v)
			}
		}
		worst.into(b.r.row(s.what+", worst delay of 10 events", millis, atMost("", 5, 1)))
	}
	return b.sockets(ctx)
}

func worstDelay(ctx context.Context, t *target, path string, h2 bool, next func(*bufio.Reader) (int64, error)) (float64, error) {
	if h2 && t.name == nameGoproxy {
		h2 = false // it speaks HTTP/1.1 to clients
	}
	method, body := http.MethodGet, io.Reader(nil)
	if path == "/v1/grpc" {
		method, body = http.MethodPost, bytes.NewReader(make([]byte, 5)) // one empty message
	}
	r, err := http.NewRequestWithContext(ctx, method, "https://"+hostAll+path, body)
	if err != nil {
		return 0, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/grpc")
		r.Header.Set("Te", "trailers")
	}
	c := t.client(h2)
	defer c.CloseIdleConnections()
	resp, err := c.Do(r)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("the answer is %s", resp.Status)
	}
	var worst int64
	in := bufio.NewReader(resp.Body)
	for range events {
		sent, err := next(in)
		if err != nil {
			return 0, err
		}
		worst = max(worst, time.Now().UnixNano()-sent)
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return 0, err
	}
	if path == "/v1/grpc" && resp.Trailer.Get("Grpc-Status") != "0" && t.name == nameOurs {
		return 0, fmt.Errorf("the trailers are %v", resp.Trailer)
	}
	return float64(worst) / 1e6, nil
}

// nextLine reads up to a line with a time in it.
func nextLine(r *bufio.Reader) (int64, error) {
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimSpace(bytes.TrimPrefix(line, []byte("data:")))
		if len(line) > 0 {
			return strconv.ParseInt(string(line), 10, 64)
		}
	}
}

func nextMessage(r *bufio.Reader) (int64, error) {
	var message [13]byte
	_, err := io.ReadFull(r, message[:])
	return int64(binary.BigEndian.Uint64(message[5:])), err
}

// sockets is the time of a message there and back on a WebSocket.
func (b *bench) sockets(ctx context.Context) error {
	n := b.pick(500, 150)
	middle := samples{}
	for range b.rounds() {
		for _, t := range b.all() {
			v, err := t.roundTrips(ctx, n)
			if err != nil {
				return fmt.Errorf("WebSocket through %s: %w", t.name, err)
			}
			middle.add(t.name, v)
		}
	}
	middle.into(b.r.row("WebSocket, message there and back, p50", micros, atMost(nameDirect, 2.5, 2), atMost(nameMitmdump, 0.2, 0)))
	return nil
}

func (t *target) roundTrips(ctx context.Context, n int) (float64, error) {
	const warm = 20
	client := t.client(false)
	defer client.CloseIdleConnections()
	client.Timeout = 0 // it would bound the socket's life
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, resp, err := websocket.Dial(ctx, "wss://"+hostAll+"/v1/ws", &websocket.DialOptions{HTTPClient: client})
	if resp != nil && resp.Body != nil {
		defer func() { _ = resp.Body.Close() }()
	}
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.CloseNow() }()
	message := chatJSON(200)
	took := make([]time.Duration, 0, n)
	for i := range n + warm {
		start := time.Now()
		if err := c.Write(ctx, websocket.MessageText, message); err != nil {
			return 0, err
		}
		if _, _, err := c.Read(ctx); err != nil {
			return 0, err
		}
		if i >= warm {
			took = append(took, time.Since(start))
		}
	}
	return quantile(took, 0.5), nil
}
