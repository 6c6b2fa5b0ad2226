package workspace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/archive"
)

// maxListed bounds the list of what is left out; the rest is counted.
const maxListed = 100

// Options say what is looked for.
type Options struct {
	// MaxBytes and MaxEntries bound what is copied.
	MaxBytes   int64
	MaxEntries int
	// Secrets copies what looks like a credential too. It is the operator's word.
	Secrets bool
	// Plain applies the rules about credentials alone: no limits, and no care that
	// git works afterwards.
	Plain bool
	// Host is the directory's own path, Guest where it goes: both for files that
	// hold such a path.
	Host, Guest string
}

// Survey is what a directory holds and what of it is copied.
type Survey struct {
	Files int   // regular files that are copied
	Bytes int64 // of them
	// Skipped is what is left out, or copied with changes, and why.
	Skipped     []backend.Skip
	SkippedMore int

	opts    Options
	within  string // the source's directory below its root, for rules about parents
	omit    map[string]string
	replace map[string]archive.Replacement
}

// RefusedError is a directory that cannot be copied as it is.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

func refuse(format string, args ...any) error { return &RefusedError{fmt.Sprintf(format, args...)} }

// Look walks a directory, or looks at one file. Its error is a *RefusedError where
// the source is at fault.
func Look(ctx context.Context, src archive.Source, opts Options) (*Survey, error) {
	s := &Survey{opts: opts, within: src.Name, omit: map[string]string{}, replace: map[string]archive.Replacement{}, Skipped: []backend.Skip{}}
	if info, err := src.Root.Lstat(src.Name); err == nil && !info.IsDir() {
		s.within = path.Dir(src.Name)
	}
	for at := s.within; !opts.Secrets && at != "." && at != "/"; at = path.Dir(at) {
		if why := secretDir(at); why != "" {
			return nil, refuse("%.200q is %s; only the operator can have it copied (--copy-secrets)", at, why)
		}
	}
	l := &look{Survey: s, src: src, tops: map[string]int64{}}
	if err := archive.Walk(ctx, src, l.visit); err != nil {
		return nil, err
	}
	return s, nil
}

// Pack is how archive copies what the survey decided. Files that came after it
// are still judged by their names.
func (s *Survey) Pack() archive.PackOptions {
	return archive.PackOptions{Replace: s.replace, Omit: func(name string, dir bool) string {
		if why := s.omit[name]; why != "" {
			return why
		}
		return s.byName(name, dir)
	}}
}

// byName is the verdict of the rules that need no content.
func (s *Survey) byName(name string, dir bool) string {
	name = path.Join(s.within, name)
	if s.opts.Secrets || inGit(name) {
		return ""
	}
	if dir {
		if why := secretDir(name); why != "" {
			return "left out: it is " + why
		}
		return ""
	}
	if r := secretFile(name); r != nil && r.content == nil {
		return leftOut(r.what)
	}
	return ""
}

// look is a walk in progress.
type look struct {
	*Survey

	src     archive.Source
	entries int
	// tops are the bytes by the first element of the name, to say what is large.
	tops map[string]int64
	// before is what was counted before a linked worktree's directory, which may
	// turn out not to be copied.
	before struct {
		files int
		bytes int64
	}
}

func (l *look) visit(e archive.Entry) error {
	if l.entries++; l.entries > l.opts.MaxEntries && !l.opts.Plain {
		return refuse("it holds more than %d files and directories%s; name a smaller directory, or have the operator allow more", l.opts.MaxEntries, l.largest())
	}
	why, err := l.judge(e)
	if err != nil {
		return err
	}
	if why != "" {
		l.leave(e.Name, why)
		if e.Type == fs.ModeDir {
			return fs.SkipDir
		}
		return nil
	}
	if e.Type == 0 {
		l.Files++
		l.Bytes += e.Size
		top, _, _ := strings.Cut(e.Name, "/")
		l.tops[top] += e.Size
		if l.Bytes > l.opts.MaxBytes && !l.opts.Plain {
			return refuse("it holds more than %s%s; name a smaller directory, or have the operator allow more", size(l.opts.MaxBytes), l.largest())
		}
	}
	return nil
}

// judge says why an entry is left out, or "".
func (l *look) judge(e archive.Entry) (string, error) {
	full := path.Join(l.within, e.Name)
	if path.Base(full) == ".git" || inGit(full) {
		return "", l.git(e)
	}
	if why := l.byName(e.Name, e.Type == fs.ModeDir); why != "" || l.opts.Secrets || e.Type != 0 {
		return why, nil
	}
	r := secretFile(full)
	if r == nil {
		return "", nil
	}
	head, err := e.Head(maxHead)
	if err != nil {
		return "it cannot be read to see whether it holds a credential", nil //nolint:nilerr // the reason is in the report
	}
	if r.content(head) {
		return leftOut(r.what), nil
	}
	return "", nil
}

// leave notes what is left out.
func (s *Survey) leave(name, why string) {
	s.omit[name] = why
	s.report(name, why)
}

// change notes what is copied with other content.
func (s *Survey) change(name string, content []byte, why string) {
	s.replace[name] = archive.Replacement{Content: content, Reason: why}
	s.report(name, why)
}

func (s *Survey) report(name, why string) {
	if len(s.Skipped) == maxListed {
		s.SkippedMore++
		return
	}
	s.Skipped = append(s.Skipped, backend.Skip{Path: strings.ToValidUTF8(name, "\uFFFD"), Reason: why})
}

// largest names what takes most of the room, for an error.
func (l *look) largest() string {
	const most = 3
	names := make([]string, 0, len(l.tops))
	for name := range l.tops {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(l.tops[b], l.tops[a]), cmp.Compare(a, b))
	})
	var parts []string
	for _, name := range names[:min(most, len(names))] {
		parts = append(parts, fmt.Sprintf("%.60q %s", name, size(l.tops[name])))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (so far the largest: " + strings.Join(parts, ", ") + ")"
}

// size is a number of bytes for people.
func size(n int64) string {
	const unit = 1 << 10
	if n < unit {
		return fmt.Sprintf("%d bytes", n)
	}
	value, names := float64(n), "KMGTPE"
	i := -1
	for value >= unit && i < len(names)-1 {
		value /= unit
		i++
	}
	return fmt.Sprintf("%.1f %ciB", value, names[i])
}

// Refused reports whether err is the directory's own fault.
func Refused(err error) (string, bool) {
	var r *RefusedError
	if errors.As(err, &r) {
		return r.Reason, true
	}
	return "", false
}
