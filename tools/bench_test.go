package tools

import (
	"bytes"
	"encoding/json"
	"testing"
)

// BenchmarkClean shows what neutralising costs: plain text, another script, and
// the worst that a guest can write.
func BenchmarkClean(b *testing.B) {
	for name, unit := range map[string]string{"plain": "some plain text\n", "script": "日本語", "hostile": "\x1b\xff\u202e"} {
		in := bytes.Repeat([]byte(unit), (256<<10)/len(unit))
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(in)))
			for b.Loop() {
				clean(in)
			}
		})
	}
}

// BenchmarkExec is this package's share of an exec: decoding, capturing and
// rendering, without an engine.
func BenchmarkExec(b *testing.B) {
	f := newFake("b")
	f.onExec = exits(0, "a line of output\n", "")
	list, _, closer, err := New(Config{Bottles: f})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = closer.Close() }()
	call := Call{Arguments: json.RawMessage(`{"id":"b","command":["true"]}`), Principal: operator}
	for b.Loop() {
		if r := list[1].Handle(b.Context(), call); r.IsError {
			b.Fatal(r.Content)
		}
	}
}
