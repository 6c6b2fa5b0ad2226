package engine

import (
	"bytes"
	"strings"
)

// unframe takes what a process wrote out of the lines of Podman's log: a time,
// the stream's name, F or P for a part of a line, and the text.
func unframe(log []byte) []byte {
	var out bytes.Buffer
	for line := range bytes.Lines(log) {
		fields := bytes.SplitN(line, []byte(" "), 4)
		if len(fields) < 4 {
			continue
		}
		text := fields[3]
		if string(fields[2]) == "P" {
			text = bytes.TrimSuffix(text, []byte("\n"))
		}
		out.Write(text)
	}
	return out.Bytes()
}

// Tail is the last n lines, blank ones left out.
func Tail(text string, n int) string {
	var lines []string
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "")
}
