package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// writerEnv makes this test binary a process that writes a ledger.
const writerEnv = "LEDGER_TEST_WRITER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerEnv); dir != "" {
		if err := writerProcess(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// process starts a process that writes n decisions.
func (s shelf) process(n int, pause time.Duration, segment int64) *exec.Cmd {
	s.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), writerEnv+"="+s.dir, "N="+strconv.Itoa(n), "PAUSE="+pause.String(), "SEGMENT="+strconv.FormatInt(segment, 10))
	cmd.Stderr = &bytes.Buffer{}
	check(s.t, cmd.Start())
	s.t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

func writerProcess(dir string) error {
	n, err := strconv.Atoi(os.Getenv("N"))
	if err != nil {
		return err
	}
	pause, err := time.ParseDuration(os.Getenv("PAUSE"))
	if err != nil {
		return err
	}
	o := Options{Bottle: "otter", LedgerPolicy: sidecars.LedgerPolicy{OnFull: os.Getenv("ON_FULL")}}
	if o.SegmentBytes, err = strconv.ParseInt(os.Getenv("SEGMENT"), 10, 64); err != nil {
		return err
	}
	for _, name := range Names() {
		f, err := os.OpenFile(dir+"/"+name, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		o.Files = append(o.Files, f)
	}
	l, err := New(o)
	if err != nil {
		return err
	}
	if err := l.Start(); err != nil {
		return err
	}
	if os.Getenv("FILE_LIMIT") != "" {
		return fillDisk(l, n)
	}
	for i := range n {
		l.Add(decision(i))
		time.Sleep(pause)
	}
	return l.Close()
}

// fillDisk writes to a disk that holds no more than the kernel lets this
// process write, until the ledger is not healthy.
func fillDisk(l *Ledger, n int) error {
	limit, err := strconv.ParseUint(os.Getenv("FILE_LIMIT"), 10, 64)
	if err != nil {
		return err
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: limit, Max: unix.RLIM_INFINITY & (1<<62 - 1)}); err != nil {
		return err
	}
	for i := range n {
		if !l.Healthy() {
			break
		}
		l.AddNow(decision(i))
	}
	if l.Healthy() {
		return errors.New("the ledger is healthy although its disk is full")
	}
	// Room is made: it goes on without a gap.
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 4 * limit, Max: unix.RLIM_INFINITY & (1<<62 - 1)}); err != nil {
		return err
	}
	for end := time.Now().Add(5 * time.Second); !l.Healthy(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return errors.New("the ledger stays as it is although there is room")
		}
	}
	return l.Close()
}

// The kernel refuses to let the file grow, in the middle of a line.
func TestKernelRefuses(t *testing.T) {
	s := newShelf(t)
	t.Setenv("FILE_LIMIT", "5000")
	w := s.process(100, 0, 1<<20)
	if err := w.Wait(); err != nil {
		t.Fatalf("%v: %s", err, w.Stderr)
	}
	r := s.good()
	if size := len(s.read(0)); size <= 4500 || size > 20000 || !r.Stopped {
		t.Errorf("%d bytes, %+v", size, r)
	}
	for i, e := range s.entries()[1:] {
		if e.Type == TypeDecision && e.Path != decision(i).Path {
			t.Fatalf("decision %d is %q: one is missing or twice", i, e.Path)
		}
	}
}

// A writer that is killed at any moment leaves a ledger that verifies, and the
// next one goes on with it.
func TestKilledWriter(t *testing.T) {
	s := newShelf(t)
	const rounds = 25
	var torn, last int64
	for range rounds {
		w := s.process(1<<30, 0, 1<<20)
		eventually(t, "it writes", func() bool { return s.reader().End() > last+100 })
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
		check(t, w.Process.Kill())
		_ = w.Wait()
		r := s.good()
		torn += min(r.Torn, 1)
		last = s.reader().End()
		if last > 2<<20 {
			break // before it is full
		}
	}
	s.wrote(s.options(), 1)
	if r := s.good(); !r.Stopped || r.Torn != 0 {
		t.Errorf("%+v", r)
	}
	t.Logf("%d of %d had half a line at their end", torn, rounds)
}
