package tools

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unicode/utf8"
)

// noLog is a log that cannot be made.
func noLog() *outputLog {
	return &outputLog{limit: 1, open: func() (logFile, error) { return logFile{}, errors.New("no log here") }}
}

// logTo is a log into w.
func logTo(w io.WriteCloser, limit, budget int64) *outputLog {
	left := &atomic.Int64{}
	left.Store(budget)
	return &outputLog{limit: limit, open: func() (logFile, error) { return logFile{name: "x.log", w: w, budget: left}, nil }}
}

var markerPattern = regexp.MustCompile(`\n?\[… (\d+) bytes omitted …\]\n?`)

// TestHeadTailKeepsBothEnds says for random streams in random chunks that the
// text is a true prefix, a marker with the right count, and a true suffix.
func TestHeadTailKeepsBothEnds(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		in := make([]byte, random.IntN(400))
		for i := range in {
			in[i] = byte('a' + random.IntN(26))
		}
		limit := 2 + random.IntN(100)
		h := newHeadTail(limit)
		for rest := in; len(rest) > 0; {
			n := 1 + random.IntN(len(rest))
			h.write(rest[:n])
			rest = rest[n:]
		}
		head := random.IntN(limit)
		s := h.show(head, limit-head)
		if s.total != int64(len(in)) {
			t.Fatalf("total %d, want %d", s.total, len(in))
		}
		if len(in) <= limit {
			if s.text != string(in) || s.omitted != 0 {
				t.Fatalf("all of %q fits into %d, got %q", in, limit, s.text)
			}
			continue
		}
		at := markerPattern.FindStringSubmatchIndex(s.text)
		if at == nil {
			t.Fatalf("no marker in %q", s.text)
		}
		front, back := s.text[:at[0]], s.text[at[1]:]
		omitted, _ := strconv.Atoi(s.text[at[2]:at[3]])
		if !bytes.HasPrefix(in, []byte(front)) || !bytes.HasSuffix(in, []byte(back)) {
			t.Fatalf("%q … %q are no ends of %q", front, back, in)
		}
		if len(front)+omitted+len(back) != len(in) || int64(omitted) != s.omitted {
			t.Fatalf("%d + %d + %d bytes are not %d", len(front), omitted, len(back), len(in))
		}
		if len(front) != min(head, limit/2) || len(back) != min(limit-head, limit-limit/2) {
			t.Fatalf("limit %d as %d+%d gave %d and %d bytes", limit, head, limit-head, len(front), len(back))
		}
	}
}

func TestHeadTailCutsBetweenRunes(t *testing.T) {
	stream := []byte(strings.Repeat("日é😀x", 200))
	for limit := 4; limit < 80; limit++ {
		h := newHeadTail(limit)
		h.write(stream)
		s := h.show(limit/2, limit-limit/2)
		if strings.ContainsRune(s.text, utf8.RuneError) {
			t.Fatalf("limit %d cut a rune: %q", limit, s.text)
		}
		kept := len(markerPattern.ReplaceAllString(s.text, ""))
		if int64(kept)+s.omitted != s.total {
			t.Fatalf("limit %d: %d kept and %d omitted are not %d", limit, kept, s.omitted, s.total)
		}
	}
}

func TestHeadTailBoundsWhatCleaningAdds(t *testing.T) {
	h := newHeadTail(1000)
	h.write(bytes.Repeat([]byte{0x1b}, 900))
	s := h.show(500, 500)
	if len(s.text) > 1100 || s.omitted == 0 {
		t.Fatalf("900 escapes became %d bytes of text, %d omitted", len(s.text), s.omitted)
	}
	if kept := strings.Count(s.text, `\x1b`); int64(kept)+s.omitted != 900 {
		t.Fatalf("%d shown and %d omitted are not 900", kept, s.omitted)
	}
}

func TestHeadTailCutsBetweenLines(t *testing.T) {
	var in bytes.Buffer
	for i := range 1000 {
		_, _ = fmt.Fprintf(&in, "line %d\r\n", i)
	}
	h := newHeadTail(200)
	h.write(in.Bytes())
	s := h.show(100, 100)
	front, back, ok := strings.Cut(s.text, "[…")
	_, back, _ = strings.Cut(back, "…]\n")
	if !ok || !strings.HasSuffix(front, "line 11\n") || !strings.HasPrefix(back, "line 991\nline 992\n") {
		t.Fatalf("%q … %q", front, back)
	}
	raw := len(front) + strings.Count(front, "\n") + len(back) + strings.Count(back, "\n")
	if int64(raw)+s.omitted != s.total {
		t.Fatalf("%d shown and %d omitted are not %d", raw, s.omitted, s.total)
	}
	long := newHeadTail(200)
	long.write(bytes.Repeat([]byte("x"), 70))
	long.write([]byte("\n" + strings.Repeat("z", 1000)))
	if s := long.show(100, 100); strings.Count(s.text, "z") != 29+100 {
		t.Fatalf("a long line is kept as far as it fits: %q", s.text)
	}
}

func TestShowIsRepeatable(t *testing.T) {
	h := newHeadTail(10)
	h.write([]byte("0123456789abcdef"))
	first := h.show(5, 5)
	if again := h.show(5, 5); again != first {
		t.Fatalf("%+v, then %+v", first, again)
	}
	h.write([]byte("ghij"))
	if got := h.show(0, 5).text; got != "[… 15 bytes omitted …]\nfghij" {
		t.Fatalf("got %q", got)
	}
}

func TestLogIsMadeOnlyWhenNeeded(t *testing.T) {
	for name, tc := range map[string]struct {
		size, limit int
		wantFile    bool
	}{
		"short":              {10, 100, false},
		"cut":                {200, 100, true},
		"long but not cut":   {spoolBytes + 1, spoolBytes * 4, true},
		"exactly the spool":  {spoolBytes, spoolBytes * 4, false},
		"one more than kept": {101, 100, true},
	} {
		t.Run(name, func(t *testing.T) {
			file := &fakeLog{}
			c := newCapture(tc.limit, logTo(file, 1<<30, 1<<30))
			in := bytes.Repeat([]byte("0123456789"), tc.size/10+1)[:tc.size]
			_, _ = c.writer(&c.out, nil).Write(in)
			c.close()
			o := c.view(tc.limit/2, tc.limit/2)
			if (o.log.name != "") != tc.wantFile {
				t.Fatalf("log %+v, want a file: %v", o.log, tc.wantFile)
			}
			if !tc.wantFile {
				return
			}
			if !bytes.Equal(file.bytes(), in) || o.log.bytes != int64(tc.size) || !file.closed || o.log.note != "" {
				t.Fatalf("log of %d bytes, state %+v, closed %v", len(file.bytes()), o.log, file.closed)
			}
		})
	}
}

func TestLogHoldsBothStreamsInOrder(t *testing.T) {
	file := &fakeLog{}
	c := newCapture(4, logTo(file, 1<<20, 1<<20))
	out, err := c.writer(&c.out, nil), c.writer(&c.err, nil)
	for i := range 5 {
		_, _ = fmt.Fprintf(out, "out%d\n", i)
		_, _ = fmt.Fprintf(err, "err%d\n", i)
	}
	c.view(2, 2)
	c.close()
	if got := string(file.bytes()); got != "out0\nerr0\nout1\nerr1\nout2\nerr2\nout3\nerr3\nout4\nerr4\n" {
		t.Fatalf("log is %q", got)
	}
}

func TestLogThatCannotBeKept(t *testing.T) {
	big := bytes.Repeat([]byte("x"), 1000)
	for name, tc := range map[string]struct {
		log  *outputLog
		want string
		kept int64
	}{
		"cannot be opened": {noLog(), "not kept: no log here", 0},
		"disk full":        {logTo(&fakeLog{fail: errors.New("no space left"), room: 300}, 1<<20, 1<<20), "first 300 bytes of output were kept: no space left", 300},
		"own bound":        {logTo(&fakeLog{}, 400, 1<<20), "first 400 bytes", 400},
		"bottle's bound":   {logTo(&fakeLog{}, 1<<20, 500), "first 500 bytes", 500},
		"bound used up":    {logTo(&fakeLog{}, 1<<20, 0), "first 0 bytes", 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCapture(100, tc.log)
			n, err := c.writer(&c.out, nil).Write(big)
			if n != len(big) || err != nil {
				t.Fatalf("a log must not disturb the command: %d, %v", n, err)
			}
			c.view(50, 50)
			_, _ = c.writer(&c.out, nil).Write(big)
			o := c.view(50, 50)
			if !strings.Contains(o.log.note, tc.want) || o.log.bytes != tc.kept {
				t.Fatalf("state %+v, want %q and %d bytes", o.log, tc.want, tc.kept)
			}
			if o.stdout.total != 2000 {
				t.Fatalf("total %d, want 2000", o.stdout.total)
			}
		})
	}
}

// TestBudgetIsShared says that commands of one bottle together keep no more
// than the bottle's bound, however they race.
func TestBudgetIsShared(t *testing.T) {
	left := &atomic.Int64{}
	left.Store(10_000)
	var total atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			l := &outputLog{limit: 5000, open: func() (logFile, error) { return logFile{name: "x", w: &fakeLog{}, budget: left}, nil }}
			l.spill()
			for range 100 {
				l.write(bytes.Repeat([]byte("y"), 70))
			}
			total.Add(l.written)
		})
	}
	all.Wait()
	if total.Load() != 10_000 || left.Load() != 0 {
		t.Fatalf("kept %d of 10000, %d left", total.Load(), left.Load())
	}
}

// discardLog counts and drops.
type discardLog struct{ n int64 }

func (d *discardLog) Write(p []byte) (int, error) { d.n += int64(len(p)); return len(p), nil }
func (d *discardLog) Close() error                { return nil }

func TestFloodStaysInBoundedMemory(t *testing.T) {
	const flood = 100 << 20
	sink := &discardLog{}
	c := newCapture(maxMaxOutput, logTo(sink, 64<<20, 512<<20))
	w := c.writer(&c.out, nil)
	chunk := bytes.Repeat([]byte("0123456789abcde\n"), 2048)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for written := 0; written < flood; written += len(chunk) {
		_, _ = w.Write(chunk)
	}
	runtime.ReadMemStats(&after)
	o := c.view(maxMaxOutput/2, maxMaxOutput/2)
	if o.stdout.total != flood || sink.n != 64<<20 || len(o.stdout.text) > maxMaxOutput+100 {
		t.Fatalf("total %d, logged %d, shown %d", o.stdout.total, sink.n, len(o.stdout.text))
	}
	if grown := int64(after.TotalAlloc - before.TotalAlloc); grown > 16<<20 {
		t.Fatalf("100 MiB of output allocated %d MiB", grown>>20)
	}
}

func FuzzHeadTail(f *testing.F) {
	f.Add([]byte("héllo\x1b[31m wörld\r\n"), 8, 3)
	f.Fuzz(func(t *testing.T, b []byte, limit, chunk int) {
		if len(b) > 1<<12 {
			t.Skip("long inputs find nothing new here")
		}
		limit = 2 + max(0, limit%100)
		chunk = 1 + max(0, chunk%50)
		h := newHeadTail(limit)
		for rest := b; len(rest) > 0; {
			n := min(chunk, len(rest))
			h.write(rest[:n])
			rest = rest[n:]
		}
		s := h.show(limit/2, limit-limit/2)
		if s.total != int64(len(b)) || s.omitted < 0 || s.omitted > s.total || !harmless(s.text) {
			t.Fatalf("%+v of %q", s, b)
		}
		if len(s.text) > limit+len("\n[… 18446744073709551615 bytes omitted …]\n") {
			t.Fatalf("%d bytes of text for a limit of %d", len(s.text), limit)
		}
		if s.omitted == 0 && s.text != clean(b) {
			t.Fatalf("nothing is omitted of %q, but it shows %q", b, s.text)
		}
	})
}
