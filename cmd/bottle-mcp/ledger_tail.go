package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
)

// tailing is what of a ledger is shown.
type tailing struct {
	lines  int
	follow bool
	json   bool
}

func newLedgerTail(c *cli) *cobra.Command {
	var source ledgerSource
	var t tailing
	cmd := &cobra.Command{
		Use:   "tail [FILE…|DIR]",
		Short: "Print the newest lines of a ledger, and what is added",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := source.check("ledger tail", args); err != nil {
				return err
			}
			if t.lines < 0 {
				return usagef("ledger tail", "-n %d is no number of lines", t.lines)
			}
			return c.tailLedger(cmd.Context(), source, t)
		},
	}
	source.add(cmd)
	flags := cmd.Flags()
	flags.BoolVarP(&t.follow, "follow", "f", false, "go on with what is added, until interrupted")
	flags.IntVarP(&t.lines, "lines", "n", 20, "how many lines to begin with")
	flags.BoolVar(&t.json, "json", false, "print the lines as they are")
	return cmd
}

func (c *cli) tailLedger(ctx context.Context, s ledgerSource, t tailing) error {
	st := c.con.outStyle()
	return c.followLedger(ctx, s, t, func(line []byte) {
		e, err := ledger.Decode(line)
		switch {
		case t.json && err == nil:
			c.con.printf("%s", line)
		case t.json:
		case err != nil:
			c.con.printf("%s\n", st.red("a line that is no entry: "+oneLine(string(line), 60)))
		default:
			c.con.printf("%s\n", entryLine(st, &e))
		}
	})
}

// lastLines finds where the last n lines begin. What is before them is read in
// steps backwards: a ledger may be large.
func lastLines(r *ledger.Reader, n int) int64 {
	if n == 0 {
		return r.End()
	}
	for window := int64(64 << 10); ; window *= 4 {
		from := max(0, r.End()-window)
		in, start := r.From(from, r.End()-from)
		var starts []int64
		_, err := ledger.LinesAt(in, func(at int64, _ []byte) error {
			starts = append(starts, start+at)
			return nil
		})
		whole := start > from || from == 0
		if err != nil || whole || len(starts) > n {
			if len(starts) == 0 {
				return start
			}
			return starts[max(0, len(starts)-n)]
		}
	}
}

// entryLine is an entry in columns.
func entryLine(st style, e *ledger.Entry) string {
	at := st.faint(e.Time.Local().Format("15:04:05.000"))
	if e.Type != ledger.TypeDecision && e.Type != ledger.TypeBegin && e.Type != ledger.TypeProgress {
		text := string(e.Type)
		if e.Message != "" {
			text += ": " + e.Message
		}
		return at + "  " + st.faint(oneLine(text, 100))
	}
	verdict := fmt.Sprintf("%-5s", oneLine(e.Verdict, 5))
	switch {
	case e.Type != ledger.TypeDecision:
		verdict = st.faint(fmt.Sprintf("%-5s", "open"))
	case e.Verdict == sidecars.Deny:
		verdict = st.red(verdict)
	default:
		verdict = st.green(verdict)
	}
	target := oneLine(e.Host, 80)
	if e.Port != 0 {
		target += ":" + strconv.Itoa(e.Port)
	}
	text := fmt.Sprintf("%s  %s  %-7s %s%s", at, verdict, oneLine(e.Method, 10), target, oneLine(e.Path, 80))
	if e.Status != 0 {
		text += "  " + strconv.Itoa(e.Status)
	}
	if e.BytesOut+e.BytesIn > 0 {
		text += fmt.Sprintf("  %d↑ %d↓", e.BytesOut, e.BytesIn)
	}
	if e.Duration >= time.Millisecond {
		text += "  " + e.Duration.Round(time.Millisecond).String()
	}
	if e.Reason != "" {
		text += "  " + st.yellow(oneLine(e.Layer, 20)+": "+oneLine(e.Reason, 40))
	}
	return text
}
