package export

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
)

// Format is a way to write decisions.
type Format string

// The formats.
const (
	HAR  Format = "har"  // HTTP Archive 1.2, of requests through the proxy
	CSV  Format = "csv"  // a line per decision, with a heading
	JSON Format = "json" // a JSON object per decision and line
)

// Writer takes one entry after the other, and Close.
type Writer interface {
	Write(e *ledger.Entry) error
	Close() error
}

// New returns a writer of a format. program is named as the creator.
func New(f Format, out io.Writer, program string) (Writer, error) {
	switch f {
	case HAR:
		return newHAR(out, program)
	case CSV:
		return newCSV(out)
	case JSON:
		return &jsonWriter{json.NewEncoder(out)}, nil
	}
	return nil, fmt.Errorf("there is no export format %.20q; use %s, %s or %s", string(f), HAR, CSV, JSON)
}

// Decisions reads the decisions of a ledger, and the exchanges that have no
// end: they stand where they began.
func Decisions(r *ledger.Reader, each func(*ledger.Entry) error) error {
	ended, err := endings(r)
	if err != nil {
		return err
	}
	return entries(r, func(e *ledger.Entry) error {
		if e.Type == ledger.TypeDecision || e.Type == ledger.TypeBegin && !ended[e.Exchange] {
			return each(e)
		}
		return nil
	})
}

func endings(r *ledger.Reader) (map[string]bool, error) {
	ended := map[string]bool{}
	err := entries(r, func(e *ledger.Entry) error {
		if e.Type == ledger.TypeDecision && e.Exchange != "" {
			ended[e.Exchange] = true
		}
		return nil
	})
	return ended, err
}

// entries reads all lines that are entries.
func entries(r *ledger.Reader, each func(*ledger.Entry) error) error {
	in, _ := r.From(0, r.End())
	_, err := ledger.Lines(in, func(line []byte) error {
		if e, err := ledger.Decode(line); err == nil { // what is none is told by who verifies
			safe(&e)
			return each(&e)
		}
		return nil
	})
	return err
}

// safe makes what a damaged ledger holds fit to show.
func safe(e *ledger.Entry) {
	d := &e.Decision
	for _, s := range []*string{&d.Host, &d.Path, &d.Method, &d.Message, &d.Rule, &d.Scheme, &d.Layer, &d.Reason, &d.Bottle, &d.Exchange} {
		*s = ledger.Clean(*s)
	}
	d.Service = sidecars.Service(ledger.Clean(string(d.Service)))
}

type jsonWriter struct{ enc *json.Encoder }

func (w *jsonWriter) Write(e *ledger.Entry) error { return w.enc.Encode(e) }
func (w *jsonWriter) Close() error                { return nil }

type csvWriter struct{ out *csv.Writer }

func newCSV(out io.Writer) (Writer, error) {
	w := &csvWriter{csv.NewWriter(out)}
	return w, w.out.Write([]string{
		"seq", "time", "bottle", "service", "verdict", "layer", "reason", "rule", "method", "scheme", "host", "port", "path", "status",
		"bytes_out", "bytes_in", "duration_ms", "message",
	})
}

func (w *csvWriter) Write(e *ledger.Entry) error {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	row := []string{
		strconv.FormatUint(e.Seq, 10), e.Time.UTC().Format(time.RFC3339Nano), e.Bottle, string(e.Service), e.Verdict, e.Layer, e.Reason,
		e.Rule, e.Method, e.Scheme, e.Host, number(int64(e.Port)), e.Path, number(int64(e.Status)),
		number(e.BytesOut), number(e.BytesIn), number(e.Duration.Milliseconds()), e.Message,
	}
	for i := range row {
		row[i] = inert(row[i])
	}
	return w.out.Write(row)
}

// inert keeps a spreadsheet from taking text of a guest for a formula.
func inert(field string) string {
	if field == "" {
		return field
	}
	switch field[0] {
	case '=', '+', '-', '@', '\t', '\r':
		return "'" + field
	}
	return field
}

func (w *csvWriter) Close() error {
	w.out.Flush()
	return w.out.Error()
}
