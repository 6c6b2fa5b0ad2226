package ledger

import (
	"bytes"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

func TestClean(t *testing.T) {
	tests := map[string]string{
		"/plain/path":            "/plain/path",
		"":                       "",
		"a\x1b[31mred\r\n":       "a?[31mred??",
		"bidi \u202e end":        "bidi ? end",
		"bad \xff byte":          "bad ? byte",
		strings.Repeat("a", 512): strings.Repeat("a", 512),
		strings.Repeat("a", 513): strings.Repeat("a", 509) + "...",
		strings.Repeat("é", 300): strings.Repeat("?", 255) + "...",
	}
	for in, want := range tests {
		if got := Clean(in); got != want || len(got) > maxText {
			t.Errorf("Clean(%.20q…) = %q, want %q", in, got, want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	var out bytes.Buffer
	for want, o := range map[string]Options{
		"no bottle's": {Out: &out},
		"neither":     {Bottle: "b"},
		"shrug":       {Bottle: "b", Out: &out, LedgerPolicy: sidecars.LedgerPolicy{OnFull: "shrug"}},
		"hourly":      {Bottle: "b", Out: &out, LedgerPolicy: sidecars.LedgerPolicy{Sync: "hourly"}},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want one with %q", err, want)
		}
	}
}

// A line per decision, in order, sanitised, all of them at the end.
func TestWritesAll(t *testing.T) {
	s := newShelf(t)
	l := start(t, s.options())
	const n = 3*queueLength + 5
	for i := range n {
		l.Add(sidecars.Decision{Verdict: sidecars.Allow, Host: "a.test", Path: "/\n{}<&>", Port: i + 1})
	}
	check(t, l.Close())
	l.Add(sidecars.Decision{}) // after the end: neither a line nor a panic
	s.good()
	var ports []int
	var kinds []Type
	for _, e := range s.entries() {
		if e.Type == TypeDecision {
			ports = append(ports, e.Port)
			if e.Path != "/?{}<&>" || e.Bottle != "otter" {
				t.Fatalf("entry %+v", e)
			}
		} else if len(kinds) == 0 || kinds[len(kinds)-1] != e.Type {
			kinds = append(kinds, e.Type)
		}
	}
	if len(ports) != n || !slices.IsSorted(ports) {
		t.Errorf("%d decisions, sorted %v", len(ports), slices.IsSorted(ports))
	}
	if want := []Type{TypeGenesis, TypeCheckpoint, TypeStop}; !slices.Equal(kinds, want) {
		t.Errorf("other lines %q, want %q", kinds, want)
	}
	if err := l.Start(); err == nil {
		t.Error("a ledger that was closed starts again")
	}
}

func TestStream(t *testing.T) {
	var out bytes.Buffer
	l := start(t, Options{Bottle: "otter", Out: &out})
	l.AddNow(decision(0))
	check(t, l.Close())
	c := Chain{}
	for _, line := range lines(out.Bytes()) {
		if _, err := c.Feed(line); err != nil {
			t.Fatal(err)
		}
	}
	if c.Next != 3 || c.Last != TypeStop {
		t.Errorf("%+v", c)
	}
}

// What a killed writer leaves is cut off, and said; what somebody put there is
// not.
func TestTornTail(t *testing.T) {
	whole := newShelf(t)
	whole.wrote(whole.options(), 6)
	data := whole.read(0)
	cut := lines(data)
	kept := slices.Concat(cut[:5]...)
	for n := 1; n < len(cut[5]); n++ {
		s := newShelf(t)
		s.write(0, slices.Concat(kept, cut[5][:n]))
		if r := s.good(); r.Torn != int64(n) || r.Entries != 5 {
			t.Fatalf("%d bytes of a line: %+v", n, r)
		}
		if n%50 != 1 {
			continue
		}
		s.wrote(s.options(), 2)
		r := s.good()
		all := s.entries()
		if r.Torn != 0 || r.Entries != 5+1+1+2+1 || all[5].Type != TypeNote || !strings.Contains(all[5].Message, "removed") || all[6].Type != TypeStart {
			t.Fatalf("after the repair: %+v, %+v", r, all[5])
		}
	}
	for name, tail := range map[string]string{
		"foreign":          "{\"seq\":99",
		"text":             "hello",
		"zeros then text":  "\x00\x00x",
		"whole but one":    strings.TrimSuffix(string(cut[5]), "\n") + "x",
		"whole, no end":    strings.TrimSuffix(string(cut[5]), "\n") + "\x0b",
		"another's prefix": string(cut[4][:40]),
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t)
			s.write(0, append(slices.Clone(kept), tail...))
			if s.verify().Problem == nil {
				t.Error("taken for a torn line")
			}
			l, err := New(s.options())
			check(t, err)
			if err := l.Start(); err == nil || !strings.Contains(err.Error(), "ledger verify") {
				t.Errorf("start: %v", err)
			}
			if got := s.read(0); string(got) != string(kept)+tail {
				t.Error("the evidence was removed")
			}
		})
	}
	t.Run("zeros", func(t *testing.T) {
		s := newShelf(t)
		s.write(0, append(slices.Clone(kept), make([]byte, 100)...))
		s.wrote(s.options(), 1)
		s.good()
	})
	t.Run("damaged before", func(t *testing.T) {
		s := newShelf(t)
		s.write(0, bytes.Replace(data, []byte("/v1/1"), []byte("/v1/7"), 1))
		l, err := New(s.options())
		check(t, err)
		if err := l.Start(); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("start: %v", err)
		}
	})
}

// One daemon replaces another while both have something to record.
func TestTwoWriters(t *testing.T) {
	s := newShelf(t)
	var writers []*exec.Cmd
	for range 3 {
		writers = append(writers, s.process(200, time.Millisecond/4, 100<<10))
	}
	for _, w := range writers {
		if err := w.Wait(); err != nil {
			t.Fatalf("%v: %s", err, w.Stderr)
		}
	}
	r := s.good()
	starts := 0
	for _, e := range s.entries() {
		if e.Type == TypeStart || e.Type == TypeGenesis {
			starts++
		}
	}
	if n := r.Counts.Allowed + r.Counts.Denied; n != 3*200 || r.Files < 2 || starts != 3 {
		t.Errorf("%d decisions of %d processes in %d files", n, starts, r.Files)
	}
}

func TestRotation(t *testing.T) {
	for _, policy := range []string{sidecars.OnFullRefuse, sidecars.OnFullContinue} {
		t.Run(policy, func(t *testing.T) {
			s := newShelf(t)
			o := s.options()
			o.SegmentBytes, o.OnFull = 4<<10, policy
			l := start(t, o)
			written := 0
			for ; written < 200 && l.Healthy(); written++ {
				l.AddNow(decision(written))
			}
			healthy := l.Healthy()
			_ = l.Close()
			r := s.good()
			for i := range Segments {
				if n := len(s.read(i)); n > 5<<10 {
					t.Errorf("%s has %d bytes", Names()[i], n)
				}
			}
			if policy == sidecars.OnFullContinue {
				if !healthy || written != 200 || r.Missed == 0 || r.Counts.Allowed+r.Counts.Denied != 200 {
					t.Errorf("healthy %v after %d: %+v", healthy, written, r)
				}
				return
			}
			all := s.entries()
			full := slices.IndexFunc(all, func(e Entry) bool { return strings.Contains(e.Message, "ledger is full") })
			if healthy || written < 20 || r.Missed != 0 || r.First != 0 || full < 0 {
				t.Errorf("healthy %v after %d: %+v", healthy, written, r)
			}
			// Another process finds it as full.
			o.Files = s.open()
			again := start(t, o)
			again.AddNow(decision(0))
			if again.Healthy() {
				t.Error("a ledger that was full takes more")
			}
		})
	}
}

// A writer that dies between two files, or while it begins one, leaves a
// ledger that goes on.
func TestRotationCutShort(t *testing.T) {
	for _, tail := range []string{"", "{\"seq\":", "x"} {
		s := newShelf(t)
		o := s.options()
		o.SegmentBytes = 2 << 10
		s.wrote(o, 8)
		s.write(1, []byte(tail))
		s.write(2, nil)
		s.write(3, nil)
		r := s.verify()
		if (r.Problem == nil) != (tail != "x") || r.Problem == nil && r.Torn != int64(len(tail)) {
			t.Errorf("with %q: %+v", tail, r)
		}
		if tail == "x" {
			continue
		}
		o.Files = s.open()
		s.wrote(o, 2)
		s.good()
	}
}

func TestFilesMissing(t *testing.T) {
	for name, gone := range map[string]int{"first": 0, "middle": 1} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t)
			o := s.options()
			o.SegmentBytes = 2 << 10
			s.wrote(o, 12)
			if s.good().Files < 3 {
				t.Fatal("not enough files")
			}
			s.write(gone, nil)
			if gone == 0 {
				s.write(3, nil)
			}
			if p := s.verify().Problem; p == nil {
				t.Error("the missing file is not missed")
			}
		})
	}
}

func TestSync(t *testing.T) {
	for mode, wantSoon := range map[string]bool{sidecars.SyncAlways: true, sidecars.SyncBatch: false, sidecars.SyncNever: false} {
		t.Run(mode, func(t *testing.T) {
			s := newShelf(t)
			f, o := s.faulty()
			o.Sync = mode
			l := start(t, o)
			l.AddNow(decision(0))
			before := f.syncs.Load()
			if before > 0 != wantSoon {
				t.Errorf("%d syncs before the line was told of", before)
			}
			if mode == sidecars.SyncNever {
				check(t, l.Close())
				if n := f.syncs.Load(); n != 0 {
					t.Errorf("%d syncs", n)
				}
				return
			}
			// A refusal has it soon, and another line within its time.
			begin := time.Now()
			l.AddNow(decision(2))
			eventually(t, "synced", func() bool { return f.syncs.Load() > before })
			if took := time.Since(begin); took > syncEvery/2 {
				t.Errorf("a refusal was in memory only for %s", took)
			}
			l.AddNow(decision(0))
			f.bad.Store(true)
			l.AddNow(decision(2))
			eventually(t, "that syncing fails is noticed", func() bool { return !l.Healthy() })
			f.bad.Store(false)
			l.AddNow(decision(2))
			eventually(t, "healthy again", l.Healthy)
		})
	}
}

func TestOngoing(t *testing.T) {
	s := newShelf(t)
	l := start(t, s.options())
	d := decision(0)
	d.Exchange = "x-1"
	l.BeginNow(d)
	all := s.entries()
	if last := all[len(all)-1]; last.Type != TypeBegin || last.Exchange != "x-1" || last.Path != d.Path {
		t.Errorf("begin: %+v", last)
	}
	l.Begin(d)
	l.Progress(d)
	l.AddNow(d)
	check(t, l.Close())
	if r := s.good(); r.Counts.Allowed != 1 {
		t.Errorf("counts %+v: only the end counts", r.Counts)
	}
}

func TestShortened(t *testing.T) {
	s := newShelf(t)
	l := start(t, s.options())
	l.AddNow(decision(0))
	s.write(0, s.read(0)[:10])
	l.AddNow(decision(1))
	if l.Healthy() {
		t.Error("a ledger that somebody shortened is written on")
	}
	if err := l.Close(); err == nil || errors.Is(err, ErrFull) {
		t.Errorf("close: %v", err)
	}
}

// What one decision costs the request it is about: bursts that the queue
// holds, with time for the writer between them.
func BenchmarkAdd(b *testing.B) {
	s := newShelf(b)
	o := s.options()
	o.OnFull = sidecars.OnFullContinue
	l := start(b, o)
	d := decision(0)
	var adding time.Duration
	const burst = queueLength / 2
	for b.Loop() {
		begin := time.Now()
		for range burst {
			l.Add(d)
		}
		adding += time.Since(begin)
		l.AddNow(d)
	}
	b.ReportMetric(float64(adding.Nanoseconds())/float64(b.N*burst), "ns/add")
}

// What the writer takes for a line, which bounds the requests of a second.
func BenchmarkWrite(b *testing.B) {
	s := newShelf(b)
	o := s.options()
	o.OnFull = sidecars.OnFullContinue
	l, err := New(o)
	check(b, err)
	batch := slices.Repeat([]item{{d: decision(0)}}, 32)
	b.ReportAllocs()
	for b.Loop() {
		check(b, l.w.write(batch))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch)), "ns/line")
}

func BenchmarkVerify(b *testing.B) {
	s := newShelf(b)
	s.wrote(s.options(), 5000)
	r := s.reader()
	b.SetBytes(r.End())
	for b.Loop() {
		if rep := Verify(r, nil); rep.Problem != nil {
			b.Fatal(rep.Problem)
		}
	}
}
