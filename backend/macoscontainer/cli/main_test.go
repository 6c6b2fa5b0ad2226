package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// fakeEnv names the directory of a fake program's replies. Its prefix is one
// that the scrubbed environment lets through.
const fakeEnv = standInPrefix + "CLI_TEST"

// TestMain makes the test program act as the container program.
func TestMain(m *testing.M) {
	if dir := os.Getenv(fakeEnv); dir != "" {
		syscall.Exit(play(dir)) // os.Exit would print a word about coverage
	}
	os.Exit(m.Run())
}

// reply is what the fake program does when it is called.
type reply struct {
	Stdout, Stderr string
	Code           int
	Hang           bool // after it printed
	Flood          bool // on stdout, without end
	Cat            bool // copies stdin to stdout
	Environ        bool // prints the environment
	Linger         time.Duration
}

// play is the fake program: the n-th call gets the n-th reply, the last one
// stays.
func play(dir string) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "fake:", err)
		return 99
	}
	var replies []reply
	raw, err := os.ReadFile(filepath.Join(dir, "replies"))
	if err == nil {
		err = json.Unmarshal(raw, &replies)
	}
	if err != nil {
		return fail(err)
	}
	n, f, err := count(dir)
	if err != nil {
		return fail(err)
	}
	began := time.Now()
	code := replies[min(n, len(replies)-1)].act()
	_, _ = fmt.Fprintf(f, "%d %d", began.UnixNano(), time.Now().UnixNano())
	return code
}

// count gives a call its number and a file: also calls side by side count right.
func count(dir string) (n int, f *os.File, err error) {
	for ; ; n++ {
		f, err = os.OpenFile(filepath.Join(dir, fmt.Sprintf("call-%03d", n)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if !errors.Is(err, os.ErrExist) {
			return n, f, err
		}
	}
}

func (r reply) act() int {
	fmt.Print(r.Stdout)
	fmt.Fprint(os.Stderr, r.Stderr)
	if r.Cat {
		_, _ = io.Copy(os.Stdout, os.Stdin)
	}
	if r.Environ {
		fmt.Print(strings.Join(os.Environ(), "\n"))
	}
	for r.Flood {
		if _, err := fmt.Println(strings.Repeat("x", 8191)); err != nil {
			return 98
		}
	}
	if r.Hang {
		time.Sleep(time.Minute)
	}
	time.Sleep(r.Linger)
	return r.Code
}

// program is a fake program with its calls.
type program struct {
	*CLI
	dir string
	mu  sync.Mutex
	// argvs are those that ran, in order.
	argvs [][]string
}

// newProgram returns a CLI over a fake program. Deadlines are the real ones,
// since a machine under load starts a program slowly.
func newProgram(t *testing.T, replies ...reply) *program {
	t.Helper()
	raw, err := json.Marshal(replies)
	if err != nil {
		t.Fatal(err)
	}
	p := &program{dir: t.TempDir()}
	if err := os.WriteFile(filepath.Join(p.dir, "replies"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p.CLI = New(Config{
		Program: self,
		Environ: append(os.Environ(), fakeEnv+"="+p.dir),
		Record: func(argv []string) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.argvs = append(p.argvs, slices.Clone(argv))
		},
	})
	return p
}

// spans are the times of the calls.
func (p *program) spans(t *testing.T) (spans [][2]int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(p.dir, "call-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var s [2]int64
		if _, err := fmt.Sscan(string(raw), &s[0], &s[1]); err != nil {
			t.Fatalf("%s: %q: %v", f, raw, err)
		}
		spans = append(spans, s)
	}
	return spans
}

// wantKind fails unless err is an *Error of a kind.
func wantKind(t *testing.T, err error, kind Kind) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Kind != kind {
		t.Fatalf("error = %v (%T, kind %q), want kind %q", err, err, KindOf(err), kind)
	}
	return e
}

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
