package ledger

import (
	"bytes"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

func TestVerifyGood(t *testing.T) {
	s := newShelf(t)
	s.wrote(s.options(), 10)
	s.wrote(s.options(), 3)
	r := s.good()
	if r.Bottle != "otter" || r.Entries != 17 || r.First != 0 || r.Last != 16 || r.Files != 1 || !r.Stopped || r.Torn != 0 || len(r.Head) != hashLen {
		t.Errorf("%+v", r)
	}
	want := Counts{}
	for _, n := range []int{10, 3} {
		for i := range n {
			d := decision(i)
			want.add(&d)
		}
	}
	if r.Counts != want || want.Denied != 4 || want.Allowed != 9 {
		t.Errorf("counts %+v, want %+v", r.Counts, want)
	}
}

// Every bit of a ledger counts, wherever it is.
func TestEveryBitCounts(t *testing.T) {
	s := newShelf(t)
	o := s.options()
	o.SegmentBytes = 1200
	s.wrote(o, 3)
	if r := s.good(); r.Files < 2 {
		t.Fatalf("%d files, want several", r.Files)
	}
	var copies []memory
	for i := range Segments {
		copies = append(copies, memory{s.path(i), s.read(i)})
	}
	verify := func() Report {
		r, err := NewReader(copies)
		check(t, err)
		return Verify(r, nil)
	}
	if p := verify().Problem; p != nil {
		t.Fatal(p)
	}
	flips := 0
	for i, whole := range copies {
		for at := range whole.data {
			for bit := range 8 {
				whole.data[at] ^= 1 << bit
				if flips++; verify().Problem == nil {
					t.Fatalf("bit %d of byte %d in %s can be flipped: %q", bit, at, Names()[i], around(whole.data, at))
				}
				whole.data[at] ^= 1 << bit
			}
		}
	}
	if p := verify().Problem; p != nil {
		t.Fatal(p)
	}
	t.Logf("%d flips were found", flips)
}

func around(b []byte, at int) []byte { return b[max(0, at-40):min(len(b), at+10)] }

// memory is a file in memory.
type memory struct {
	name string
	data []byte
}

func (m memory) Name() string { return m.name }

func (m memory) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(m.data).ReadAt(p, off)
}

func (m memory) Stat() (fs.FileInfo, error) {
	return fs.Stat(fstest.MapFS{"x": &fstest.MapFile{Data: m.data}}, "x")
}

func lines(data []byte) [][]byte { return slices.Collect(bytes.Lines(data)) }

func TestVerifyFindsLines(t *testing.T) {
	tests := []struct {
		name   string
		change func(l [][]byte) [][]byte
		line   int
		why    string
	}{
		{"dropped", func(l [][]byte) [][]byte { return slices.Delete(l, 4, 5) }, 5, "number"},
		{"first dropped", func(l [][]byte) [][]byte { return l[1:] }, 1, "does not begin"},
		{"swapped", func(l [][]byte) [][]byte { l[3], l[4] = l[4], l[3]; return l }, 4, "number"},
		{"twice", func(l [][]byte) [][]byte { return slices.Insert(l, 4, l[3]) }, 5, "number"},
		{"empty line", func(l [][]byte) [][]byte { return slices.Insert(l, 4, []byte("\n")) }, 5, "end as a line"},
		{"joined", func(l [][]byte) [][]byte { l[3] = l[3][:len(l[3])-1]; return l }, 4, "hash"},
		{"cut in the middle", func(l [][]byte) [][]byte { l[3] = append(l[3][:20], '\n'); return l }, 4, "end as a line"},
		{"unterminated and whole", func(l [][]byte) [][]byte {
			return append(l, []byte("{\"seq\":99,\"prev\":\""))
		}, 13, "does not end"},
		{"huge", func(l [][]byte) [][]byte {
			return append(l, append(bytes.Repeat([]byte("x"), MaxLine), '\n'))
		}, 13, "more than"},
		{"forged", func(l [][]byte) [][]byte {
			l[3] = rewrite(l[3], "/v1/2", "/v1/9")
			return l
		}, 5, "does not continue"},
		{"another's", func(l [][]byte) [][]byte {
			c := Chain{}
			for _, line := range l {
				if _, err := c.Feed(line); err != nil {
					panic(err)
				}
			}
			var out bytes.Buffer
			if err := c.extend(&out, event{Type: TypeNote, Bottle: "stoat"}); err != nil {
				panic(err)
			}
			return append(l, out.Bytes())
		}, 13, "another bottle"},
		{"wrong counts", func(l [][]byte) [][]byte {
			last := len(l) - 1
			l[last] = rewrite(l[last], `"denied":3`, `"denied":2`)
			return l
		}, 12, "counts"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newShelf(t)
			s.wrote(s.options(), 10)
			s.good()
			s.write(0, slices.Concat(tt.change(lines(s.read(0)))...))
			p := s.verify().Problem
			if p == nil || p.Line != tt.line || !strings.Contains(p.Why, tt.why) || p.File != s.path(0) {
				t.Errorf("problem %v, want line %d and %q", p, tt.line, tt.why)
			}
		})
	}
}

// rewrite changes a line and gives it a hash that fits.
func rewrite(line []byte, from, to string) []byte {
	body := strings.Replace(string(line[:len(line)-tailLen]), from, to, 1)
	if body == string(line[:len(line)-tailLen]) {
		panic("nothing to rewrite in " + string(line))
	}
	return []byte(body + hashMark + hashOf([]byte(body)) + lineEnd)
}

// A history that was written anew from its first line is right in itself: only
// what was seen of it elsewhere tells.
func TestAnchor(t *testing.T) {
	anchorOf := func(t *testing.T, s shelf) *Anchor {
		f := NewFollower(nil)
		check(t, f.Poll(s.reader(), func(*Entry) {}))
		a, ok := f.Anchor()
		if !ok {
			t.Fatal("nothing was followed")
		}
		return &a
	}
	tests := []struct {
		name   string
		change func(s shelf)
		why    string
	}{
		{"untouched", func(shelf) {}, ""},
		{"longer", func(s shelf) { s.wrote(s.options(), 5) }, ""},
		{"cut at the end", func(s shelf) {
			l := lines(s.read(0))
			s.write(0, slices.Concat(l[:len(l)-2]...))
		}, "cut off"},
		{"torn at the end", func(s shelf) { s.write(0, s.read(0)[:len(s.read(0))-5]) }, "cut off"},
		{"emptied", func(s shelf) { s.write(0, nil) }, "empty"},
		{"written anew", func(s shelf) {
			s.write(0, nil)
			s.wrote(s.options(), 20)
		}, "written anew"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newShelf(t)
			s.wrote(s.options(), 10)
			a := anchorOf(t, s)
			tt.change(s)
			if tt.why != "cut off" && tt.why != "empty" || tt.name == "cut at the end" {
				s.good() // the control: without the anchor nothing is seen
			}
			r := Verify(s.reader(), a)
			if tt.why == "" && (r.Problem != nil || !r.Anchored) || tt.why != "" && (r.Problem == nil || !strings.Contains(r.Problem.Why, tt.why)) {
				t.Errorf("problem %v (anchored %v), want %q", r.Problem, r.Anchored, tt.why)
			}
			err := NewFollower(a).Poll(s.reader(), func(*Entry) {})
			if (err != nil) != (tt.why != "") {
				t.Errorf("a follower that begins with the anchor says %v", err)
			}
		})
	}
}

func TestFollower(t *testing.T) {
	s := newShelf(t)
	o := s.options()
	o.SegmentBytes = 4 << 10
	l := start(t, o)
	f := NewFollower(nil)
	var seen []string
	for i := range 30 {
		l.AddNow(decision(i))
		check(t, f.Poll(s.reader(), func(e *Entry) {
			if e.Type == TypeDecision {
				seen = append(seen, e.Path)
			}
		}))
		if len(seen) != i+1 || seen[i] != decision(i).Path {
			t.Fatalf("after %d decisions %d were seen, the last %q", i+1, len(seen), seen[len(seen)-1])
		}
	}
	if r := s.good(); r.Files < 2 || f.Seen() != r.Entries || f.Counts() != r.Counts {
		t.Errorf("%d files, %d of %d lines", r.Files, f.Seen(), r.Entries)
	}
	live := 0 // the newest file is the last with content
	for i := range Segments {
		if len(s.read(i)) > 0 {
			live = i
		}
	}
	data := s.read(live)
	s.write(live, data[:len(data)-1])
	if err := f.Poll(s.reader(), func(*Entry) {}); err == nil {
		t.Error("that the ledger became shorter went unseen")
	}
	s.write(live, data)
	if err := f.Poll(s.reader(), func(*Entry) {}); err == nil {
		t.Error("the fault was forgotten")
	}
	if a, _ := f.Anchor(); a.Broken == "" || Verify(s.reader(), &a).Problem == nil {
		t.Errorf("what was put right since is not told of: %+v", a)
	}
}

func TestReaderFrom(t *testing.T) {
	s := newShelf(t)
	o := s.options()
	o.SegmentBytes = 2 << 10
	s.wrote(o, 15)
	r := s.reader()
	whole := slices.Concat(s.read(0), s.read(1), s.read(2), s.read(3))
	if r.End() != int64(len(whole)) || len(r.parts) < 3 {
		t.Fatalf("%d parts end at %d, want %d", len(r.parts), r.End(), len(whole))
	}
	for _, from := range []int64{0, 1, 500, 2048, r.End() - 1, r.End(), r.End() + 5} {
		for _, limit := range []int64{0, 1, 3000, 1 << 30} {
			in, start := r.From(from, limit)
			var got bytes.Buffer
			_, err := got.ReadFrom(in)
			check(t, err)
			cut := whole[min(from, r.End()):]
			if want := cut[:min(limit, int64(len(cut)))]; start != from || !bytes.Equal(got.Bytes(), want) {
				t.Errorf("from %d at most %d: %d bytes from %d, want %d", from, limit, got.Len(), start, len(want))
			}
		}
	}
}

func FuzzVerify(f *testing.F) {
	s := newShelf(f)
	s.wrote(s.options(), 3)
	f.Add(s.read(0))
	f.Add([]byte("{\"seq\":0,\"prev\":\""))
	f.Add([]byte{0, 0, 0})
	good := s.read(0)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := newShelf(t)
		s.write(0, data)
		r := s.verify()
		if r.Problem == nil && r.Entries > 0 && !bytes.HasPrefix(data, good[:1]) {
			t.Errorf("accepted %q", data)
		}
		if r.Torn > int64(len(data)) {
			t.Errorf("%d of %d bytes torn", r.Torn, len(data))
		}
		c := Chain{}
		for _, line := range lines(data) {
			if e, err := c.Feed(line); err == nil && e.Type == TypeDecision && e.Verdict != sidecars.Allow && e.Verdict != sidecars.Deny {
				t.Errorf("accepted %+v", e)
			}
		}
	})
}
