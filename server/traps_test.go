package server

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
)

// The sixteen traps of mcp-go, each with what this package does instead.

// 1: tools with raw schemas can vanish from tools/list, all of them, silently.
func TestTrap01ToolsListShowsEveryTool(t *testing.T) {
	bothTransports(t, Limits{}, func(t *testing.T, f *fixture, c client) {
		c.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
		var list struct {
			Result struct {
				Tools []struct {
					Name         string
					InputSchema  map[string]any
					OutputSchema map[string]any
					Annotations  map[string]any
				}
			}
		}
		if err := json.Unmarshal([]byte(c.box().answer(t, "1").raw), &list); err != nil {
			t.Fatal(err)
		}
		if got, want := len(list.Result.Tools), len(f.Server.tools); got != want {
			t.Fatalf("%d tools are listed, want %d", got, want)
		}
		for _, tool := range list.Result.Tools {
			if tool.InputSchema["type"] != "object" || tool.OutputSchema["type"] != "object" || len(tool.Annotations) != 4 {
				t.Errorf("%s is listed without its schemas or annotations: %+v", tool.Name, tool)
			}
		}
	})
}

// 2: clients throw on a success without, or with wrong, structured content.
func TestTrap02StructuredContentIsGuarded(t *testing.T) {
	bothTransports(t, Limits{}, func(t *testing.T, f *fixture, c client) {
		for i, tool := range []string{"mute", "liar", "nothing"} {
			id := fmt.Sprint(i)
			c.send(callText(id, tool, `{}`, ""))
			got := c.box().answer(t, id)
			if got.Result == nil || !got.Result.IsError || !strings.HasPrefix(got.text(), "internal error ") {
				t.Errorf("%s: %s", tool, got.raw)
			}
		}
		for _, reason := range []string{"structured content is missing", "breaks its output schema", "returned no result"} {
			if !strings.Contains(f.logged.String(), reason) {
				t.Errorf("the log lacks %q", reason)
			}
		}
		c.send(callText("9", "quick", `{"note":"n"}`, ""))
		if got := c.box().answer(t, "9"); string(got.Result.StructuredContent) != `{"note":"n","ok":true}` {
			t.Errorf("structured content: %s", got.raw)
		}
	})
}

// 3: built-in validation speaks Go to the model and skips bad schemas.
func TestTrap03ValidationIsReadable(t *testing.T) {
	bothTransports(t, Limits{}, func(t *testing.T, _ *fixture, c client) {
		c.send(callText("1", "slow", `{"bogus":1,"steps":"5"}`, ""))
		want := "Invalid arguments for slow; nothing was done. Correct all of these:\n" +
			"- argument \"steps\" must be an integer, not a string\n" +
			"- unknown argument \"bogus\"; allowed: note, steps"
		if got := c.box().answer(t, "1"); !got.Result.IsError || got.text() != want {
			t.Errorf("got %q, want %q", got.text(), want)
		}
	})
}

// 4: Go errors and panics become protocol errors with their text in them.
func TestTrap04PanicsDoNotLeak(t *testing.T) {
	bothTransports(t, Limits{}, func(t *testing.T, f *fixture, c client) {
		c.send(callText("1", "panics", `{}`, ""))
		got := c.box().answer(t, "1")
		if got.Error != nil || !got.Result.IsError || strings.Contains(got.raw, "hunter2") {
			t.Fatalf("answer to a panic: %s", got.raw)
		}
		id, _, _ := strings.Cut(strings.TrimPrefix(got.text(), "internal error "), ":")
		log := f.logged.String()
		if len(id) != 10 || !strings.Contains(log, id) || !strings.Contains(log, panicText) || !strings.Contains(log, "helpers_test.go") {
			t.Errorf("the log lacks the id %q, the panic or its stack:\n%s", id, log)
		}
		c.send(pingText("2"))
		c.box().answer(t, "2")
	})
}

// 5: five slow calls freeze stdio, and a full queue freezes ping and cancel.
func TestTrap05FullServerStillListens(t *testing.T) {
	const limit = 8
	bothTransports(t, Limits{CallsPerTool: limit}, func(t *testing.T, f *fixture, c client) {
		for i := range limit {
			c.send(callText(fmt.Sprint(i), "slow", `{}`, ""))
			receive(t, f.started, "start")
		}
		c.send(callText("100", "slow", `{}`, ""))
		if got := c.box().answer(t, "100"); !got.Result.IsError || !strings.HasPrefix(got.text(), "busy: 8 calls of slow") {
			t.Errorf("the call beyond the limit: %s", got.raw)
		}
		c.send(callText("101", "quick", `{"note":"other tool"}`, ""))
		if got := c.box().answer(t, "101"); got.Result.IsError {
			t.Errorf("another tool: %s", got.raw)
		}
		c.send(pingText("102"))
		c.box().answer(t, "102")
		c.send(cancelText("3"))
		receive(t, f.ended, "cancelled call")
		deadline := time.Now().Add(patience)
		for id := 200; ; id++ { // the slot is free again, soon
			c.send(callText(fmt.Sprint(id), "slow", `{}`, ""))
			select {
			case <-f.started:
				return
			case <-time.After(20 * time.Millisecond):
			}
			if time.Now().After(deadline) {
				t.Fatal("a cancelled call's slot stays taken")
			}
		}
	})
}

// 6: on stdio all progress comes after the answer, on HTTP the last is lost.
func TestTrap06ProgressPrecedesTheAnswer(t *testing.T) {
	const calls, steps = 50, 5
	bothTransports(t, Limits{}, func(t *testing.T, _ *fixture, c client) {
		for i := range calls {
			c.send(callText(fmt.Sprint(i), "stepper", fmt.Sprintf(`{"steps":%d}`, steps), fmt.Sprintf(`"p%d"`, i)))
		}
		for i := range calls {
			c.box().answer(t, fmt.Sprint(i))
		}
		time.Sleep(20 * time.Millisecond) // for what would come too late
		seen, answered := make(map[string]float64), make(map[string]bool)
		for _, e := range c.box().all() {
			token := strings.Trim(string(e.Params.Token), `"`)
			switch {
			case e.Method == "":
				answered["p"+string(e.ID)] = true
				if i := string(e.ID); i != `"init"` && seen["p"+i] != steps {
					t.Fatalf("the answer to %s came after %v of %d steps", i, seen["p"+i], steps)
				}
			case answered[token]:
				t.Fatalf("progress of %s after its answer: %s", token, e.raw)
			case e.Params.Message == "too late": // it was not
			case e.Params.Progress != seen[token]+1 || e.Params.Total != steps:
				t.Fatalf("progress of %s after %v: %s", token, seen[token], e.raw)
			default:
				seen[token]++
			}
		}
	})
}

// 7: HTTP sessions share a channel, take forged ids and survive DELETE.
func TestTrap07SessionsAreReal(t *testing.T) {
	f := newFixture(t, Limits{})
	w := serveHTTP(t, f, HTTPConfig{})
	a := w.connect(t)

	t.Run("progress stays on its own stream", func(t *testing.T) {
		const calls, steps = 20, 10
		got := make(chan string, calls)
		for i := range calls {
			go func() {
				r, err := w.try(callText(fmt.Sprint(i), "stepper", fmt.Sprintf(`{"steps":%d}`, steps), fmt.Sprintf(`"own-%d"`, i)), a.inSession)
				if err != nil {
					got <- err.Error()
					return
				}
				defer r.Body.Close()
				body, _ := io.ReadAll(r.Body)
				own, all := strings.Count(string(body), fmt.Sprintf(`"own-%d"`, i)), strings.Count(string(body), `"progressToken"`)
				if own != all || own < steps { // one more may come from stepper's late report
					got <- fmt.Sprintf("stream %d: %d of %d progress messages are its own, want %d", i, own, all, steps)
					return
				}
				got <- ""
			}()
		}
		for range calls {
			if problem := receive(t, got, "stream"); problem != "" {
				t.Error(problem)
			}
		}
	})
	t.Run("forged id", func(t *testing.T) {
		r := w.request(t, pingText("1"), func(r *http.Request) { r.Header.Set(headerSession, "mcp-session-"+strings.Repeat("A", 26)) })
		if r.StatusCode != http.StatusNotFound {
			t.Errorf("a forged session: %s", r.Status)
		}
	})
	t.Run("no id", func(t *testing.T) {
		if r := w.request(t, pingText("1"), nil); r.StatusCode != http.StatusBadRequest {
			t.Errorf("no session: %s", r.Status)
		}
	})
	t.Run("delete", func(t *testing.T) {
		b := w.connect(t)
		b.send(callText("1", "slow", `{"note":"deleted"}`, ""))
		receive(t, f.started, "start")
		end := func(r *http.Request) { b.inSession(r); r.Method = http.MethodDelete }
		if r := w.request(t, "", end); r.StatusCode != http.StatusNoContent {
			t.Errorf("DELETE: %s", r.Status)
		}
		if got := receive(t, f.ended, "end"); got != "deleted: "+errSessionEnded.Error() {
			t.Errorf("the deleted session's call: %q", got)
		}
		if r := w.request(t, pingText("2"), b.inSession); r.StatusCode != http.StatusNotFound {
			t.Errorf("after DELETE: %s", r.Status)
		}
		if r := w.request(t, "", end); r.StatusCode != http.StatusNotFound {
			t.Errorf("second DELETE: %s", r.Status)
		}
	})
}

// 8: sessionless requests share cancel keys across clients.
func TestTrap08CancelsStayInTheirSession(t *testing.T) {
	f := newFixture(t, Limits{})
	w := serveHTTP(t, f, HTTPConfig{})
	a, b := w.connect(t), w.connect(t)
	a.send(callText("1", "slow", `{"note":"a"}`, ""))
	receive(t, f.started, "start")
	b.send(callText("1", "slow", `{"note":"b"}`, ""))
	receive(t, f.started, "start")
	b.send(cancelText("1"))
	if got := receive(t, f.ended, "end"); got != "b: "+errCancelledByClient.Error() {
		t.Fatalf("the first to end: %q", got)
	}
	select {
	case got := <-f.ended:
		t.Fatalf("the other client's call ended too: %q", got)
	case <-time.After(50 * time.Millisecond):
	}
	a.send(cancelText("1"))
	if got := receive(t, f.ended, "end"); got != "a: "+errCancelledByClient.Error() {
		t.Fatalf("its own cancel: %q", got)
	}
}

func TestTrap08SessionlessProtocolIsRefused(t *testing.T) {
	const modern = `{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
	t.Run("stdio", func(t *testing.T) {
		c := openStdio(t, newFixture(t, Limits{}))
		c.send(modern)
		checkRefusedVersion(t, c.box().answer(t, "7"))
	})
	for name, change := range map[string]func(*http.Request){
		"http, by body":   nil,
		"http, by header": func(r *http.Request) { r.Header.Set(headerVersion, "2026-07-28") },
	} {
		t.Run(name, func(t *testing.T) {
			w := serveHTTP(t, newFixture(t, Limits{}), HTTPConfig{})
			body := modern
			if change != nil {
				body = pingText("7")
			}
			r := w.request(t, body, change)
			if r.StatusCode != http.StatusBadRequest {
				t.Errorf("status %s", r.Status)
			}
			box := newInbox()
			box.add(bodyOf(t, r))
			checkRefusedVersion(t, box.answer(t, "7"))
		})
	}
}

func checkRefusedVersion(t *testing.T, got envelope) {
	t.Helper()
	if got.Error == nil || got.Error.Code != mcp.UNSUPPORTED_PROTOCOL_VERSION || !strings.Contains(string(got.Error.Data), "2025-11-25") {
		t.Errorf("answer: %s", got.raw)
	}
}
