package tools

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
)

// echo is an interactive guest: it answers lines, ends with its input, and
// says which signals it got.
func echo(ctx context.Context, _ backend.Command, s backend.Streams) (provision.ExecResult, error) {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scan := bufio.NewScanner(s.Stdin); scan.Scan(); {
			lines <- scan.Text()
		}
	}()
	for {
		select {
		case line, more := <-lines:
			if !more {
				return provision.ExecResult{Status: backend.ExitStatus{Code: 7}}, nil
			}
			_, _ = fmt.Fprintln(s.Stdout, "got "+line)
		case n := <-s.Signals:
			_, _ = fmt.Fprintln(s.Stderr, "signal", n)
			if n == 15 {
				return provision.ExecResult{Status: backend.ExitStatus{Code: 143, Signal: 15}}, nil
			}
		case <-ctx.Done():
			return provision.ExecResult{}, ctx.Err()
		}
	}
}

// begin starts a job and returns its id.
func begin(t *testing.T, b *bench, args string) string {
	t.Helper()
	out := structured[execOutput](t, b.call("exec", args))
	if out.Job == nil || out.Job.ID == "" {
		t.Fatalf("no job in %+v", out)
	}
	return out.Job.ID
}

// ask acts on a job of bottle b.
func ask(t *testing.T, b *bench, job, more string) (execOutput, string) {
	t.Helper()
	r := b.call("exec", fmt.Sprintf(`{"id":"b","job":%q%s}`, job, more))
	return structured[execOutput](t, r), r.text
}

func TestJobLifeCycle(t *testing.T) {
	f := newFake("b")
	f.onExec = echo
	b := newBench(t, f)
	r := b.call("exec", `{"id":"b","command":["repl","-i"],"background":true,"keep_stdin":true,"stdin":"one\n"}`)
	out := structured[execOutput](t, r)
	if out.Job.State != jobRunning || !out.Job.StdinOpen || out.Job.Command != "repl -i" || out.ExitCode != nil {
		t.Fatalf("%+v", out.Job)
	}
	contains(t, r.text, "is running", out.Job.ID, "Next: exec")
	id := out.Job.ID

	ask(t, b, id, `,"action":"write","stdin":"two\n"`)
	out, _ = ask(t, b, id, `,"action":"signal","signal":"SIGHUP"`)
	if out.Stdout != "got one\ngot two\n" || out.Stderr != "signal 1\n" {
		t.Fatalf("stdout %q, stderr %q", out.Stdout, out.Stderr)
	}
	ask(t, b, id, `,"action":"write","stdin":"three\n","close_stdin":true`)
	out, text := ask(t, b, id, `,"action":"wait","wait_seconds":10`)
	if out.Job.State != jobExited || *out.ExitCode != 7 || out.Job.StdinOpen || out.Stdout != "got one\ngot two\ngot three\n" {
		t.Fatalf("%+v, job %+v", out, out.Job)
	}
	contains(t, text, "ended with exit code 7")

	again, _ := ask(t, b, id, `,"action":"poll"`)
	if *again.ExitCode != 7 || again.Stdout != out.Stdout || again.DurationMS != out.DurationMS {
		t.Fatalf("a second poll differs: %+v", again)
	}
	mustFail(t, b.call("exec", fmt.Sprintf(`{"id":"b","job":%q,"action":"write","stdin":"x"}`, id)), "closed")
}

func TestJobIsSignalled(t *testing.T) {
	f := newFake("b")
	f.onExec = echo
	b := newBench(t, f)
	id := begin(t, b, `{"id":"b","script":"server","background":true,"keep_stdin":true}`)
	out, text := ask(t, b, id, `,"action":"signal"`)
	if out.Job.State != jobExited || out.Signal != "SIGTERM" || *out.ExitCode != 143 {
		t.Fatalf("%+v, job %+v", out, out.Job)
	}
	contains(t, text, "ended by SIGTERM")
	if out, _ = ask(t, b, id, `,"action":"signal"`); out.Job.State != jobExited {
		t.Fatalf("a signal to an ended job: %+v", out.Job)
	}
}

func TestJobStdinIsEmptyUnlessKept(t *testing.T) {
	f := newFake("b")
	f.onExec = echo
	b := newBench(t, f)
	id := begin(t, b, `{"id":"b","command":["x"],"background":true,"stdin":"only\n"}`)
	out, _ := ask(t, b, id, `,"action":"wait"`)
	if out.Job.State != jobExited || out.Stdout != "got only\n" {
		t.Fatalf("%+v", out)
	}
	mustFail(t, b.call("exec", fmt.Sprintf(`{"id":"b","job":%q,"action":"write","stdin":"x"}`, id)), "keep_stdin")
}

func TestJobTail(t *testing.T) {
	f := newFake("b")
	f.onExec = exits(0, strings.Repeat("line\n", 2000)+"last line\n", "")
	b := newBench(t, f)
	id := begin(t, b, `{"id":"b","command":["x"],"background":true}`)
	ask(t, b, id, `,"action":"wait"`) // until it has said everything
	out, _ := ask(t, b, id, `,"tail_bytes":20`)
	if !strings.HasSuffix(out.Stdout, "\nline\nlast line\n") || len(out.Stdout) > 60 || !out.StdoutTruncated {
		t.Fatalf("tail %q", out.Stdout)
	}
	if got := readAll(t, b, out.OutputURI); len(got) != 10010 {
		t.Fatalf("log of %d bytes", len(got))
	}
}

func TestJobTimesOut(t *testing.T) {
	f := newFake("b")
	f.onExec = hangs("begun\n")
	b := newBench(t, f)
	id := begin(t, b, `{"id":"b","command":["x"],"background":true,"timeout_seconds":1}`)
	out, text := ask(t, b, id, `,"action":"wait","wait_seconds":10`)
	if out.Job.State != jobTimedOut || !out.TimedOut || out.Stdout != "begun\n" {
		t.Fatalf("%+v", out)
	}
	contains(t, text, "time was up")
}

func TestJobOutlivesItsCall(t *testing.T) {
	f := newFake("b")
	f.onExec = hangs("")
	b := newBench(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	r := b.callAs(ctx, "exec", Call{Arguments: json.RawMessage(`{"id":"b","command":["x"],"background":true}`), Principal: operator})
	cancel()
	id := structured[execOutput](t, r).Job.ID
	if out, _ := ask(t, b, id, ""); out.Job.State != jobRunning {
		t.Fatalf("%+v", out.Job)
	}
}

func TestJobThatFails(t *testing.T) {
	for name, tc := range map[string]struct {
		exec execFunc
		want string
	}{
		"engine": {func(context.Context, backend.Command, backend.Streams) (provision.ExecResult, error) {
			return provision.ExecResult{}, errors.New("the shim is gone")
		}, "the shim is gone"},
		"panic": {func(context.Context, backend.Command, backend.Streams) (provision.ExecResult, error) {
			panic("secret detail")
		}, "internal error"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake("b")
			f.onExec = tc.exec
			b := newBench(t, f)
			id := begin(t, b, `{"id":"b","command":["x"],"background":true}`)
			out, text := ask(t, b, id, `,"action":"wait"`)
			if out.Job.State != jobFailed || !strings.Contains(out.Job.Error, tc.want) || strings.Contains(text, "secret") {
				t.Fatalf("%+v: %s", out.Job, text)
			}
		})
	}
}

func TestWaitEndsWithItsCall(t *testing.T) {
	f := newFake("b")
	f.onExec = hangs("")
	b := newBench(t, f)
	id := begin(t, b, `{"id":"b","command":["x"],"background":true}`)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r := b.callAs(ctx, "exec", Call{Arguments: json.RawMessage(fmt.Sprintf(`{"id":"b","job":%q,"action":"wait"}`, id)), Principal: operator})
	mustFail(t, r, "deadline")
	started := time.Now()
	out, _ := ask(t, b, id, `,"action":"wait","wait_seconds":1`)
	if out.Job.State != jobRunning || time.Since(started) < time.Second {
		t.Fatalf("waited %s: %+v", time.Since(started), out.Job)
	}
}

func TestJobsAreBounded(t *testing.T) {
	const perBottle, all = 3, 4
	f := newFake("b", "c", "d")
	f.onExec = hangs("")
	b := newBench(t, f, Limits{JobsPerBottle: perBottle, Jobs: all})
	start := func(id string) result {
		return b.call("exec", fmt.Sprintf(`{"id":%q,"command":["x"],"background":true}`, id))
	}
	for range perBottle {
		begin(t, b, `{"id":"b","command":["x"],"background":true}`)
	}
	mustFail(t, start("b"), "bottle b has 3 background jobs running")
	begin(t, b, `{"id":"c","command":["x"],"background":true}`)
	mustFail(t, start("d"), "this server has 4 background jobs running")

	// Finished ones make room, oldest first.
	f.onExec = exits(0, "", "")
	b.call("cleanup", `{"ids":["b"]}`)
	f.add("b", operator)
	first := begin(t, b, `{"id":"b","command":["x"],"background":true}`)
	for range perBottle {
		begin(t, b, `{"id":"b","command":["x"],"background":true}`)
	}
	mustFail(t, b.call("exec", fmt.Sprintf(`{"id":"b","job":%q}`, first)), "names no job", "allowed: j")
}

// TestJobsOfBottles: callers in bottles leave room for the operator's side.
func TestJobsOfBottles(t *testing.T) {
	f := newFake("b")
	for i := range 4 {
		f.add(backend.ID(fmt.Sprint("child-", i)), provision.Principal{Kind: provision.Guest, Bottle: fmt.Sprint("p", i%2)})
	}
	f.onExec = hangs("")
	b := newBench(t, f, Limits{Jobs: 6})
	start := func(i int) result {
		return b.callAs(t.Context(), "exec", Call{
			Arguments: json.RawMessage(fmt.Sprintf(`{"id":"child-%d","command":["x"],"background":true}`, i)),
			Principal: provision.Principal{Kind: provision.Guest, Bottle: fmt.Sprint("p", i%2)}, Progress: func(Progress) {},
		})
	}
	for i := range 3 {
		structured[execOutput](t, start(i))
	}
	mustFail(t, start(3), "bottles that call have together 3 background jobs running")
	begin(t, b, `{"id":"b","command":["x"],"background":true}`)
}

func TestJobBelongsToItsBottle(t *testing.T) {
	f := newFake("b", "c")
	f.onExec = hangs("")
	b := newBench(t, f)
	id := begin(t, b, `{"id":"b","command":["x"],"background":true}`)
	mustFail(t, b.call("exec", fmt.Sprintf(`{"id":"c","job":%q}`, id)), "names no job of bottle c")

	stranger := provision.Principal{Kind: provision.Guest, Bottle: "z"}
	r := b.callAs(t.Context(), "exec", Call{Arguments: json.RawMessage(fmt.Sprintf(`{"id":"b","job":%q,"action":"signal"}`, id)), Principal: stranger})
	mustFail(t, r, "no such bottle")

	// The bottle is removed by another server and launched again.
	f.mu.Lock()
	delete(f.live, "b")
	f.mu.Unlock()
	f.add("b", operator)
	mustFail(t, b.call("exec", fmt.Sprintf(`{"id":"b","job":%q}`, id)), "names no job of bottle b")
}

func TestCleanupEndsJobs(t *testing.T) {
	f := newFake("b")
	ended := make(chan struct{})
	f.onExec = func(ctx context.Context, _ backend.Command, _ backend.Streams) (provision.ExecResult, error) {
		<-ctx.Done()
		close(ended)
		return provision.ExecResult{}, ctx.Err()
	}
	b := newBench(t, f)
	begin(t, b, `{"id":"b","command":["x"],"background":true}`)
	structured[cleanupOutput](t, b.call("cleanup", `{"ids":["b"]}`))
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Fatal("the job still runs")
	}
}

// TestCleanupByAStrangerEndsNoJob lets a caller clean up the id of a bottle that
// it may not see: provision says that there is none, and nothing may end.
func TestCleanupByAStrangerEndsNoJob(t *testing.T) {
	f := newFake("b")
	f.onExec = hangs("")
	f.cleanup = func(req provision.CleanupRequest) ([]provision.CleanupItem, error) {
		return []provision.CleanupItem{{ID: req.IDs[0], Action: "keep", Reason: "there is no such bottle", Done: true}}, nil
	}
	b := newBench(t, f)
	id := begin(t, b, `{"id":"b","command":["x"],"background":true}`)
	stranger := provision.Principal{Kind: provision.Guest, Bottle: "z"}
	b.callAs(t.Context(), "cleanup", Call{Arguments: json.RawMessage(`{"ids":["b"]}`), Principal: stranger})
	if out, _ := ask(t, b, id, ""); out.Job.State != jobRunning {
		t.Fatalf("%+v", out.Job)
	}
}

func TestCloseEndsJobs(t *testing.T) {
	f := newFake("b")
	dead := make(chan struct{})
	f.onExec = func(ctx context.Context, _ backend.Command, _ backend.Streams) (provision.ExecResult, error) {
		<-ctx.Done()
		time.Sleep(50 * time.Millisecond) // a kill takes a moment
		close(dead)
		return provision.ExecResult{}, ctx.Err()
	}
	b := newBench(t, f)
	begin(t, b, `{"id":"b","command":["x"],"background":true}`)
	if err := b.close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-dead:
	default:
		t.Fatal("Close did not wait for the command's end")
	}
	mustFail(t, b.call("exec", `{"id":"b","command":["x"],"background":true}`), "the server stopped")
}

func TestListShowsJobs(t *testing.T) {
	f := newFake("b")
	f.onExec = hangs("")
	b := newBench(t, f)
	id := begin(t, b, `{"id":"b","command":["sleep","\u001b[31m9"],"background":true}`)
	r := b.call("list", `{}`)
	out := structured[listOutput](t, r)
	if jobs := out.Bottles[0].Jobs; len(jobs) != 1 || jobs[0].ID != id || jobs[0].Command != `sleep \x1b[31m9` || jobs[0].State != jobRunning {
		t.Fatalf("%+v", jobs)
	}
	contains(t, r.text, "1 job running")
}

func TestStdinQueue(t *testing.T) {
	t.Run("refuses what does not fit", func(t *testing.T) {
		q := newStdinQueue("", true)
		if err := q.push(strings.Repeat("x", maxStdin), false); err != nil {
			t.Fatal(err)
		}
		if err := q.push("y", false); err == nil || !strings.Contains(err.Error(), "not read 1048576 bytes") {
			t.Fatalf("got %v", err)
		}
		_, _ = io.ReadFull(q, make([]byte, 10))
		if err := q.push("0123456789", true); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(q)
		if err != nil || !bytes.HasSuffix(rest, []byte("x0123456789")) || len(rest) != maxStdin {
			t.Fatalf("%d bytes, %v", len(rest), err)
		}
	})
	t.Run("end releases a reader", func(t *testing.T) {
		q := newStdinQueue("", true)
		done := make(chan error)
		go func() {
			_, err := q.Read(make([]byte, 1))
			done <- err
		}()
		q.end()
		if err := <-done; !errors.Is(err, io.EOF) {
			t.Fatalf("got %v", err)
		}
		if err := q.push("x", false); !errors.Is(err, errStdinClosed) {
			t.Fatalf("got %v", err)
		}
	})
}
