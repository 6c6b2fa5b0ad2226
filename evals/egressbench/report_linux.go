package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// report gathers rows and prints them as one Markdown table.
type report struct {
	o     options
	rows  []*row
	notes []string
}

// row is one figure of every way, and what was promised of ours.
type row struct {
	what   string
	format func(float64) string
	values map[string]float64
	bounds []bound
}

// bound is a promise about our figure as a share of a peer's, or by itself.
type bound struct {
	peer    string // "" = the figure itself
	least   bool   // at least; else at most
	must    float64
	stretch float64 // 0 = none
}

func newReport(o options) *report { return &report{o: o} }

func (r *report) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.notes = append(r.notes, text)
	fmt.Fprintln(os.Stderr, text)
}

func (r *report) row(what string, format func(float64) string, bounds ...bound) *row {
	x := &row{what: what, format: format, values: map[string]float64{}, bounds: bounds}
	r.rows = append(r.rows, x)
	return x
}

func atMost(peer string, must, stretch float64) bound {
	return bound{peer: peer, must: must, stretch: stretch}
}
func atLeast(peer string, must, stretch float64) bound {
	return bound{peer: peer, least: true, must: must, stretch: stretch}
}

// set puts a figure in and, with the last one, shows the row.
func (x *row) set(way string, v float64) { x.values[way] = v }

func (x *row) show() {
	var b strings.Builder
	for _, way := range []string{nameDirect, nameGoproxy, nameMitmdump, nameOurs} {
		fmt.Fprintf(&b, " %12s", x.cell(way))
	}
	fmt.Fprintf(os.Stderr, "%-52s%s  %s\n", x.what, b.String(), x.judged())
}

func (x *row) cell(way string) string {
	v, ok := x.values[way]
	if !ok {
		return "–"
	}
	return x.format(v)
}

// judged says of each promise what came of it.
func (x *row) judged() string {
	var out []string
	for _, b := range x.bounds {
		ours, have := x.values[nameOurs]
		sign := "≤"
		if b.least {
			sign = "≥"
		}
		text := fmt.Sprintf("%s %s", sign, x.format(b.must))
		if b.peer != "" {
			peer, ok := x.values[b.peer]
			have = have && ok && peer != 0
			ours /= peer
			text = fmt.Sprintf("%s %s × %s", sign, short(b.must), b.peer)
			if have {
				text = short(ours) + " " + text
			}
		}
		out = append(out, text+": "+b.verdict(ours, have))
	}
	return strings.Join(out, "; ")
}

func (b bound) verdict(v float64, have bool) string {
	holds := func(limit float64) bool { return b.least && v >= limit || !b.least && v <= limit }
	switch {
	case !have:
		return "not measured"
	case !holds(b.must):
		return "MISSED"
	case b.stretch != 0 && holds(b.stretch):
		return "met, and the stretch"
	}
	return "met"
}

func short(v float64) string {
	if v >= 10 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func (r *report) write(w io.Writer, path string) error {
	var u unix.Utsname
	_ = unix.Uname(&u) // an empty release says it all
	var b strings.Builder
	fmt.Fprintf(&b, "# Egress beside its peers, measured %s\n\n", time.Now().UTC().Format("2006-01-02"))
	fmt.Fprintf(&b, "Command: `go run ./evals/egressbench %s`\n\n", strings.Join(quiet(os.Args[1:]), " "))
	fmt.Fprintf(&b, "Linux %s, %s, %d processors, %s; client, proxy and origin share them, and others did. "+
		"Medians of rounds in which all take turns: compare within a row.\n\n", unix.ByteSliceToString(u.Release[:]), runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	b.WriteString("bottle-mcp is the sidecar as its own process with everything on: 33 routes, a credential put on, 11 secrets and all " +
		"patterns searched for in requests, injection looked for in answers, every answer searched for the credential, a line in the ledger for each request. " +
		"goproxy v1.9.3 intercepts with cached leaves and sets one header; mitmdump has an add-on that sets one header, and streams.\n\n")
	b.WriteString("| What | direct | goproxy | mitmdump | bottle-mcp | promised |\n|--|--|--|--|--|--|\n")
	for _, x := range r.rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", x.what, x.cell(nameDirect), x.cell(nameGoproxy), x.cell(nameMitmdump), x.cell(nameOurs), x.judged())
	}
	for _, n := range r.notes {
		b.WriteString("\n" + n + "\n")
	}
	if path != "" {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			return fmt.Errorf("write the results: %w", err)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// quiet leaves directories of the machine, and what the second start was given,
// out of the printed command.
func quiet(args []string) []string {
	var out []string
	for i := 0; i < len(args); i++ {
		if args[i] == "-peers" {
			i++
			continue
		}
		a := args[i]
		if strings.HasPrefix(a, "/") {
			a = a[strings.LastIndexByte(a, '/')+1:]
		}
		out = append(out, a)
	}
	return out
}

func micros(v float64) string    { return fmt.Sprintf("%.0f µs", v) }
func millis(v float64) string    { return fmt.Sprintf("%.1f ms", v) }
func perSecond(v float64) string { return fmt.Sprintf("%.0f/s", v) }
func speed(v float64) string     { return fmt.Sprintf("%.0f MB/s", v) }
func megabytes(v float64) string { return fmt.Sprintf("%.1f MB", v/1e6) }
func count(v float64) string     { return fmt.Sprintf("%.0f", v) }

// median of at least one number.
func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// quantile q of at least one duration, in microseconds.
func quantile(d []time.Duration, q float64) float64 {
	s := slices.Sorted(slices.Values(d))
	return float64(s[min(int(float64(len(s))*q), len(s)-1)].Nanoseconds()) / 1e3
}
