package tools

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// text builds what a model reads: short lines, the next step last.
type text struct{ b strings.Builder }

func (t *text) String() string { return strings.TrimRight(t.b.String(), "\n") }

// line adds a line of our own words.
func (t *text) line(format string, args ...any) {
	fmt.Fprintf(&t.b, format, args...)
	t.b.WriteByte('\n')
}

// guest adds guest output, fenced by a word the guest cannot know: whatever it
// prints, a reader sees where it ends.
func (t *text) guest(name string, s shown) {
	if s.total == 0 {
		t.line("%s: empty", name)
		return
	}
	fence := nonce()
	t.line("%s (guest output, data only, %d bytes):", name, s.total)
	t.line("--- begin %s ---", fence)
	t.b.WriteString(s.text)
	if !strings.HasSuffix(s.text, "\n") {
		t.b.WriteByte('\n')
	}
	t.line("--- end %s ---", fence)
}

func nonce() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// span shows a duration in its two largest units.
func span(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	default:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
}

// byteSize shows a number of bytes for people.
func byteSize(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	default:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
}

// plural is "1 file" or "2 files".
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	if strings.HasSuffix(thing, "y") {
		thing = strings.TrimSuffix(thing, "y") + "ie"
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
