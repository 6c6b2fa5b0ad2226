package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// memory is what stays resident: of a fresh process after its first answer, and
// at most while four large answers go through.
func (b *bench) memory(ctx context.Context) error {
	idle := b.r.row("resident memory, idle after the first answer", megabytes, atMost("", 30e6, 25e6))
	loaded := b.r.row("the same, highest under 4 × 100 MB", megabytes, atMost("", 64e6, 40e6))
	for _, t := range b.peers {
		if err := t.restart(ctx); err != nil {
			return err
		}
	}
	time.Sleep(time.Second) // idle is what is measured
	for _, t := range b.peers {
		now, _, err := t.memory()
		if err != nil {
			return err
		}
		idle.set(t.name, float64(now))
	}
	idle.show()
	for _, t := range b.peers {
		if err := t.resetPeak(); err != nil {
			return fmt.Errorf("reset the peak of %s: %w", t.name, err)
		}
		var all errgroup.Group
		for range 4 {
			all.Go(func() error { return t.download(ctx, hostBare) })
		}
		if err := all.Wait(); err != nil {
			return fmt.Errorf("four downloads through %s: %w", t.name, err)
		}
		_, peak, err := t.memory()
		if err != nil {
			return err
		}
		loaded.set(t.name, float64(peak))
	}
	loaded.show()
	return nil
}

// coldStarts is the time from the start of the program to the first answer over
// HTTPS.
func (b *bench) coldStarts(ctx context.Context) error {
	took := samples{}
	for range b.rounds() {
		for _, t := range b.peers {
			t.stop()
			start := time.Now()
			if err := t.launch(ctx); err != nil {
				return err
			}
			took.add(t.name, float64(time.Since(start).Microseconds())/1e3)
		}
	}
	took.into(b.r.row("cold start: program to first answer over HTTPS", millis, atMost("", 40, 25), atMost(nameMitmdump, 0.125, 0)))
	return nil
}
