package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
)

// ledgerBook is the helper program "ledger-book DIR [FROM TO]": it writes a
// ledger of a bottle named otter, and replaces FROM in it.
func ledgerBook() {
	if err := writeBook(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func writeBook(args []string) error {
	if err := os.MkdirAll(args[0], 0o700); err != nil {
		return err
	}
	o := ledger.Options{Bottle: "otter"}
	for _, name := range ledger.Names() {
		f, err := os.OpenFile(filepath.Join(args[0], name), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		o.Files = append(o.Files, f)
	}
	l, err := ledger.New(o)
	if err == nil {
		err = l.Start()
	}
	if err != nil {
		return err
	}
	d := sidecars.Decision{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Service: sidecars.Egress, Verdict: sidecars.Allow, Rule: "api.example.com",
		Method: "GET", Scheme: "https", Host: "api.example.com", Port: 443, Path: "/v1/items", Status: 200, BytesIn: 120, Duration: 12 * time.Millisecond,
	}
	no := sidecars.Decision{
		Time: d.Time, Service: sidecars.Egress, Verdict: sidecars.Deny, Layer: "host", Reason: "host_not_allowed",
		Message: "No route allows this host.", Method: "CONNECT", Host: "evil.example", Port: 443, Status: 403,
	}
	for _, one := range []sidecars.Decision{d, no, d} {
		l.AddNow(one)
	}
	if err := l.Close(); err != nil || len(args) < 3 {
		return err
	}
	path := filepath.Join(args[0], ledger.Names()[0])
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, bytes.Replace(data, []byte(args[1]), []byte(args[2]), 1), 0o600)
}

// Columns take nothing of a hostile line to the terminal, and have colour only
// when asked to.
func TestEntryLine(t *testing.T) {
	e := ledger.Entry{Decision: sidecars.Decision{
		Verdict: sidecars.Deny, Layer: "ho\x1bst", Reason: "x\x1b[2J", Method: "GET\r", Host: "a\x1b]0;\u202e", Port: 443,
		Path: "/\x07" + strings.Repeat("p", 500), Message: "\x1b",
	}}
	for _, kind := range []ledger.Type{ledger.TypeDecision, ledger.TypeBegin, ledger.TypeNote, "\x1b[31m"} {
		e.Type = kind
		if text := entryLine(style{}, &e); strings.ContainsAny(text, "\x1b\r\x07\n\u202e") || len(text) > 400 {
			t.Errorf("%q: %q", kind, text)
		}
	}
	e.Type = ledger.TypeDecision
	if text := entryLine(style{on: true}, &e); !strings.Contains(text, "\x1b[1;31mdeny \x1b[0m") {
		t.Errorf("no colour: %q", text)
	}
}

func TestLastLines(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "egress.jsonl")
	line := `{"verdict":"allow","path":"` + strings.Repeat("x", 200) + `"}` + "\n"
	const total = 3000 // more than one window
	if err := os.WriteFile(path, []byte(strings.Repeat(line, total)+"half"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := ledger.NewReader([]*os.File{f})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 20, 290, 1000, total, total + 5} {
		if got, want := lastLines(r, n), int64(max(0, total-n)*len(line)); got != want {
			t.Errorf("the last %d lines begin at %d, want %d", n, got, want)
		}
	}
	if got := lastLines(r, 0); got != r.End() {
		t.Errorf("no lines begin at %d, want %d", got, r.End())
	}
}

// The last lines are counted right behind a line that is too long to be one.
func TestLastLinesAroundLongOnes(t *testing.T) {
	long := strings.Repeat("x", ledger.MaxLine+1) + "\n"
	for _, tt := range []struct {
		name, text string
		n          int
		want       string
	}{
		{"none", "a\nb\nc\n", 0, ""},
		{"one", "a\nb\nc\n", 1, "c\n"},
		{"more than there are", "a\nb\n", 9, "a\nb\n"},
		{"behind a long line", "a\n" + long + "b\nc\n", 2, "b\nc\n"},
		{"across a long line", "a\n" + long + "b\nc\n", 3, "a\n" + long + "b\nc\n"},
		{"half a line", "a\nb\nc", 1, "b\nc"},
		{"a long line alone", long, 3, long},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			r, err := ledger.NewReader([]*os.File{f})
			if err != nil {
				t.Fatal(err)
			}
			if got := tt.text[lastLines(r, tt.n):]; got != tt.want {
				t.Errorf("got %d bytes, want %d: %.20q", len(got), len(tt.want), got)
			}
		})
	}
}
