package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// report gathers rows and prints them as one Markdown table.
type report struct {
	o    options
	rows []row
}

type row struct{ what, ours, peer, ratio, bound, verdict string }

func newReport(o options) *report { return &report{o: o} }

func (r *report) add(x row) {
	r.rows = append(r.rows, x)
	fmt.Fprintf(os.Stderr, "%-60s %14s %14s %8s  %s\n", x.what, x.ours, x.peer, x.ratio, x.verdict)
}

// duration adds a row of medians; bound is met when ours ≤ limit (0: none) and
// ours/peer ≤ maxRatio (0: none).
func (r *report) duration(what string, ours, peer time.Duration, limit time.Duration, maxRatio float64) {
	x := row{what: what, ours: ms(ours)}
	ok := true
	if limit > 0 {
		x.bound = "≤ " + ms(limit)
		ok = ours <= limit
	}
	if peer > 0 {
		q := float64(ours) / float64(peer)
		x.peer, x.ratio = ms(peer), fmt.Sprintf("%.2f", q)
		if maxRatio > 0 {
			x.bound += fmt.Sprintf(" ratio ≤ %.2f", maxRatio)
			ok = ok && q <= maxRatio
		}
	}
	x.verdict = verdict(ok)
	r.add(x)
}

func verdict(ok bool) string {
	if ok {
		return "met"
	}
	return "MISSED"
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

// median of at least one duration.
func median(d []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return s[len(s)/2]
}

func (r *report) write(w io.Writer, path string) error {
	var u unix.Utsname
	_ = unix.Uname(&u) // an empty release says it all
	var b strings.Builder
	fmt.Fprintf(&b, "# Linux backend, measured %s\n\n", time.Now().UTC().Format("2006-01-02"))
	fmt.Fprintf(&b, "Command: `go run ./evals/bench %s`\n\n", strings.Join(quiet(os.Args[1:]), " "))
	fmt.Fprintf(&b, "Linux %s, %d cores, medians of %d launches; peers in the same run.\n\n",
		unix.ByteSliceToString(u.Release[:]), cores(), r.o.rounds)
	b.WriteString("| What | bottle-mcp | peer | ratio | bound | |\n|--|--|--|--|--|--|\n")
	for _, x := range r.rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", x.what, x.ours, x.peer, x.ratio, strings.TrimSpace(x.bound), x.verdict)
	}
	if path != "" {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			return fmt.Errorf("write the results: %w", err)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// quiet leaves directories of the machine out of the printed command.
func quiet(args []string) []string {
	var out []string
	for _, a := range args {
		if strings.HasPrefix(a, "/") {
			a = a[strings.LastIndexByte(a, '/')+1:]
		}
		out = append(out, a)
	}
	return out
}

func cores() int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return 0
	}
	return set.Count()
}
