package main

import (
	"io"
	"slices"
	"strconv"
	"strings"
)

// Modes of a terminal (DEC's private ones) that a program switches for itself
// and must switch back; one that is killed does not.
const cursorMode = 25

func watchedModes() []int {
	return []int{
		cursorMode,                                        // on by itself
		9, 1000, 1001, 1002, 1003, 1005, 1006, 1015, 1016, // the mouse
		1004, 2004, // focus and pasting
		47, 1047, 1049, // the other screen
	}
}

// maxModes bounds the parameters of one sequence: a longer one is none of those
// that matter.
const maxModes = 64

// modeWatcher passes output on and remembers which modes it has switched.
type modeWatcher struct {
	to io.Writer
	// sequence is a beginning of ESC [ ? numbers, without its introducer.
	sequence []byte
	state    int // of the introducer's three bytes, how many have come
	switched []int
}

// Write implements io.Writer.
func (m *modeWatcher) Write(p []byte) (int, error) {
	for _, b := range p {
		m.step(b)
	}
	return m.to.Write(p)
}

const introducer = "\x1b[?"

func (m *modeWatcher) step(b byte) {
	switch {
	case m.state < len(introducer) && b == introducer[m.state]:
		m.state++
	case m.state < len(introducer):
		m.restart(b)
	case (b >= '0' && b <= '9' || b == ';') && len(m.sequence) < maxModes:
		m.sequence = append(m.sequence, b)
	default:
		if b == 'h' || b == 'l' {
			m.switchTo(b == 'h')
		}
		m.restart(b)
	}
}

// restart looks for the next sequence, which b may begin.
func (m *modeWatcher) restart(b byte) {
	m.sequence, m.state = m.sequence[:0], 0
	if b == introducer[0] {
		m.state = 1
	}
}

func (m *modeWatcher) switchTo(on bool) {
	for text := range strings.SplitSeq(string(m.sequence), ";") {
		mode, err := strconv.Atoi(text)
		if err != nil || !slices.Contains(watchedModes(), mode) {
			continue
		}
		m.switched = slices.DeleteFunc(m.switched, func(other int) bool { return other == mode })
		if on != (mode == cursorMode) {
			m.switched = append(m.switched, mode)
		}
	}
}

// undo is what switches back, the latest first; "" when all is as it was.
func (m *modeWatcher) undo() string {
	if len(m.switched) == 0 {
		return ""
	}
	var b strings.Builder
	for _, mode := range slices.Backward(m.switched) {
		end := "l"
		if mode == cursorMode {
			end = "h"
		}
		b.WriteString(introducer + strconv.Itoa(mode) + end)
	}
	return b.String() + "\x1b[0m" // and the colours of whoever was so sudden
}
