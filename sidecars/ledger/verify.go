package ledger

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"time"
)

// DamageError is where a ledger is not what was written.
type DamageError struct {
	File string `json:"file"`
	Line int    `json:"line"` // in the file, from 1; 0 = the file as a whole
	Why  string `json:"why"`
}

// Error implements error.
func (p *DamageError) Error() string {
	if p.Line == 0 {
		return fmt.Sprintf("%s: %s", p.File, p.Why)
	}
	return fmt.Sprintf("%s, line %d: %s", p.File, p.Line, p.Why)
}

// Report is what Verify found.
type Report struct {
	Bottle  string    `json:"bottle"`
	Files   int       `json:"files"`
	Entries uint64    `json:"entries"`
	First   uint64    `json:"first"`
	Last    uint64    `json:"last"`
	Begin   time.Time `json:"begin"`
	End     time.Time `json:"end"`
	Head    string    `json:"head"`
	Counts  Counts    `json:"counts"`
	// Missed is how many lines before the first were dropped by rotation.
	Missed uint64 `json:"missed,omitempty"`
	// Stopped means that the last line ends the ledger in good order.
	Stopped bool `json:"stopped"`
	// Torn is the size of a last line that was cut short: a writer died, or is
	// writing just now.
	Torn int64 `json:"torn,omitempty"`
	// Anchored means that the head which was kept elsewhere was found.
	Anchored bool `json:"anchored"`
	// Problem is nil when everything holds.
	Problem *DamageError `json:"problem,omitempty"`
}

// verifier goes over the files of a ledger.
type verifier struct {
	Report
	chain  Chain
	anchor *Anchor
}

// Verify checks every line of a ledger, and that the head in anchor, when there
// is one, is in it.
func Verify(r *Reader, anchor *Anchor) Report {
	v := &verifier{anchor: anchor}
	v.Files = len(r.parts) + len(r.odd)
	v.Problem = v.check(r)
	v.Bottle, v.Head, v.Counts, v.Missed = v.chain.Bottle, v.chain.Head, v.chain.Counts, v.chain.Missed
	if v.Entries > 0 {
		v.Last = v.chain.Next - 1
	}
	v.Stopped = v.chain.Last == TypeStop
	return v.Report
}

func (v *verifier) check(r *Reader) *DamageError {
	if v.Files == 0 {
		if v.anchor != nil {
			return &DamageError{File: "the ledger", Why: "it is empty, and the host has seen lines of it"}
		}
		return nil
	}
	for i, p := range r.parts {
		if problem := v.file(p, i == len(r.parts)-1); problem != nil {
			if len(r.odd) > 0 && problem.Line == 1 {
				return odd(r.odd[0])
			}
			return problem
		}
	}
	for _, p := range r.odd {
		if !v.unfinished(p) {
			return odd(p)
		}
		v.Torn += p.size
	}
	if v.chain.Missed > 0 && v.Files < Segments-1 {
		return &DamageError{File: r.parts[0].file.Name(), Why: "the files before it are missing, and rotation did not drop them"}
	}
	return v.ends(r.parts[len(r.parts)-1].file.Name())
}

func odd(p part) *DamageError {
	return &DamageError{File: p.file.Name(), Line: 1, Why: "it does not begin as a file of a ledger does"}
}

// unfinished reports whether a writer died while it began this file.
func (v *verifier) unfinished(p part) bool {
	if v.chain.Last != TypeRotate || p.size >= MaxLine {
		return false
	}
	rest := make([]byte, p.size)
	_, err := p.file.ReadAt(rest, 0)
	return (err == nil || errors.Is(err, io.EOF)) && v.chain.torn(rest)
}

// ends checks the end of a ledger against the head that somebody else keeps.
func (v *verifier) ends(file string) *DamageError {
	switch {
	case v.anchor == nil || v.Anchored:
		return nil
	case v.anchor.Seq < v.chain.Missed:
		return nil // dropped by rotation since
	case v.anchor.Broken != "":
		return &DamageError{File: file, Why: "the host saw it damaged before: " + v.anchor.Broken}
	}
	return &DamageError{File: file, Why: fmt.Sprintf("it ends with line number %d, and the host has seen number %d: its end was cut off", v.chain.Next-1, v.anchor.Seq)}
}

// file checks one file. Only the last may end in half a line.
func (v *verifier) file(p part, last bool) *DamageError {
	in := bufio.NewReaderSize(io.NewSectionReader(p.file, 0, p.size), MaxLine)
	for n := 1; ; n++ {
		line, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0:
			return nil
		case errors.Is(err, io.EOF) && last && v.chain.torn(line):
			v.Torn = int64(len(line))
			return nil
		case errors.Is(err, io.EOF):
			return &DamageError{p.file.Name(), n, "it does not end, and is no beginning of the line that comes next"}
		case errors.Is(err, bufio.ErrBufferFull):
			return &DamageError{p.file.Name(), n, fmt.Sprintf("it has more than %d bytes", MaxLine)}
		case err != nil:
			return &DamageError{p.file.Name(), n, "it cannot be read: " + err.Error()}
		}
		if why := v.line(line); why != "" {
			return &DamageError{p.file.Name(), n, why}
		}
	}
}

// line checks one line; "" means that it is right.
func (v *verifier) line(line []byte) string {
	e, err := v.chain.Feed(line)
	if err != nil {
		return err.Error()
	}
	if v.Entries == 0 {
		v.First, v.Begin = e.Seq, e.Time
	}
	v.Entries++
	v.End = e.Time
	if v.anchor == nil || e.Seq != v.anchor.Seq {
		return ""
	}
	if e.Hash != v.anchor.Hash || e.Bottle != v.anchor.Bottle {
		return "the host has seen another line of this number: what is here was written anew"
	}
	v.Anchored = v.anchor.Broken == ""
	return ""
}
