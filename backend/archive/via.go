package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// Bounds of what the guest's helper may say.
const (
	maxReportLine = 1 << 20
	maxComplaint  = 4 << 10
)

// errMalformed is the cause when the guest's report cannot be believed.
var errMalformed = errors.New("the guest's copy report is malformed; the guest may be tampering with it")

// ExecFunc runs one command in one guest: Backend.Exec with the id bound.
type ExecFunc func(ctx context.Context, cmd backend.Command, streams backend.Streams) (backend.ExitStatus, error)

// CopyVia is Backend.Copy for every engine that can execute: it runs
// GuestMain in the guest through exec, as the user of spec. The guest's report
// is hostile: bounded, strictly decoded and made printable, but its numbers
// are only as true as the guest is.
//
// Errors of the guest's side wrap fs.ErrNotExist, fs.ErrPermission, ErrLimit or
// ErrTruncated where they apply.
func CopyVia(ctx context.Context, exec ExecFunc, spec backend.CopySpec) (backend.CopyReport, error) {
	none := newTally().report
	if err := checkSpec(spec); err != nil {
		return none, err
	}
	report, noise := &tail{max: maxReportLine}, &tail{max: maxComplaint}
	cmd := backend.Command{Argv: []string{backend.GuestBinary, "guest", verbUnpack, spec.Path}, Dir: "/", User: spec.User}
	if spec.AsFile {
		cmd.Argv[2] = verbUnpackFile
	}
	streams := backend.Streams{Stdin: spec.Reader, Stdout: report, Stderr: noise}
	if spec.Direction == backend.CopyOut {
		cmd.Argv[2] = verbPack
		streams = backend.Streams{Stdout: spec.Writer, Stderr: report}
	}
	status, err := exec(ctx, cmd, streams)
	if err != nil {
		return none, fmt.Errorf("copy %s: %w", spec.Path, err)
	}
	out, err := decodeOutcome(report.bytes())
	switch {
	case status.StartError != "":
		return none, fmt.Errorf("copy %s: the helper in the guest could not start: %s", spec.Path, printable(status.StartError))
	case err != nil && status.Code != 0:
		said := printable(strings.TrimSpace(string(noise.bytes()) + string(report.bytes())))
		return none, fmt.Errorf("copy %s: the helper in the guest ended with status %d: %q", spec.Path, status.Code, said)
	case err != nil:
		return none, fmt.Errorf("copy %s: %w", spec.Path, err)
	case out.Error != "":
		return out.Report, &guestError{text: "copy " + spec.Path + ": in the guest: " + printable(out.Error), kind: errorKinds[out.Kind]}
	case status.Code != 0:
		return out.Report, fmt.Errorf("copy %s: the helper in the guest ended with status %d", spec.Path, status.Code)
	}
	return out.Report, nil
}

func checkSpec(spec backend.CopySpec) error {
	switch {
	case !path.IsAbs(spec.Path) || strings.ContainsRune(spec.Path, 0):
		return fmt.Errorf("copy: guest path %q is not absolute; begin it with '/'", bounded(spec.Path))
	case spec.Direction == backend.CopyIn && spec.Reader != nil, spec.Direction == backend.CopyOut && spec.Writer != nil:
		return nil
	}
	return fmt.Errorf("copy %s: direction %d has no stream to go with it", spec.Path, spec.Direction)
}

// guestError is an error that happened in the guest.
type guestError struct {
	text string
	kind error
}

func (e *guestError) Error() string { return e.text }

// Unwrap gives the class, or nil.
func (e *guestError) Unwrap() error { return e.kind }

// decodeOutcome reads the last line of what the helper wrote.
func decodeOutcome(data []byte) (outcome, error) {
	data = bytes.TrimRight(data, "\n")
	data = data[bytes.LastIndexByte(data, '\n')+1:]
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var out outcome
	if err := dec.Decode(&out); err != nil {
		return outcome{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return outcome{}, fmt.Errorf("%w: something follows it", errMalformed)
	}
	r := &out.Report
	if min(int64(r.Files), int64(r.Dirs), int64(r.Symlinks), r.Bytes, int64(r.SkippedMore)) < 0 || len(r.Skipped) > maxSkips {
		return outcome{}, fmt.Errorf("%w: its counts are impossible", errMalformed)
	}
	if r.Skipped == nil {
		r.Skipped = []backend.Skip{}
	}
	for i, s := range r.Skipped {
		r.Skipped[i] = backend.Skip{Path: bounded(s.Path), Reason: printable(s.Reason)}
	}
	return out, nil
}

// printable makes guest text fit for an error: bounded, no control characters.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return '\uFFFD'
		}
		return r
	}, bounded(s))
}

// tail keeps the last bytes written to it.
type tail struct {
	max  int
	data []byte
}

// Write implements io.Writer and never fails: a chatty guest is not an error.
func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	if n > t.max {
		p = p[n-t.max:]
	}
	if over := len(t.data) + len(p) - 2*t.max; over > 0 {
		t.data = append(t.data[:0], t.bytes()...)
	}
	t.data = append(t.data, p...)
	return n, nil
}

func (t *tail) bytes() []byte { return t.data[max(0, len(t.data)-t.max):] }
