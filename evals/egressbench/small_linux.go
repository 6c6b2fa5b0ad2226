package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// rounds is how often everything takes its turn.
func (b *bench) rounds() int {
	return b.pick(b.o.rounds, 2)
}

// pick is one of two sizes.
func (b *bench) pick(full, short int) int {
	if b.o.short {
		return short
	}
	return full
}

// keepAlive is a small answer over connections that are kept.
func (b *bench) keepAlive(ctx context.Context) error {
	if err := b.latency(ctx); err != nil {
		return err
	}
	return b.throughput(ctx)
}

// latency is that of one connection. What a proxy adds is taken round by round,
// against the direct way just before.
func (b *bench) latency(ctx context.Context) error {
	const warm = 50
	n := b.pick(600, 100)
	middle, high := samples{}, samples{}
	all := b.all()
	conns, closeAll, err := connections(len(all), func(i int) (*conn, error) { return all[i].connect(ctx, hostAll) })
	defer closeAll()
	if err != nil {
		return err
	}
	for range b.rounds() {
		for i, t := range all {
			c, took := conns[i], make([]time.Duration, 0, n)
			for i := range n + warm {
				start := time.Now()
				if err := c.kilobyte(); err != nil {
					return fmt.Errorf("through %s: %w", t.name, err)
				}
				if i >= warm {
					took = append(took, time.Since(start))
				}
			}
			middle.add(t.name, quantile(took, 0.5))
			high.add(t.name, quantile(took, 0.99))
		}
	}
	middle.into(b.r.row("GET of 1 KB, kept connection, p50", micros))
	high.into(b.r.row("the same, p99", micros))
	middle.above(nameDirect).into(b.r.row("the same, added to p50", micros, atMost(nameGoproxy, 1.2, 1), atMost(nameMitmdump, 0.2, 0.16)))
	high.above(nameDirect).into(b.r.row("the same, added to p99", micros, atMost(nameMitmdump, 0.5, 0.3)))
	return nil
}

// connections opens some. What it returns closes those there are.
func connections(n int, open func(int) (*conn, error)) (all []*conn, closeAll func(), err error) {
	closeAll = func() {
		for _, c := range all {
			c.close()
		}
	}
	for i := range n {
		c, err := open(i)
		if c != nil {
			all = append(all, c)
		}
		if err != nil {
			return all, closeAll, err
		}
	}
	return all, closeAll, nil
}

// throughput is that of 16 connections at once, and what it costs.
func (b *bench) throughput(ctx context.Context) error {
	span := time.Duration(b.pick(1000, 300)) * time.Millisecond
	rate, cost := samples{}, samples{}
	for range b.rounds() {
		for _, t := range b.all() {
			if err := b.press(ctx, t, span, rate, cost); err != nil {
				return fmt.Errorf("through %s: %w", t.name, err)
			}
		}
	}
	rate.into(b.r.row("GET of 1 KB, 16 connections", perSecond, atLeast(nameGoproxy, 0.9, 1), atLeast(nameMitmdump, 10, 15)))
	cost.into(b.r.row("the same, processor time of the proxy", micros, atMost(nameGoproxy, 1.3, 1), atMost(nameMitmdump, 0.1, 0)))
	return nil
}

func (b *bench) press(ctx context.Context, t *target, span time.Duration, rate, cost samples) error {
	const width = 16
	all, closeAll, err := connections(width, func(int) (*conn, error) {
		c, err := t.connect(ctx, hostAll)
		if err == nil {
			err = c.kilobyte()
		}
		return c, err
	})
	defer closeAll()
	if err != nil {
		return err
	}
	before, err := t.spent()
	if err != nil {
		return err
	}
	n, took, err := repeat(span, width, func(i int) error { return all[i].kilobyte() })
	if err != nil {
		return err
	}
	after, err := t.spent()
	if err != nil {
		return err
	}
	rate.add(t.name, float64(n)/took.Seconds())
	if t.process != nil {
		cost.add(t.name, float64((after-before).Nanoseconds())/1e3/float64(n))
	}
	return nil
}

// spent is the processor time of a proxy.
func (t *target) spent() (time.Duration, error) {
	if t.process == nil {
		return 0, nil
	}
	return t.processor()
}

// repeat has n workers do something over and over for a while and counts.
func repeat(span time.Duration, n int, do func(worker int) error) (int64, time.Duration, error) {
	var done atomic.Int64
	var failed atomic.Pointer[error]
	var workers sync.WaitGroup
	start := time.Now()
	for i := range n {
		workers.Go(func() {
			for time.Since(start) < span && failed.Load() == nil {
				if err := do(i); err != nil {
					failed.Store(&err)
					return
				}
				done.Add(1)
			}
		})
	}
	workers.Wait()
	if err := failed.Load(); err != nil {
		return 0, 0, *err
	}
	return done.Load(), time.Since(start), nil
}

// handshakes is a connection, tunnel and whole handshake for each request.
func (b *bench) handshakes(ctx context.Context) error {
	const clients = 8
	span := time.Duration(b.pick(1500, 300)) * time.Millisecond
	rate, cost := samples{}, samples{}
	for range b.rounds() {
		for _, t := range b.all() {
			before, err := t.spent()
			if err != nil {
				return err
			}
			n, took, err := repeat(span, clients, func(int) error {
				c, err := t.connect(ctx, hostAll)
				if err != nil {
					return err
				}
				defer c.close()
				return c.kilobyte()
			})
			if err != nil {
				return fmt.Errorf("through %s: %w", t.name, err)
			}
			after, err := t.spent()
			if err != nil {
				return err
			}
			rate.add(t.name, float64(n)/took.Seconds())
			if t.process != nil {
				cost.add(t.name, float64((after-before).Nanoseconds())/1e3/float64(n))
			}
		}
	}
	rate.into(b.r.row("new TLS connections, 8 clients", perSecond, atLeast(nameDirect, 0.8, 0.85), atLeast(nameGoproxy, 0.95, 0), atLeast(nameMitmdump, 6, 0)))
	cost.into(b.r.row("the same, processor time of the proxy", micros))
	return nil
}

// repeatTimes has workers do something n times in all.
func repeatTimes(n int64, workers int, do func() error) error {
	var left atomic.Int64
	left.Store(n)
	const span = 10 * time.Minute
	_, _, err := repeat(span, workers, func(int) error {
		if left.Add(-1) < 0 {
			return errDone
		}
		return do()
	})
	switch {
	case errors.Is(err, errDone):
		return nil
	case err == nil:
		return fmt.Errorf("%d of %d were left after %s", left.Load(), n, span)
	}
	return err
}

// errDone ends a worker that has nothing left to do.
var errDone = errors.New("all done")
