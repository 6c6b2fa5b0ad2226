package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// shelf is a directory with a ledger.
type shelf struct {
	t   testing.TB
	dir string
}

func newShelf(t testing.TB) shelf { return shelf{t, t.TempDir()} }

func (s shelf) path(i int) string { return filepath.Join(s.dir, Names()[i]) }

// open opens the files as a backend does.
func (s shelf) open() []File {
	s.t.Helper()
	var out []File
	for i := range Segments {
		f, err := os.OpenFile(s.path(i), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
		check(s.t, err)
		s.t.Cleanup(func() { _ = f.Close() })
		out = append(out, f)
	}
	return out
}

func (s shelf) options() Options {
	return Options{Bottle: "otter", Policy: "sha256:0", Program: "v1", Files: s.open()}
}

func start(t testing.TB, o Options) *Ledger {
	t.Helper()
	l, err := New(o)
	check(t, err)
	check(t, l.Start())
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// wrote writes n decisions in one life of a writer.
func (s shelf) wrote(o Options, n int) {
	s.t.Helper()
	l := start(s.t, o)
	for i := range n {
		l.AddNow(decision(i)) // a batch of its own
	}
	check(s.t, l.Close())
}

func decision(i int) sidecars.Decision {
	d := sidecars.Decision{
		Time: time.Unix(1700000000, int64(i)).UTC(), Bottle: "otter", Service: sidecars.Egress, Verdict: sidecars.Allow,
		Method: "GET", Scheme: "https", Host: "api.example.com", Port: 443, Path: fmt.Sprintf("/v1/%d", i), Status: 200,
		BytesOut: int64(i), BytesIn: 2 * int64(i),
	}
	if i%3 == 2 {
		d.Verdict, d.Layer, d.Reason, d.Status = sidecars.Deny, "host", "host_not_allowed", 403
		d.BytesIn, d.BytesOut = 0, 0
	}
	return d
}

func (s shelf) reader() *Reader {
	s.t.Helper()
	var files []*os.File
	for i := range Segments {
		f, err := os.Open(s.path(i))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		check(s.t, err)
		s.t.Cleanup(func() { _ = f.Close() })
		files = append(files, f)
	}
	r, err := NewReader(files)
	check(s.t, err)
	return r
}

func (s shelf) verify() Report { s.t.Helper(); return Verify(s.reader(), nil) }

// good demands a ledger without a fault.
func (s shelf) good() Report {
	s.t.Helper()
	r := s.verify()
	if r.Problem != nil {
		s.t.Fatalf("%v", r.Problem)
	}
	return r
}

// entries reads all lines.
func (s shelf) entries() []Entry {
	s.t.Helper()
	var out []Entry
	r := s.reader()
	in, _ := r.From(0, r.End())
	_, err := Lines(in, func(line []byte) error {
		e, err := Decode(line)
		out = append(out, e)
		return err
	})
	check(s.t, err)
	return out
}

func (s shelf) read(i int) []byte {
	s.t.Helper()
	data, err := os.ReadFile(s.path(i))
	check(s.t, err)
	return data
}

func (s shelf) write(i int, data []byte) {
	s.t.Helper()
	check(s.t, os.WriteFile(s.path(i), data, 0o600))
}

// faulty is a file that can be made to fail.
type faulty struct {
	*os.File
	fail  atomic.Bool
	short atomic.Bool // write half of it before failing
	stuck atomic.Bool // cannot be cut either
	slow  atomic.Int64
	syncs atomic.Int64
	bad   atomic.Bool // syncing fails
}

var errNoSpace = errors.New("no space left on device")

func (f *faulty) Write(p []byte) (int, error) {
	time.Sleep(time.Duration(f.slow.Load()))
	if !f.fail.Load() {
		return f.File.Write(p)
	}
	if f.short.Load() {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, errNoSpace
	}
	return 0, errNoSpace
}

func (f *faulty) Truncate(size int64) error {
	if f.stuck.Load() {
		return errNoSpace
	}
	return f.File.Truncate(size)
}

func (f *faulty) Sync() error {
	f.syncs.Add(1)
	if f.bad.Load() {
		return errNoSpace
	}
	return f.File.Sync()
}

func (s shelf) faulty() (*faulty, Options) {
	s.t.Helper()
	o := s.options()
	f := &faulty{File: o.Files[0].(*os.File)}
	o.Files[0] = f
	return f, o
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}
