package command

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func failure(t *testing.T, err error) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %T (%v), want *Error", err, err)
	}
	return e
}

func TestRunSucceeds(t *testing.T) {
	dir := t.TempDir()
	spec := self(t, "out:hello", "err:note", "dir", "stdin-kind")
	spec.Dir = dir
	res, err := Run(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := filepath.EvalSymlinks(dir)
	if got := string(res.Stdout); got != "hello"+want+"Dc---------" {
		t.Errorf("stdout = %q: want hello, %s and a character device as stdin", got, want)
	}
	if string(res.Stderr) != "note" || res.Code != 0 || res.Signal != 0 || res.Held || res.Elapsed <= 0 {
		t.Errorf("result = %+v", res)
	}
}

func TestRunFails(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(data, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		steps  []string
		change func(*Spec)
		code   int
		signal syscall.Signal
		is     error
		check  func(*Error) bool
		text   string
	}{
		{name: "status", steps: []string{"err:first\nlast word\n", "exit:3"}, code: 3, text: "failed with status 3: last word"},
		{name: "status 64", steps: []string{"exit:64"}, code: 64, text: "failed with status 64"},
		{name: "signal", steps: []string{"kill-self"}, code: -1, signal: syscall.SIGKILL, text: "was ended by signal 9 (killed)"},
		{
			name: "timeout", steps: []string{"hang"}, change: func(s *Spec) { s.Timeout = 100 * time.Millisecond },
			code: -1, signal: syscall.SIGTERM, is: context.DeadlineExceeded,
			check: func(e *Error) bool { return e.TimedOut }, text: "took too long",
		},
		{
			name: "endless output", steps: []string{"flood"}, code: -1, signal: syscall.SIGTERM, is: ErrOverflow,
			check: func(e *Error) bool { return e.Overflow && !e.TimedOut }, text: "it prints without end",
		},
		{
			name: "endless chatter", steps: []string{"flood:err"}, code: -1, signal: syscall.SIGTERM, is: ErrOverflow,
			check: func(e *Error) bool { return e.Overflow }, text: "it prints without end",
		},
		{
			name: "one byte too many", steps: []string{"out:12345"}, change: func(s *Spec) { s.MaxStdout = 4 },
			is: ErrOverflow, check: func(e *Error) bool { return e.Overflow }, code: anyCode, text: "it prints without end",
		},
		{
			name: "missing program", change: func(s *Spec) { s.Name = "no-such-program-of-ours" }, code: -1,
			is: os.ErrNotExist, check: func(e *Error) bool { return e.Missing }, text: "there is no such program",
		},
		{
			name: "missing path", change: func(s *Spec) { s.Name = "/nowhere/program" }, code: -1,
			is: os.ErrNotExist, check: func(e *Error) bool { return e.Missing }, text: "there is no such program",
		},
		{
			name: "not executable", change: func(s *Spec) { s.Name = data }, code: -1,
			is: os.ErrPermission, check: func(e *Error) bool { return !e.Missing }, text: "not an executable file",
		},
		{
			name: "missing directory", change: func(s *Spec) { s.Dir = "/nowhere" }, code: -1,
			is: os.ErrNotExist, check: func(e *Error) bool { return !e.Missing }, text: "/nowhere",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec := self(t, tt.steps...)
			if tt.change != nil {
				tt.change(&spec)
			}
			res, err := Run(t.Context(), spec)
			e := failure(t, err)
			if tt.code != anyCode && (e.Code != tt.code || e.Signal != tt.signal || res.Code != e.Code || res.Signal != e.Signal) {
				t.Errorf("code %d signal %v (result %d %v), want %d %v", e.Code, e.Signal, res.Code, res.Signal, tt.code, tt.signal)
			}
			if tt.is != nil && !errors.Is(err, tt.is) || tt.is == nil && e.Err != nil {
				t.Errorf("cause = %v, want %v", e.Err, tt.is)
			}
			if tt.check != nil && !tt.check(e) {
				t.Errorf("flags of %+v", e)
			}
			if !strings.Contains(e.Error(), tt.text) {
				t.Errorf("message %q lacks %q", e, tt.text)
			}
		})
	}
}

// anyCode is for a race between a program's end and ours.
const anyCode = -99

func TestRunIsCancelled(t *testing.T) {
	why := errors.New("the client went away")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(100*time.Millisecond, func() { cancel(why) })
	began := time.Now()
	_, err := Run(ctx, self(t, "hang"))
	e := failure(t, err)
	if !errors.Is(err, context.Canceled) || !errors.Is(err, why) || e.TimedOut {
		t.Errorf("error = %v, want context.Canceled and its cause", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	t.Run("before the start", func(t *testing.T) {
		if _, err := Run(ctx, self(t, "out:x")); !errors.Is(err, context.Canceled) {
			t.Errorf("error = %v", err)
		}
	})
}

// untilItSpeaks runs a program and cancels it when it has printed a line.
func untilItSpeaks(t *testing.T, spec Spec) (Result, []byte, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out bytes.Buffer
	spec.Stdout = writerFunc(func(p []byte) (int, error) {
		if bytes.Contains(p, []byte("\n")) {
			cancel()
		}
		return out.Write(p)
	})
	res, err := Run(ctx, spec)
	return res, out.Bytes(), err
}

func TestSIGTERMThenSIGKILL(t *testing.T) {
	spec := self(t, "ignore-term", "out:ready\n", "hang")
	spec.Grace = 100 * time.Millisecond
	res, _, err := untilItSpeaks(t, spec)
	if e := failure(t, err); !errors.Is(e, context.Canceled) || res.Signal != syscall.SIGKILL || e.Signal != syscall.SIGKILL {
		t.Errorf("result %+v, error %+v", res, e)
	}
}

// alive reports whether a process is there and no zombie.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || !bytes.Contains(stat, []byte(") Z "))
}

func grandchildOf(t *testing.T, stdout []byte) int {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(string(stdout)))
	if err != nil {
		t.Fatalf("no grandchild: %q", stdout)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	return pid
}

func TestGrandchildHoldsThePipe(t *testing.T) {
	for _, step := range []string{"grandchild", "grandchild:away"} {
		t.Run(step, func(t *testing.T) {
			spec := self(t, step)
			spec.WaitDelay = 200 * time.Millisecond
			began := time.Now()
			res, err := Run(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			pid := grandchildOf(t, res.Stdout)
			if took := time.Since(began); !res.Held || took > 5*time.Second {
				t.Errorf("held %v after %v", res.Held, took)
			}
			if !alive(pid) {
				t.Error("the grandchild of a program that ended well was killed")
			}
		})
	}
	t.Run("dies with the program that is killed", func(t *testing.T) {
		spec := self(t, "grandchild", "hang")
		spec.Grace = 100 * time.Millisecond
		_, out, err := untilItSpeaks(t, spec)
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		pid := grandchildOf(t, out)
		for began := time.Now(); alive(pid); time.Sleep(10 * time.Millisecond) {
			if time.Since(began) > 5*time.Second {
				t.Fatal("the grandchild lives on")
			}
		}
	})
}

func TestStreams(t *testing.T) {
	t.Run("large input comes back whole", func(t *testing.T) {
		want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		var out bytes.Buffer
		spec := self(t, "cat")
		spec.Stdin, spec.Stdout = bytes.NewReader(want), &out
		res, err := Run(t.Context(), spec)
		if err != nil || !bytes.Equal(out.Bytes(), want) || len(res.Stdout) != 0 {
			t.Errorf("error %v, %d of %d bytes", err, out.Len(), len(want))
		}
	})
	t.Run("input that never ends delays nothing", func(t *testing.T) {
		r, w := io.Pipe()
		defer w.Close()
		spec := self(t, "out:x")
		spec.Stdin = r
		began := time.Now()
		if _, err := Run(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("took %v", took)
		}
	})
	t.Run("input that fails is an error", func(t *testing.T) {
		spec := self(t, "cat")
		spec.Stdin = io.MultiReader(strings.NewReader("some"), brokenReader{})
		if _, err := Run(t.Context(), spec); !errors.Is(err, errBroken) {
			t.Errorf("error = %v", err)
		}
	})
	t.Run("input that nobody reads is no error", func(t *testing.T) {
		spec := self(t, "out:x")
		spec.Stdin = bytes.NewReader(make([]byte, 1<<20))
		if _, err := Run(t.Context(), spec); err != nil {
			t.Error(err)
		}
	})
	t.Run("a file is handed over", func(t *testing.T) {
		f, err := os.Create(filepath.Join(t.TempDir(), "out"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		spec := self(t, "out:text")
		spec.Stdout = f
		if _, err := Run(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(f.Name()); string(got) != "text" {
			t.Errorf("file holds %q", got)
		}
	})
}

var errBroken = errors.New("broken")

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errBroken }

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestWriters(t *testing.T) {
	t.Run("one that fails ends the program", func(t *testing.T) {
		spec := self(t, "flood")
		spec.Stdout = brokenWriter{}
		if _, err := Run(t.Context(), spec); !errors.Is(err, errBroken) {
			t.Errorf("error = %v", err)
		}
	})
	t.Run("one that blocks ends with the wait", func(t *testing.T) {
		r, w := io.Pipe()
		defer r.Close()
		spec := self(t, "out:lost")
		spec.Stdout, spec.WaitDelay = w, 100*time.Millisecond
		began := time.Now()
		_, err := Run(t.Context(), spec)
		if !errors.Is(err, errWriter) || time.Since(began) > 10*time.Second {
			t.Errorf("error = %v after %v", err, time.Since(began))
		}
	})
	t.Run("one that blocks does not outlast a cancel", func(t *testing.T) {
		r, w := io.Pipe()
		defer r.Close()
		spec := self(t, "flood")
		spec.Stdout, spec.Timeout = w, 300*time.Millisecond
		began := time.Now()
		_, err := Run(t.Context(), spec)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 10*time.Second {
			t.Errorf("error = %v after %v", err, time.Since(began))
		}
	})
}

func TestSignalsArePassedOn(t *testing.T) {
	signals := make(chan os.Signal, 1)
	spec := self(t, "usr1")
	spec.Signals = signals
	var out bytes.Buffer
	spec.Stdout = writerFunc(func(p []byte) (int, error) {
		if bytes.Contains(p, []byte("ready")) {
			signals <- syscall.SIGUSR1
		}
		return out.Write(p)
	})
	if _, err := Run(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if out.String() != "ready\ngot it" {
		t.Errorf("output = %q", out.String())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestEnvironmentIsExactlyWhatIsGiven(t *testing.T) {
	t.Setenv("BOTTLE_TEST_SECRET", "s3cret")
	spec := self(t, "env")
	spec.Env = append(spec.Env, "A=1")
	res, err := Run(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Split(string(res.Stdout), "\n"); !slices.Equal(got, []string{childEnv, "A=1"}) {
		t.Errorf("environment = %q", got)
	}
	t.Run("nil is empty", func(t *testing.T) {
		spec := Spec{Name: "env", Timeout: 10 * time.Second}
		if res, err := Run(t.Context(), spec); err != nil || len(res.Stdout) != 0 {
			t.Errorf("environment = %q, error %v", res.Stdout, err)
		}
	})
}
