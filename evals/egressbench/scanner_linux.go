package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/sidecars/dlp"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// scanners compares the secret scanner with gitleaks's detector, which has the
// patterns alone, on the same bytes, in processor time.
func (b *bench) scanners(ctx context.Context) error {
	o := dlp.Options{Canaries: []dlp.Known{{Name: "canary", Value: secret.New(rand.Text())}}}
	for i := range 10 {
		o.Known = append(o.Known, dlp.Known{Name: strconv.Itoa(i), Value: secret.New(rand.Text())})
	}
	s, err := dlp.New(o)
	if err != nil {
		return err
	}
	code := []byte(strconv.Quote(sourceText()))
	texts := []struct {
		what string
		text []byte
		must bound
	}{
		{"chat in JSON", chatJSON(megabyte), atLeast("", 200e6, 250e6)},
		{"Go code as a JSON string", code, atLeast("", 150e6, 0)},
		{"“api_key_” over and over", []byte(strings.Repeat("api_key_", megabyte/8)), atLeast("", 100e6, 150e6)},
	}
	for i, t := range texts {
		x := b.r.row("scanner, one thread, "+t.what, scanSpeed, t.must)
		x.set(nameOurs, scanRate(s, t.text, b.pick(60, 10)))
		if !b.o.short {
			rate, err := gitleaksRate(ctx, b, i, t.text)
			if err != nil {
				b.r.note("gitleaks is missing: %v", err)
			} else {
				b.r.note("gitleaks v8.30 with Go's regular expressions on the same %s: %.2f MB/s; the scanner has %.0f × that, promised ≥ 50 ×: %s.",
					t.what, rate/1e6, x.values[nameOurs]/rate, atLeast("", 50, 0).verdict(x.values[nameOurs]/rate, true))
			}
		}
		x.show()
	}
	return nil
}

func scanSpeed(v float64) string { return speed(v / 1e6) }

// scanRate is the best of some runs in bytes per second of processor time.
func scanRate(s *dlp.Scanner, text []byte, runs int) float64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	best := 0.0
	for range runs {
		before := threadTime()
		stream := s.Stream(dlp.StreamOptions{Detectors: nil})
		for rest := text; len(rest) > 0; {
			n := min(len(rest), 32<<10)
			stream.Write(rest[:n])
			rest = rest[n:]
		}
		stream.Close()
		best = max(best, float64(len(text))/(threadTime()-before).Seconds())
	}
	return best
}

func threadTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

func gitleaksRate(ctx context.Context, b *bench, i int, text []byte) (float64, error) {
	file := filepath.Join(b.dir, fmt.Sprintf("text-%d", i))
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return 0, err
	}
	out, err := exec.CommandContext(ctx, filepath.Join(b.o.peers, "gitleaks"), file).Output()
	if err != nil {
		return 0, err
	}
	rate, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	return rate * 1e6, err
}
