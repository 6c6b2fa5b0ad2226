package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"time"
)

// abort is a way to break off.
type abort struct {
	what string
	do   func(context.Context, *target) error
}

func abortKinds() []abort {
	return []abort{
		{"a tunnel left unused", func(ctx context.Context, t *target) error {
			raw, err := t.tunnel(ctx, hostAll)
			if err != nil {
				return err
			}
			return raw.Close()
		}},
		{"half a handshake", func(ctx context.Context, t *target) error {
			raw, err := t.tunnel(ctx, hostAll)
			if err != nil {
				return err
			}
			defer func() { _ = raw.Close() }()
			_, err = raw.Write([]byte{22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3})
			return err
		}},
		{"half a head", abortAfter("GET /v1/kb HTTP/1.1\r\nHost: "+hostAll+"\r\nAccept", 0)},
		{"before the answer", abortAfter(string(head("GET", hostAll, "/v1/hang", "")), 0)},
		{"in the answer", abortAfter(string(head("GET", hostAll, "/v1/bulk", "")), 1000)},
		{"in the body", abortAfter(string(head("POST", hostAll, "/v1/sink", "Content-Length: 100000\r\n"))+"{", 0)},
	}
}

// abortAfter sends something, reads some bytes of an answer and goes away.
func abortAfter(send string, read int64) func(context.Context, *target) error {
	return func(ctx context.Context, t *target) error {
		raw, err := t.tunnel(ctx, hostAll)
		if err != nil {
			return err
		}
		defer func() { _ = raw.Close() }()
		secure := tls.Client(raw, &tls.Config{RootCAs: t.trust, ServerName: hostAll})
		if err := secure.HandshakeContext(ctx); err != nil {
			return err
		}
		if _, err := io.WriteString(secure, send); err != nil {
			return err
		}
		_, err = io.CopyN(io.Discard, secure, read)
		return err
	}
}

// aborts breaks off many exchanges, and looks at what is left of them in the
// sidecar. Its goroutines cannot be seen from outside: that is a test of the
// package.
func (b *bench) aborts(ctx context.Context) error {
	each := b.pick(10000, 100)
	t := b.ours
	kinds := abortKinds()
	if err := t.restart(ctx); err != nil {
		return err
	}
	breakOff := func(n int64) error {
		for _, k := range kinds {
			if err := repeatTimes(n, 16, func() error { return k.do(ctx, t) }); err != nil {
				return fmt.Errorf("%s: %w", k.what, err)
			}
		}
		return nil
	}
	if err := breakOff(int64(each / 10)); err != nil { // what a busy proxy keeps at hand
		return err
	}
	files, memory, err := b.settled()
	if err != nil {
		return err
	}
	if err := breakOff(int64(each)); err != nil {
		return err
	}
	filesAfter, memoryAfter, err := b.settled()
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%d exchanges broken off in %d ways", each*len(kinds), len(kinds))
	x := b.r.row(what+": descriptors more than before", count, atMost("", 10, 0))
	x.set(nameOurs, float64(filesAfter-files))
	x.show()
	x = b.r.row("the same, memory more than before", megabytes, atMost("", 10e6, 0))
	x.set(nameOurs, float64(memoryAfter-memory))
	x.show()
	return nil
}

// settled waits until the sidecar has closed what it closes and returns what is
// open and resident then.
func (b *bench) settled() (files int, memory int64, err error) {
	least := -1
	for still := 0; still < 15; {
		if files, err = b.ours.files(); err != nil {
			return 0, 0, err
		}
		if least < 0 || files < least {
			least, still = files, 0
		} else {
			still++
		}
		time.Sleep(100 * time.Millisecond)
	}
	memory, _, err = b.ours.memory()
	return least, memory, err
}
