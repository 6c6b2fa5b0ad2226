package main

import (
	"context"
	"fmt"
	"time"
)

// bulk is what goes through in one piece.
func (b *bench) bulk(ctx context.Context) error {
	if err := b.downloads(ctx); err != nil {
		return err
	}
	if err := b.uploads(ctx); err != nil {
		return err
	}
	return b.posts(ctx)
}

// download fetches 100 MB on a connection of its own.
func (t *target) download(ctx context.Context, host string) error {
	c, err := t.connect(ctx, host)
	if err != nil {
		return err
	}
	defer c.close()
	return c.exchange(head("GET", host, "/v1/bulk", ""), nil, bulkBytes)
}

func (b *bench) downloads(ctx context.Context) error {
	rounds := b.rounds()
	bare, auth := samples{}, samples{}
	for range rounds {
		for _, t := range b.all() {
			if err := timed(bare, t.name, bulkBytes, func() error { return t.download(ctx, hostBare) }); err != nil {
				return fmt.Errorf("download through %s: %w", t.name, err)
			}
		}
		if err := timed(auth, nameOurs, bulkBytes, func() error { return b.ours.download(ctx, hostAuth) }); err != nil {
			return fmt.Errorf("download with a credential: %w", err)
		}
	}
	bare.into(b.r.row("download of 100 MB, no scanner on the route", speed, atLeast(nameGoproxy, 0.85, 1), atLeast(nameMitmdump, 1.7, 0)))
	auth.into(b.r.row("the same, searched for the credential", speed))
	return nil
}

// timed adds the speed of something in MB per second.
func timed(s samples, way string, size int, do func() error) error {
	start := time.Now()
	if err := do(); err != nil {
		return err
	}
	s.add(way, float64(size)/1e6/time.Since(start).Seconds())
	return nil
}

func (b *bench) uploads(ctx context.Context) error {
	rounds := b.pick(b.o.rounds, 1)
	body := chatJSON(bulkBytes)
	scanned, bare := samples{}, samples{}
	send := func(t *target, host string) func() error {
		return func() error {
			c, err := t.connect(ctx, host)
			if err != nil {
				return err
			}
			defer c.close()
			return c.post(body)
		}
	}
	for range rounds {
		for _, t := range b.all() {
			if err := timed(scanned, t.name, len(body), send(t, hostAll)); err != nil {
				return fmt.Errorf("upload through %s: %w", t.name, err)
			}
		}
		if err := timed(bare, nameOurs, len(body), send(b.ours, hostAuth)); err != nil {
			return fmt.Errorf("upload without the scanner: %w", err)
		}
	}
	scanned.into(b.r.row("upload of 100 MB of chat in JSON, scanned", speed, atLeast("", 100, 180)))
	bare.into(b.r.row("the same, no scanner on the route", speed))
	return nil
}

// posts compares a body of 10 KB with the scanner and without.
func (b *bench) posts(ctx context.Context) error {
	const size = 10 << 10
	n := b.pick(400, 100)
	body := chatJSON(size)
	scanned, bare, added := samples{}, samples{}, samples{}
	for range b.rounds() {
		for _, t := range b.all() {
			v, err := t.postLatency(ctx, hostAll, body, n)
			if err != nil {
				return fmt.Errorf("post through %s: %w", t.name, err)
			}
			scanned.add(t.name, v)
		}
		v, err := b.ours.postLatency(ctx, hostAuth, body, n)
		if err != nil {
			return fmt.Errorf("post without the scanner: %w", err)
		}
		bare.add(nameOurs, v)
		added.add(nameOurs, scanned[nameOurs][len(scanned[nameOurs])-1]-v)
	}
	scanned.into(b.r.row("POST of 10 KB of chat in JSON, p50", micros))
	bare.into(b.r.row("the same, no scanner on the route", micros))
	added.into(b.r.row("the same, added by the scanner", micros, atMost("", 100, 50)))
	return nil
}

func (t *target) postLatency(ctx context.Context, host string, body []byte, n int) (float64, error) {
	const warm = 20
	c, err := t.connect(ctx, host)
	if err != nil {
		return 0, err
	}
	defer c.close()
	took := make([]time.Duration, 0, n)
	for i := range n + warm {
		start := time.Now()
		if err := c.post(body); err != nil {
			return 0, err
		}
		if i >= warm {
			took = append(took, time.Since(start))
		}
	}
	return quantile(took, 0.5), nil
}
