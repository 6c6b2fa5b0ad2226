package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/provision"
)

func TestSessions(t *testing.T) {
	now := time.Unix(1000, 0)
	table := newSessions(2, time.Minute)
	table.now = func() time.Time { return now }
	a, b, c := operatorPeer(), operatorPeer(), operatorPeer()
	add := func(p *peer) {
		t.Helper()
		if err := table.add(p); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Second)
	}
	add(a)
	add(b)
	_, releaseA, ok := table.use(a.id)
	if !ok {
		t.Fatal("a is unknown")
	}
	add(c) // full: b is the idle one
	if _, _, ok := table.use(b.id); ok {
		t.Error("b is still known")
	}
	_, releaseC, _ := table.use(c.id)
	if err := table.add(operatorPeer()); !errors.Is(err, errTooManySessions) {
		t.Errorf("with all in use: %v", err)
	}
	releaseC()
	now = now.Add(time.Hour)
	if _, _, ok := table.use(c.id); ok {
		t.Error("c has not expired")
	}
	releaseA()
	releaseA() // counts once
	if _, release, ok := table.use(a.id); !ok {
		t.Error("a expired the moment its call ended")
	} else {
		release()
	}
	if !table.remove(a.id) || table.remove(a.id) || len(table.byID) != 0 {
		t.Error("a is not removed once")
	}
	if _, err := a.inflight.begin(t.Context(), "n1"); !errors.Is(err, errSessionEnded) {
		t.Errorf("a call in a removed session: %v", err)
	}
}

func TestSessionIDsCannotBeGuessed(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		id := operatorPeer().id
		if len(id) < 26 || seen[id] {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
	}
}

func TestInflightForgets(t *testing.T) {
	p := operatorPeer()
	for i := range 10 * maxRemembered {
		key := fmt.Sprint("n", i)
		if _, err := p.inflight.begin(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		p.inflight.end(key)
		p.inflight.cancel(fmt.Sprint("s", i)) // for requests that never come
	}
	if n := len(p.inflight.running); n != 0 {
		t.Errorf("%d requests are kept", n)
	}
	if n := len(p.inflight.seen); n > maxRemembered {
		t.Errorf("%d seen ids are kept", n)
	}
	if n := len(p.inflight.early); n > maxRemembered {
		t.Errorf("%d early cancels are kept", n)
	}
}

func TestOutbox(t *testing.T) {
	box := newOutbox()
	for i := range 2 * maxBacklog {
		box.offer(fmt.Appendf(nil, "p%d", i))
	}
	box.put(frame{data: []byte("answer"), last: true})
	box.close()
	box.put(frame{data: []byte("after the end")})
	var got []frame
	for {
		f, why := box.take(t.Context(), 0)
		if why != took {
			if why != drained {
				t.Errorf("outcome %d", why)
			}
			break
		}
		got = append(got, f)
	}
	if len(got) != maxBacklog+1 || string(got[0].data) != "p0" || !got[maxBacklog].last {
		t.Errorf("%d frames, the last %q", len(got), got[len(got)-1].data)
	}
	if _, why := newOutbox().take(t.Context(), time.Millisecond); why != silent {
		t.Errorf("a silent outbox: outcome %d", why)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, why := newOutbox().take(ended, 0); why != gone {
		t.Errorf("an ended context: outcome %d", why)
	}
}

// stuckWriter is a client that does not read.
type stuckWriter struct{ release chan struct{} }

func (w stuckWriter) Write(p []byte) (int, error) {
	<-w.release
	return len(p), nil
}

func TestStdioClientThatDoesNotRead(t *testing.T) {
	f := newFixture(t, Limits{EOFGrace: time.Millisecond, StopTimeout: 50 * time.Millisecond})
	stuck := stuckWriter{make(chan struct{})}
	defer close(stuck.release)
	var in bytes.Buffer
	in.WriteString(callText(`"s"`, "slow", `{"note":"n"}`, `"p"`) + "\n")
	for i := range 100 {
		in.WriteString(pingText(fmt.Sprint(i)) + "\n")
	}
	in.WriteString(cancelText(`"s"`) + "\n") // is read although nothing can be written
	done := make(chan error, 1)
	go func() { done <- f.ServeStdio(t.Context(), &in, stuck) }()
	select {
	case err := <-done:
		if err == nil {
			t.Error("lost answers are not reported")
		}
	case <-time.After(patience):
		t.Fatal("a client that does not read holds the server")
	}
	waitIdle(t, f)
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestStdioClientThatIsGone(t *testing.T) {
	f := newFixture(t, Limits{EOFGrace: time.Hour})
	in := bytes.NewBufferString(callText("1", "slow", `{"note":"n"}`, "") + "\n" + pingText("2") + "\n")
	if err := f.ServeStdio(t.Context(), in, brokenWriter{}); err == nil {
		t.Error("the write error is not reported")
	}
	waitIdle(t, f)
}

func TestStdioLongLine(t *testing.T) {
	f := newFixture(t, Limits{MaxMessage: 1000})
	c := connectStdio(t, f)
	c.send(callText("1", "quick", `{"note":"`+string(bytes.Repeat([]byte("x"), 5000))+`"}`, ""))
	got := c.box().find(t, "error", func(e envelope) bool { return e.Error != nil })
	if string(got.ID) != "null" || got.Error.Code != -32600 {
		t.Errorf("the long line: %s", got.raw)
	}
	c.send(pingText("2"))
	c.box().answer(t, "2")
	c.shut(t)
}

func operatorPeer() *peer {
	return newSessionPeer(provision.Principal{Kind: provision.Operator})
}
