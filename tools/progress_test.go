package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
)

// recorder keeps what a caller is told and holds it to the protocol: numbers
// grow with every message.
type recorder struct {
	t    *testing.T
	mu   sync.Mutex
	got  []Progress
	at   []time.Time
	over bool
}

func (r *recorder) report(p Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		r.t.Errorf("progress after the result: %+v", p)
	}
	if n := len(r.got); n > 0 && p.Current <= r.got[n-1].Current {
		r.t.Errorf("progress does not grow: %+v after %+v", p, r.got[n-1])
	}
	if !harmless(p.Message) {
		r.t.Errorf("message is not clean: %q", p.Message)
	}
	r.got = append(r.got, p)
	r.at = append(r.at, time.Now())
}

func (r *recorder) end() []Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	return r.got
}

func (r *recorder) messages() string {
	var all []string
	for _, p := range r.end() {
		all = append(all, p.Message)
	}
	return strings.Join(all, "\n")
}

func (b *bench) callWithProgress(tool, args string) (result, *recorder) {
	b.t.Helper()
	rec := &recorder{t: b.t}
	r := b.callAs(b.t.Context(), tool, Call{Arguments: json.RawMessage(args), Principal: operator, Progress: rec.report, WantsProgress: true})
	rec.end()
	return r, rec
}

func TestLaunchReportsSteps(t *testing.T) {
	_, rec := newBench(t, newFake()).callWithProgress("launch", `{}`)
	got := rec.end()
	if len(got) != 4 || got[0].Message != "reserve" || got[0].Current != 0.5 || got[3].Current != 2 || got[3].Total != 2 {
		t.Fatalf("%+v", got)
	}
	contains(t, got[3].Message, "start-sidecar done in 1ms")
}

func TestExecStreamsOutput(t *testing.T) {
	f := newFake("b")
	f.onExec = func(_ context.Context, _ backend.Command, s backend.Streams) (provision.ExecResult, error) {
		_, _ = io.WriteString(s.Stdout, "first\nsec")
		time.Sleep(3 * linePeriod)
		_, _ = io.WriteString(s.Stdout, "ond\n\x1b[31mthird")
		return provision.ExecResult{}, nil
	}
	_, rec := newBench(t, f).callWithProgress("exec", `{"id":"b","command":["x"]}`)
	if got := rec.messages(); got != "first\nsecond\n\\x1b[31mthird" {
		t.Fatalf("got %q", got)
	}
}

func TestExecProgressIsRateLimited(t *testing.T) {
	f := newFake("b")
	f.onExec = func(_ context.Context, _ backend.Command, s backend.Streams) (provision.ExecResult, error) {
		for end := time.Now().Add(time.Second); time.Now().Before(end); {
			_, _ = io.WriteString(s.Stdout, strings.Repeat("flood\n", 100))
		}
		return provision.ExecResult{}, nil
	}
	_, rec := newBench(t, f).callWithProgress("exec", `{"id":"b","command":["x"]}`)
	got := rec.end()
	if len(got) < 3 || len(got) > 13 {
		t.Fatalf("%d messages in a second", len(got))
	}
	for _, p := range got {
		if len(p.Message) > lineBytes+100 {
			t.Fatalf("a message of %d bytes", len(p.Message))
		}
	}
	contains(t, got[1].Message, "bytes not shown here")
}

func TestSilenceIsBroken(t *testing.T) {
	f := newFake("b")
	f.onExec = func(context.Context, backend.Command, backend.Streams) (provision.ExecResult, error) {
		time.Sleep(time.Second) // ten times as long as five heartbeats take
		return provision.ExecResult{}, nil
	}
	b := newBench(t, f, Limits{Heartbeat: 20 * time.Millisecond})
	_, rec := b.callWithProgress("exec", `{"id":"b","command":["x"]}`)
	got := rec.end()
	if len(got) < 5 {
		t.Fatalf("%d heartbeats in a second", len(got))
	}
	contains(t, got[0].Message, "so far")
}

func TestHeartbeatLeavesRoomForSteps(t *testing.T) {
	rec := &recorder{t: t}
	p := &progress{report: rec.report, began: time.Now()}
	p.step(provision.Event{Step: "one", Index: 1, Total: 2})
	for i := range 300 {
		p.beat(time.Now().Add(time.Duration(i+1)*time.Minute), time.Second)
	}
	p.step(provision.Event{Step: "one", Index: 1, Total: 2, Done: true})
	p.step(provision.Event{Step: "one", Index: 1, Total: 2, Done: true}) // said twice, told once
	p.step(provision.Event{Step: "two", Index: 2, Total: 2})
	got := rec.end()
	if len(got) != 303 || got[301].Current != 1 || got[302].Current != 1.5 {
		t.Fatalf("%d messages, the last ones %+v", len(got), got[max(0, len(got)-3):])
	}
	contains(t, got[1].Message, "one, ")
}

func TestNoProgressWithoutToken(t *testing.T) {
	f := newFake("b")
	f.onExec = exits(0, "x\n", "")
	b := newBench(t, f, Limits{Heartbeat: time.Millisecond})
	for tool, args := range map[string]string{"exec": `{"id":"b","command":["x"]}`, "launch": `{"id":"n"}`, "cleanup": `{"ids":["n"]}`} {
		b.callAs(t.Context(), tool, Call{Arguments: json.RawMessage(args), Principal: operator, Progress: func(p Progress) {
			t.Errorf("%s reported %+v", tool, p)
		}})
	}
}

func TestSpans(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ms", 12 * time.Millisecond: "12 ms", 1500 * time.Millisecond: "1.5 s",
		61 * time.Second: "1 min 1 s", 90 * time.Minute: "1 h 30 min", 49 * time.Hour: "49 h 0 min",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 5 << 20: "5.0 MiB", 3 << 30: "3.0 GiB"} {
		if got := byteSize(n); got != want {
			t.Errorf("byteSize(%d) = %q, want %q", n, got, want)
		}
	}
	if got := fmt.Sprint(plural(1, "entry"), " ", plural(2, "entry"), " ", plural(0, "file")); got != "1 entry 2 entries 0 files" {
		t.Errorf("got %q", got)
	}
}
