package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// defaultWidth is the widest line this program prints; a narrower terminal
// narrows it. Text for people fits a split screen and a chat window.
const defaultWidth = 100

// console is the terminal side of the program: the three streams and what is
// known about them.
type console struct {
	in  io.Reader
	out io.Writer
	err io.Writer

	inTerminal  bool // a person can answer a question
	outTerminal bool
	errTerminal bool // progress may redraw its line
	colour      bool // of both outputs, each only when it is a terminal
	width       int
	openTTY     func() (*os.File, error) // the terminal of this session, wherever the streams lead
}

// newConsole looks at the streams and at the environment (NO_COLOR, TERM).
func newConsole(in, out, errOut *os.File) *console {
	c := &console{
		in:          in,
		out:         out,
		err:         errOut,
		inTerminal:  isTerminal(in),
		outTerminal: isTerminal(out),
		errTerminal: isTerminal(errOut),
		colour:      os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
		width:       defaultWidth,
		openTTY:     func() (*os.File, error) { return os.OpenFile("/dev/tty", os.O_RDWR, 0) },
	}
	if c.outTerminal {
		if columns, _, err := term.GetSize(int(out.Fd())); err == nil && columns > 0 {
			c.width = min(columns, defaultWidth)
		}
	}
	return c
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// printf writes to standard output. A failed write (a closed pipe) changes
// nothing about what the program does, so it is not reported.
func (c *console) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(c.out, format, args...)
}

// notef writes one line to standard error.
func (c *console) notef(format string, args ...any) {
	_, _ = fmt.Fprintf(c.err, format+"\n", args...)
}

// style is the set of text attributes of one output.
type style struct{ on bool }

func (c *console) outStyle() style { return style{on: c.colour && c.outTerminal} }
func (c *console) errStyle() style { return style{on: c.colour && c.errTerminal} }

func (s style) wrap(code, text string) string {
	if !s.on || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) bold(text string) string   { return s.wrap("1", text) }
func (s style) faint(text string) string  { return s.wrap("2", text) }
func (s style) red(text string) string    { return s.wrap("1;31", text) }
func (s style) green(text string) string  { return s.wrap("32", text) }
func (s style) yellow(text string) string { return s.wrap("33", text) }

// mark is the sign in front of a check.
func (s style) mark(ok bool) string {
	if ok {
		return s.green("✓")
	}
	return s.red("✗")
}

// oneLine makes text safe and short for one terminal line: what bottles,
// engines and guests say may hold anything, also control sequences.
func oneLine(text string, width int) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(text, "\uFFFD") {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			b.WriteByte(' ')
		case r < 0x20 || r >= 0x7f && r < 0xa0 || isFormatting(r):
			b.WriteRune('\uFFFD')
		default:
			b.WriteRune(r)
		}
	}
	runes := []rune(b.String())
	if width < 1 || len(runes) <= width {
		return string(runes)
	}
	return string(runes[:width-1]) + "…"
}

// isFormatting reports characters that reorder or hide text: bidirectional
// controls, zero-width ones and line separators.
func isFormatting(r rune) bool {
	return r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2060 && r <= 0x206f || r == 0xfeff
}
