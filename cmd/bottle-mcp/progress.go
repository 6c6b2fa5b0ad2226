package main

import (
	"fmt"
	"time"

	"github.com/bottle-mcp/bottle-mcp/provision"
)

// clearLine returns the cursor to the margin and empties the line.
const clearLine = "\r\x1b[K"

// progress shows one line on a terminal while long work runs and takes it away
// afterwards. Elsewhere it prints nothing: a log is no place for a line that
// was true for ten milliseconds.
type progress struct {
	con   *console
	shown bool
}

// event is the reporter that provision calls.
func (p *progress) event(e provision.Event) {
	if e.Done {
		return
	}
	text := e.Step
	if e.Total > 0 {
		text = fmt.Sprintf("%s (%d of %d)", e.Step, e.Index, e.Total)
	}
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	p.show(text)
}

// show replaces the line.
func (p *progress) show(text string) {
	if !p.con.errTerminal {
		return
	}
	p.shown = true
	_, _ = fmt.Fprint(p.con.err, clearLine+p.con.errStyle().faint(oneLine(text, p.con.width-1)))
}

// clear takes the line away. Call it before anything else is printed.
func (p *progress) clear() {
	if p.shown {
		_, _ = fmt.Fprint(p.con.err, clearLine)
		p.shown = false
	}
}

// milliseconds prints a duration the way all reports do.
func milliseconds(d time.Duration) string {
	if d >= 10*time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// span prints a duration in its largest two units, for ages and limits.
func span(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < 0:
		return "-" + span(-d)
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
	}
}
