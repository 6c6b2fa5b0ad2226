package server

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
)

// 9: an idle limit counts request starts and kills sessions under a call.
func TestTrap09NoSessionExpiresUnderACall(t *testing.T) {
	const idle = 100 * time.Millisecond
	f := newFixture(t, Limits{})
	w := serveHTTP(t, f, HTTPConfig{SessionIdle: idle, MaxSessions: 2})
	busy, left := w.connect(t), w.connect(t)
	busy.send(callText("1", "slow", `{}`, ""))
	receive(t, f.started, "start")
	time.Sleep(3 * idle)
	w.connect(t) // makes room by dropping what has expired
	if r := w.request(t, pingText("2"), busy.inSession); r.StatusCode != http.StatusOK {
		t.Errorf("the session of a running call: %s", r.Status)
	}
	if r := w.request(t, pingText("2"), left.inSession); r.StatusCode != http.StatusNotFound {
		t.Errorf("the idle session: %s", r.Status)
	}
	busy.send(cancelText("1"))
	receive(t, f.ended, "end")
	busy.posts.Wait()
	if r := w.request(t, pingText("3"), busy.inSession); r.StatusCode != http.StatusOK {
		t.Errorf("right after the call: %s", r.Status)
	}
}

// 10: mcp-go checks no Origin, limits no body and has no authentication: see
// TestGate for each refusal; here, that none of them reaches a tool.
func TestTrap10NothingPassesTheGateUnchecked(t *testing.T) {
	f := newFixture(t, Limits{MaxMessage: 4096})
	w := serveHTTP(t, f, HTTPConfig{})
	c := w.connect(t)
	call := callText("1", "slow", `{}`, "")
	for want, change := range map[int]func(*http.Request){
		http.StatusForbidden:            func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") },
		http.StatusUnauthorized:         func(r *http.Request) { r.Header.Del("Authorization") },
		http.StatusUnsupportedMediaType: func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") },
		http.StatusRequestEntityTooLarge: func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader(call + strings.Repeat(" ", 4096)))
			r.ContentLength = -1
		},
	} {
		r := w.request(t, call, func(r *http.Request) { c.inSession(r); change(r) })
		if r.StatusCode != want {
			t.Errorf("got %s, want %d", r.Status, want)
		}
	}
	select {
	case <-f.started:
		t.Error("a refused request reached its tool")
	case <-time.After(20 * time.Millisecond):
	}
}

// 11: clients and proxies give up on calls that are silent for long.
func TestTrap11LongCallsShowLife(t *testing.T) {
	bothTransports(t, Limits{KeepAlive: 20 * time.Millisecond}, func(t *testing.T, f *fixture, c client) {
		c.send(callText("1", "slow", `{}`, `9007199254740993`))
		receive(t, f.started, "start")
		var last float64
		for range 3 {
			got := c.box().find(t, "progress", func(e envelope) bool { return e.Params.Progress > last })
			if string(got.Params.Token) != "9007199254740993" || got.Params.Message == "" {
				t.Fatalf("keep-alive: %s", got.raw)
			}
			last = got.Params.Progress
		}
	})
	t.Run("http without a token", func(t *testing.T) {
		f := newFixture(t, Limits{KeepAlive: 20 * time.Millisecond})
		w := serveHTTP(t, f, HTTPConfig{})
		c := w.connect(t)
		r := w.request(t, callText("1", "slow", `{}`, ""), c.inSession) // returns with the headers
		part := make([]byte, 4)
		if _, err := io.ReadFull(r.Body, part); err != nil || string(part) != ": st" {
			t.Errorf("the silent stream: %q, %v", part, err)
		}
	})
}

// 12: cancel, disconnect, the end of stdin and a stop all end a call's context.
func TestTrap12EveryEndReachesTheHandler(t *testing.T) {
	bothTransports(t, Limits{}, func(t *testing.T, f *fixture, c client) {
		c.send(callText(`"x"`, "slow", `{"note":"n"}`, ""))
		receive(t, f.started, "start")
		c.send(cancelText(`"x"`))
		if got := receive(t, f.ended, "end"); got != "n: "+errCancelledByClient.Error() {
			t.Errorf("cancelled: %q", got)
		}
		c.send(pingText("2"))
		c.box().answer(t, "2")
		c.box().none(t, `"x"`)
	})
	t.Run("end of stdin", func(t *testing.T) {
		f := newFixture(t, Limits{EOFGrace: 10 * time.Millisecond})
		c := connectStdio(t, f)
		c.send(callText("1", "slow", `{"note":"n"}`, ""))
		receive(t, f.started, "start")
		c.shut(t)
		if got := receive(t, f.ended, "end"); got != "n: "+errStopping.Error() {
			t.Errorf("at the end: %q", got)
		}
		c.box().answer(t, "1")
	})
	t.Run("stop", func(t *testing.T) {
		f := newFixture(t, Limits{EOFGrace: time.Hour})
		c := connectStdio(t, f)
		c.send(callText("1", "slow", `{"note":"n"}`, ""))
		receive(t, f.started, "start")
		c.cancel()
		receive(t, f.ended, "end")
		if err := c.wait(t); err != nil {
			t.Error(err)
		}
	})
	t.Run("disconnect", func(t *testing.T) {
		f := newFixture(t, Limits{})
		w := serveHTTP(t, f, HTTPConfig{})
		c := w.connect(t)
		c.send(callText("1", "slow", `{}`, ""))
		receive(t, f.started, "start")
		w.http.Transport.(*http.Transport).CloseIdleConnections()
		leave(t, w, c, f)
	})
}

// leave starts a second call and hangs up on it.
func leave(t *testing.T, w *web, c *httpClient, f *fixture) {
	t.Helper()
	short := &http.Client{Timeout: 50 * time.Millisecond}
	patient := w.http
	w.http = short
	_, err := w.try(callText("2", "slow", `{"note":"left"}`, ""), c.inSession)
	w.http = patient
	if err == nil {
		t.Fatal("the short request was answered")
	}
	if got := receive(t, f.ended, "end"); !strings.HasPrefix(got, "left: ") {
		t.Errorf("ended: %q", got)
	}
}

func TestTrap12IgnoredCancelDoesNotHoldTheExit(t *testing.T) {
	limits := Limits{EOFGrace: 10 * time.Millisecond, StopTimeout: 50 * time.Millisecond}
	t.Run("stdio", func(t *testing.T) {
		f := newFixture(t, limits)
		c := connectStdio(t, f)
		c.send(callText("1", "stubborn", `{}`, ""))
		receive(t, f.started, "start")
		begin := time.Now()
		c.in.Close()
		if err := c.wait(t); err == nil || !strings.Contains(err.Error(), "1 calls did not stop") {
			t.Errorf("error: %v", err)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("the exit took %s", took)
		}
	})
	t.Run("http", func(t *testing.T) {
		f := newFixture(t, limits)
		w := serveHTTP(t, f, HTTPConfig{})
		w.connect(t).send(callText("1", "stubborn", `{}`, ""))
		receive(t, f.started, "start")
		begin := time.Now()
		w.stop()
		if err := w.wait(t); err == nil || !strings.Contains(err.Error(), "1 calls did not stop") {
			t.Errorf("error: %v", err)
		}
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("the exit took %s", took)
		}
	})
}

// 13: a cancel may come before, with, or after its call.
func TestTrap13NoCancelIsLost(t *testing.T) {
	const rounds = 200
	t.Run("stdio, in the same write", func(t *testing.T) {
		f := newFixture(t, Limits{})
		c := connectStdio(t, f)
		for i := range rounds {
			id := fmt.Sprint(i)
			c.write(callText(id, "slow", `{}`, "") + "\n" + cancelText(id) + "\n")
		}
		waitIdle(t, f)
		c.shut(t)
		for i := range rounds {
			c.box().none(t, fmt.Sprint(i))
		}
	})
	t.Run("http, before its call", func(t *testing.T) {
		f := newFixture(t, Limits{})
		w := serveHTTP(t, f, HTTPConfig{})
		c := w.connect(t)
		w.request(t, cancelText("1"), c.inSession)
		r := w.request(t, callText("1", "slow", `{}`, ""), c.inSession)
		if body := bodyOf(t, r); strings.Contains(body, "jsonrpc") {
			t.Errorf("the cancelled call was answered: %s", body)
		}
		waitIdle(t, f)
	})
	t.Run("http, after its call", func(t *testing.T) {
		f := newFixture(t, Limits{})
		w := serveHTTP(t, f, HTTPConfig{})
		c := w.connect(t)
		for range 2 { // a client that counts from 1 again must not be hit
			r := w.request(t, callText("1", "quick", `{"note":"done"}`, ""), c.inSession)
			if body := bodyOf(t, r); !strings.Contains(body, "done") {
				t.Errorf("the call: %s", body)
			}
			w.request(t, cancelText("1"), c.inSession)
		}
	})
}

// waitIdle waits until no slow call holds its slot.
func waitIdle(t *testing.T, f *fixture) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for len(f.Server.tools["slow"].slots) > 0 {
		if time.Now().After(deadline) {
			t.Fatal("cancelled calls still run")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// 14: results double every byte and carry control characters; stdout is for
// the protocol alone (every stdio test checks that in shut).
func TestTrap14ResultsAreBoundedAndClean(t *testing.T) {
	bothTransports(t, Limits{}, func(t *testing.T, _ *fixture, c client) {
		c.send(callText("1", "dirty", `{}`, ""))
		if got, want := c.box().answer(t, "1").text(), "a\ufffd[2Jb\ufffdc\nd\te"; got != want {
			t.Errorf("text %q, want %q", got, want)
		}
		c.send(callText("2", "huge", `{}`, ""))
		if got := c.box().answer(t, "2"); !got.Result.IsError || len(got.raw) > 1000 || !strings.Contains(got.text(), "the work was done") {
			t.Errorf("the huge result: %d bytes, %.200s", len(got.raw), got.raw)
		}
	})
}

// 15: a pipe that closes behind its last message still gets its answers.
func TestTrap15ClosedInputIsStillAnswered(t *testing.T) {
	for name, end := range map[string]string{"line break": "\n", "no line break": ""} {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				f := newFixture(t, Limits{})
				input := initializeText + "\n" + callText("1", "quick", `{"note":"a"}`, "") + "\n" + callText("2", "quick", `{"note":"b"}`, "") + end
				var out strings.Builder
				if err := f.ServeStdio(t.Context(), strings.NewReader(input), &out); err != nil {
					t.Fatal(err)
				}
				if got := strings.Count(out.String(), "\n"); got != 3 {
					t.Fatalf("%d answers of 3: %s", got, out.String())
				}
			}
		})
	}
}

// 16: elicitation collides with client ids, tasks end at once: neither is
// offered, nor sampling.
func TestTrap16OnlyWhatWorksIsAdvertised(t *testing.T) {
	bothTransports(t, Limits{}, func(t *testing.T, _ *fixture, c client) {
		var hello struct {
			Result struct {
				Capabilities    map[string]any
				Instructions    string
				ProtocolVersion string
			}
		}
		if err := json.Unmarshal([]byte(c.box().answer(t, `"init"`).raw), &hello); err != nil {
			t.Fatal(err)
		}
		var names []string
		for name := range hello.Result.Capabilities {
			names = append(names, name)
		}
		slices.Sort(names)
		if !slices.Equal(names, []string{"logging", "tools"}) {
			t.Errorf("capabilities: %v", names)
		}
		if hello.Result.Instructions != Instructions || hello.Result.ProtocolVersion != "2025-11-25" {
			t.Errorf("initialize: %+v", hello.Result)
		}
	})
}

func TestTasksAreNotAccepted(t *testing.T) {
	f := newFixture(t, Limits{})
	c := connectStdio(t, f)
	c.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"quick","arguments":{"note":"n"},"task":{"ttl":1000}}}`)
	if got := c.box().answer(t, "1"); got.text() != "n" {
		t.Errorf("a call that asks for a task is an ordinary one: %s", got.raw)
	}
	c.send(`{"jsonrpc":"2.0","id":2,"method":"tasks/list"}`)
	if got := c.box().answer(t, "2"); got.Error == nil || got.Error.Code != mcp.METHOD_NOT_FOUND {
		t.Errorf("tasks/list: %s", got.raw)
	}
}
