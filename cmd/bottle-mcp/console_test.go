package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/bottle-mcp/bottle-mcp/provision"
)

func TestOneLine(t *testing.T) {
	tests := []struct {
		name, in, want string
		width          int
	}{
		{"plain", "plain", "plain", 0},
		{"newlines and tabs", "a\nb\tc\r", "a b c ", 0},
		{"escape", "\x1b[31mred", "\uFFFD[31mred", 0},
		{"c1", "a\u009b31m", "a\uFFFD31m", 0},
		{"not UTF-8", "a\xff\xfeb", "a\uFFFDb", 0},
		{"direction override", "a\u202eb", "a\uFFFDb", 0},
		{"cut", "abcdef", "abc…", 4},
		{"fits", "abcd", "abcd", 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := oneLine(tt.in, tt.width); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzOneLine(f *testing.F) {
	f.Add("plain", 10)
	f.Add("\x1b]0;title\a\u202e\xff", 5)
	f.Fuzz(func(t *testing.T, text string, width int) {
		got := oneLine(text, width)
		if !utf8.ValidString(got) {
			t.Errorf("%q is not UTF-8", got)
		}
		if strings.ContainsFunc(got, unicode.IsControl) {
			t.Errorf("%q holds a control character", got)
		}
		if n := utf8.RuneCountInString(got); width > 0 && n > width {
			t.Errorf("%d characters, limit %d", n, width)
		}
	})
}

func TestWrapText(t *testing.T) {
	text := "some words " + strings.Repeat("x", 55) + " more words"
	lines := wrapText(text, 20)
	for _, line := range lines {
		if utf8.RuneCountInString(line) > 20 {
			t.Errorf("line of %d: %q", len(line), line)
		}
	}
	if got := strings.ReplaceAll(strings.Join(lines, ""), " ", ""); got != strings.ReplaceAll(text, " ", "") {
		t.Errorf("wrapping lost text: %q", lines)
	}
	if got := wrapText("", 20); len(got) != 1 {
		t.Errorf("no text gives %d lines", len(got))
	}
}

func TestPadIgnoresColour(t *testing.T) {
	s := style{on: true}
	if got := pad(s.red("ab"), 4); got != s.red("ab")+"  " {
		t.Errorf("got %q", got)
	}
}

func TestStyleOff(t *testing.T) {
	s := style{}
	if got := s.bold("a") + s.mark(true) + s.mark(false); got != "a✓✗" {
		t.Errorf("got %q", got)
	}
}

func TestProgressOnlyOnTerminals(t *testing.T) {
	for _, terminal := range []bool{true, false} {
		var out bytes.Buffer
		p := &progress{con: &console{err: &out, errTerminal: terminal, width: 30}}
		p.event(provision.Event{Step: "start-agent", Index: 1, Total: 2, Detail: strings.Repeat("long ", 20)})
		p.event(provision.Event{Step: "start-agent", Index: 1, Total: 2, Done: true})
		p.clear()
		p.clear()
		want := 0
		if terminal {
			want = 2 // one line, taken away once
		}
		if got := strings.Count(out.String(), clearLine); got != want {
			t.Errorf("terminal %v: the line was redrawn %d times, want %d", terminal, got, want)
		}
		if strings.Contains(out.String(), "\n") {
			t.Errorf("terminal %v: progress left a line behind", terminal)
		}
	}
}

func TestDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m01s",
		90 * time.Minute: "1h30m", 49 * time.Hour: "2d01h", -time.Minute: "-1m00s",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%d) is %q, want %q", d, got, want)
		}
	}
	if got := milliseconds(1234 * time.Microsecond); got != "1.2 ms" {
		t.Errorf("got %q", got)
	}
	if got := milliseconds(12345 * time.Millisecond); got != "12.3 s" {
		t.Errorf("got %q", got)
	}
}
