package provision

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/selftest"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
)

func TestExecRefusals(t *testing.T) {
	tests := []struct {
		name string
		log  func(b *bed, id backend.ID)
		code int
		want []string
	}{
		{"none", func(*bed, backend.ID) {}, 1, nil},
		{"one", func(b *bed, id backend.ID) { b.appendLog(id, jsonLine(b.t, deny(id, "new"))) }, 0, []string{"new"}},
		{"allowed ones are none", func(b *bed, id backend.ID) {
			d := deny(id, "ok")
			d.Verdict = sidecars.Allow
			b.appendLog(id, jsonLine(b.t, d)+jsonLine(b.t, deny(id, "new")))
		}, 0, []string{"new"}},
		{"no host is hidden", func(b *bed, id backend.ID) {
			b.appendLog(id, jsonLine(b.t, deny(id, "unlisted.invalid"))+jsonLine(b.t, deny(id, "new")))
		}, 0, []string{"unlisted.invalid", "new"}},
		{"torn last line", func(b *bed, id backend.ID) {
			b.appendLog(id, jsonLine(b.t, deny(id, "new"))+strings.TrimSpace(jsonLine(b.t, deny(id, "torn"))))
		}, 0, []string{"new"}},
		{"garbage between", func(b *bed, id backend.ID) {
			b.appendLog(id, "\x00\xff{\n"+`{"verdict":"deny","extra":1}`+"\n"+strings.Repeat("x", 2*ledger.MaxLine)+"\n"+jsonLine(b.t, deny(id, "new")))
		}, 0, []string{"new"}},
		{"another bottle's", func(b *bed, id backend.ID) {
			b.appendLog(id, jsonLine(b.t, deny("other", "x"))+jsonLine(b.t, deny(id, "new")))
		}, 0, []string{"new"}},
		{"late", func(b *bed, id backend.ID) {
			line := jsonLine(b.t, deny(id, "late"))
			time.AfterFunc(2*time.Millisecond, func() { b.appendLog(id, line) })
		}, 22, []string{"late"}},
		{"begun anew", func(b *bed, id backend.ID) {
			if err := os.Remove(filepath.Join(b.store.BottlesDir(), string(id), state.EgressLog)); err != nil {
				b.t.Error(err)
			}
			b.appendLog(id, jsonLine(b.t, deny(id, "fresh")))
		}, 0, nil}, // shorter than before: what is new in it cannot be told
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, id := liveBed(t)
			b.appendLog(id, jsonLine(t, deny(id, "old"))+jsonLine(t, deny(id, "old")))
			b.fake.command = func(_ backend.Command, s backend.Streams) backend.ExitStatus {
				tt.log(b, id)
				_, _ = io.WriteString(s.Stdout, "out")
				return backend.ExitStatus{Code: tt.code}
			}
			var out strings.Builder
			result, err := b.Exec(t.Context(), operator, id, backend.Command{Argv: []string{"x"}}, backend.Streams{Stdout: &out})
			if err != nil || result.Status.Code != tt.code || out.String() != "out" || result.Duration <= 0 {
				t.Fatalf("result is %+v, %v", result, err)
			}
			var got []string
			for _, d := range result.Refusals {
				got = append(got, d.Host)
			}
			if strings.Join(got, " ") != strings.Join(tt.want, " ") {
				t.Errorf("refusals are %v, want %v", got, tt.want)
			}
		})
	}
}

// TestSelfTestRefusalsAreNotCounted shows that what the self-test tried is not
// held against the guest, and that the same name is when the guest tries it.
func TestSelfTestRefusalsAreNotCounted(t *testing.T) {
	b := newBed(t)
	b.fake.probe = func(spec selftest.Spec, _ string, out io.Writer) int {
		id := backend.ID(spec.BottleID)
		b.appendLog(id, jsonLine(t, deny(id, spec.UnlistedHost)))
		return answer(spec, out, "")
	}
	bottle := b.launch(LaunchRequest{})
	for i, line := range []string{"", jsonLine(t, deny(bottle.ID, "unlisted.invalid"))} {
		b.appendLog(bottle.ID, line)
		got, err := b.Get(t.Context(), operator, bottle.ID)
		if err != nil || got.Refusals != i {
			t.Errorf("after %d attempts of the guest: %+v, %v", i, got, err)
		}
	}
}

func TestExecBounds(t *testing.T) {
	b, id := liveBed(t)
	b.fake.command = func(backend.Command, backend.Streams) backend.ExitStatus {
		b.appendLog(id, strings.Repeat(jsonLine(t, deny(id, "many")), 3*maxRefusals))
		return backend.ExitStatus{}
	}
	result, err := b.Exec(t.Context(), operator, id, backend.Command{Argv: []string{"x"}}, backend.Streams{})
	if err != nil || len(result.Refusals) != maxRefusals {
		t.Errorf("%d refusals, %v", len(result.Refusals), err)
	}
}

func TestEgressLog(t *testing.T) {
	b, id := liveBed(t)
	if got, err := b.EgressLog(t.Context(), operator, id, 5); err != nil || len(got) != 0 {
		t.Errorf("without a log: %v, %v", got, err)
	}
	for _, host := range []string{"a", "b", "c", "d"} {
		b.appendLog(id, jsonLine(t, deny(id, host)))
	}
	b.appendLog(id, `{"half":`)
	for limit, want := range map[int]string{2: "cd", 100: "abcd", 0: "d", 1 << 40: "abcd"} {
		got, err := b.EgressLog(t.Context(), operator, id, limit)
		hosts := ""
		for _, d := range got {
			hosts += d.Host
		}
		if err != nil || hosts != want {
			t.Errorf("newest %d are %q, %v", limit, hosts, err)
		}
	}
	for range 2 { // counted once, however often it is asked
		if live, err := b.Get(t.Context(), operator, id); err != nil || live.Refusals != 4 {
			t.Errorf("%d refusals, %v", live.Refusals, err)
		}
	}
	b.appendLog(id, "1}\n"+jsonLine(t, deny(id, "e")))
	if live, err := b.Get(t.Context(), operator, id); err != nil || live.Refusals != 5 {
		t.Errorf("%d refusals, %v", live.Refusals, err)
	}
}

func TestOutputs(t *testing.T) {
	b, id := liveBed(t)
	name, w, err := b.OutputFile(t.Context(), operator, id)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(w, "all of it")
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	r, err := b.OpenOutput(t.Context(), operator, id, name)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(r); err != nil || string(data) != "all of it" {
		t.Errorf("read %q, %v", data, err)
	}
	_ = r.Close()
	if _, err := b.OpenOutput(t.Context(), operator, id, "../metadata.json"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("another file: %v", err)
	}
}

// TestInvisible: every call about a bottle that the principal may not see says
// that there is none.
func TestInvisible(t *testing.T) {
	b, id := liveBed(t)
	for _, who := range []Principal{{}, {Kind: Guest}, {Kind: Guest, Bottle: "other"}, {Kind: "Operator"}} {
		ctx := t.Context()
		calls := map[string]error{}
		_, calls["Exec"] = b.Exec(ctx, who, id, backend.Command{Argv: []string{"x"}}, backend.Streams{})
		_, calls["CopyIn"] = b.CopyIn(ctx, who, id, "x", "/x", CopyOptions{})
		_, calls["CopyOut"] = b.CopyOut(ctx, who, id, "/x", "x", CopyOptions{})
		_, calls["WriteFile"] = b.WriteFile(ctx, who, id, "/x", nil, CopyOptions{})
		_, _, calls["ReadFile"] = b.ReadFile(ctx, who, id, "/x", 1)
		_, calls["Get"] = b.Get(ctx, who, id)
		_, calls["EgressLog"] = b.EgressLog(ctx, who, id, 1)
		_, _, calls["OutputFile"] = b.OutputFile(ctx, who, id)
		_, calls["OpenOutput"] = b.OpenOutput(ctx, who, id, "x")
		for name, err := range calls {
			if !errors.Is(err, backend.ErrNotFound) {
				t.Errorf("%s as %+v: %v", name, who, err)
			}
		}
		if list, err := b.List(ctx, who); err != nil || len(list) != 0 {
			t.Errorf("list as %+v: %v, %v", who, list, err)
		}
		items, err := b.Cleanup(ctx, CleanupRequest{IDs: []backend.ID{id}, Principal: who}, nil)
		if err != nil || items[0].Action != actionKeep {
			t.Errorf("cleanup as %+v: %v, %v", who, items, err)
		}
		if items, err = b.Cleanup(ctx, CleanupRequest{All: true, Principal: who}, nil); err != nil || len(items) != 0 {
			t.Errorf("cleanup of all as %+v: %v, %v", who, items, err)
		}
	}
	if b.fake.bottles[id] == nil {
		t.Error("the bottle was removed")
	}
}

func FuzzDecision(f *testing.F) {
	f.Add([]byte(`{"time":"2026-01-01T00:00:00Z","bottle":"x","service":"egress","verdict":"deny","host":"h"}` + "\n{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		end, err := ledger.Lines(strings.NewReader(string(data)), func(line []byte) error {
			if len(line) > ledger.MaxLine || line[len(line)-1] != '\n' {
				t.Errorf("line of %d bytes", len(line))
			}
			if d, ok := decodeEntry(line, "x"); ok && (d.Bottle != "x" || d.Type == ledger.TypeDecision && d.Verdict != sidecars.Allow && d.Verdict != sidecars.Deny) {
				t.Errorf("accepted %+v", d)
			}
			return nil
		})
		if err != nil || end > int64(len(data)) || end > 0 && data[end-1] != '\n' {
			t.Errorf("ends at %d of %d, %v", end, len(data), err)
		}
	})
}
