package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestModeWatcher(t *testing.T) {
	for name, tt := range map[string]struct{ output, undo string }{
		"plain text":         {"hello\r\n\x1b[31mred\x1b[0m", ""},
		"switched back":      {"\x1b[?1049h\x1b[?25lx\x1b[?25h\x1b[?1049l", ""},
		"killed":             {"\x1b[?1049h\x1b[?25l\x1b[?1000;1006hx", "\x1b[?1006l\x1b[?1000l\x1b[?25h\x1b[?1049l\x1b[0m"},
		"twice":              {"\x1b[?2004h\x1b[?2004h", "\x1b[?2004l\x1b[0m"},
		"never switched":     {"\x1b[?1049l\x1b[?25h", ""},
		"others":             {"\x1b[?7h\x1b[?12l\x1b[?99999h", ""},
		"no private mode":    {"\x1b[1049h", ""},
		"another end":        {"\x1b[?1049$p", ""},
		"broken off":         {"\x1b[?10\x1b[?1004h", "\x1b[?1004l\x1b[0m"},
		"escape twice":       {"\x1b\x1b[?1004h", "\x1b[?1004l\x1b[0m"},
		"too long":           {"\x1b[?" + strings.Repeat("1;", 100) + "1004h", ""},
		"no numbers":         {"\x1b[?;;;h\x1b[?h", ""},
		"more than a number": {"\x1b[?99999999999999999999h", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, chunk := range []int{1, 3, 1000} {
				var out bytes.Buffer
				m := &modeWatcher{to: &out}
				for rest := tt.output; rest != ""; rest = rest[min(chunk, len(rest)):] {
					if _, err := m.Write([]byte(rest[:min(chunk, len(rest))])); err != nil {
						t.Fatal(err)
					}
				}
				if out.String() != tt.output || m.undo() != tt.undo {
					t.Errorf("in pieces of %d: output %q, undo %q, want %q", chunk, out.String(), m.undo(), tt.undo)
				}
			}
		})
	}
}

// FuzzModeWatcher feeds a hostile command's output: it passes unchanged, what is
// remembered is bounded, and switching back leaves nothing to switch back.
func FuzzModeWatcher(f *testing.F) {
	f.Add([]byte("\x1b[?1049h\x1b[?25l\x1b[?1000;1006h"))
	f.Add([]byte("\x1b[?\x1b[?9h"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var out bytes.Buffer
		m := &modeWatcher{to: &out}
		if _, err := m.Write(data); err != nil || !bytes.Equal(out.Bytes(), data) {
			t.Fatalf("%q is passed as %q, %v", data, out.Bytes(), err)
		}
		if len(m.sequence) > maxModes || len(m.switched) > len(watchedModes()) {
			t.Fatalf("%d bytes and %d modes are kept", len(m.sequence), len(m.switched))
		}
		if _, err := m.Write([]byte("\x18" + m.undo())); err != nil || m.undo() != "" {
			t.Fatalf("after undo there is %q", m.undo())
		}
	})
}
