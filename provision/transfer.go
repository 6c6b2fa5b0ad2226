package provision

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/archive"
)

// maxSkips is how many left-out entries a report lists.
const maxSkips = 100

// transfer is one copy into a guest.
type transfer struct {
	source archive.Source
	guest  string // directory to unpack below
	user   string
	pack   archive.PackOptions
	limit  int64 // of the stream; 0 = none
	asFile bool  // guest is the file itself, unless it is a directory
	digest bool  // the digest of the only file is wanted, which costs as much as its copy
}

// CopyIn packs the host path (inside the roots) into the guest. For a bottle that
// calls, the host path is one of its own file system. The guest path is a directory, which is made when it is missing; for a single file it is the
// file itself, unless it ends with "/" or a directory is there.
func (m *Manager) CopyIn(ctx context.Context, who Principal, id backend.ID, host, guest string, opts CopyOptions) (CopyResult, error) {
	engine, err := m.usable(who, id)
	if err != nil {
		return CopyResult{}, err
	}
	intoDir := strings.HasSuffix(guest, "/")
	if guest, err = guestPath(guest); err != nil {
		return CopyResult{}, err
	}
	if who.Kind == Guest {
		return m.copyFromCaller(ctx, who, host, place{engine: engine, id: id, path: guest, intoDir: intoDir}, opts)
	}
	h, err := m.roots.resolve("host path", host, forReading)
	if err != nil {
		return CopyResult{}, err
	}
	root, err := h.open()
	if err != nil {
		return CopyResult{}, fmt.Errorf("copy %s into bottle %s: %w", host, id, err)
	}
	defer func() { _ = root.Close() }()
	info, err := root.Lstat(h.rel)
	if err != nil {
		return CopyResult{}, fmt.Errorf("copy %s into bottle %s: %w", host, id, err)
	}
	source := archive.Source{Root: root, Name: h.rel}
	pack, err := m.withoutSecrets(ctx, source, info.IsDir())
	if err != nil {
		return CopyResult{}, err
	}
	pack.Exclude = opts.Exclude
	result, err := send(ctx, engine, id, transfer{
		source: source, guest: guest, user: opts.User, pack: pack, asFile: !info.IsDir() && !intoDir, digest: true,
	})
	if err != nil {
		return result, fmt.Errorf("copy %s into bottle %s: %w", host, id, err)
	}
	return result, nil
}

// send packs on the host and unpacks in the guest.
func send(ctx context.Context, engine backend.Backend, id backend.ID, t transfer) (CopyResult, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w, err := newPipe()
	if err != nil {
		return CopyResult{}, err
	}
	var digest *digester
	if t.digest {
		digest = newDigester()
	}
	var packed backend.CopyReport
	packErr := make(chan error, 1)
	go func() {
		var err error
		to := io.Writer(w)
		if digest != nil {
			to = io.MultiWriter(w, digest)
		}
		if t.limit > 0 {
			to = &capped{w: to, left: t.limit}
		}
		packed, err = archive.Pack(ctx, to, t.source, t.pack)
		_ = w.Close() // without an end mark the guest knows the archive to be cut
		packErr <- err
	}()
	// A read or write that waits for the other side must not outlive the call.
	stop := context.AfterFunc(ctx, func() { _ = r.Close() })
	defer stop()
	report, err := engine.Copy(ctx, id, backend.CopySpec{
		Direction: backend.CopyIn, Path: t.guest, User: t.user, AsFile: t.asFile, Reader: backend.PipeEnd{File: r},
	})
	_ = r.Close()
	failed := <-packErr
	sum := ""
	if digest != nil {
		sum = digest.sum()
	}
	if failed != nil && !errors.Is(failed, syscall.EPIPE) && ctx.Err() == nil {
		err = failed // the host's side broke, and the guest only saw the end of it
	}
	report.Skipped = append(packed.Skipped, report.Skipped...)
	report.SkippedMore += packed.SkippedMore
	return outcome(report, sum), err
}

// pipeSize is what a copy's pipe holds, as far as the host allows: fewer turns
// between the two sides.
const pipeSize = 1 << 20

// newPipe makes a pipe for one copy. Its guest end travels as a descriptor.
func newPipe() (r, w *os.File, err error) {
	r, w, err = os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("make a pipe for the copy: %w", err)
	}
	growPipe(w, pipeSize)
	return r, w, nil
}

// outcome bounds the list of skips and keeps the digest when it is of the one
// file that arrived.
func outcome(report backend.CopyReport, sum string) CopyResult {
	if over := len(report.Skipped) - maxSkips; over > 0 {
		report.SkippedMore += over
		report.Skipped = report.Skipped[:maxSkips]
	}
	if report.Skipped == nil {
		report.Skipped = []backend.Skip{}
	}
	if report.Files != 1 {
		sum = ""
	}
	return CopyResult{CopyReport: report, SHA256: sum}
}

// CopyOut unpacks the guest path below the host path (inside the roots; for a
// bottle that calls, in its own file system), which is made when it is missing; for a single file it is the file itself, unless
// it ends with "/" or a directory is there.
func (m *Manager) CopyOut(ctx context.Context, who Principal, id backend.ID, guest, host string, opts CopyOptions) (CopyResult, error) {
	engine, err := m.usable(who, id)
	if err != nil {
		return CopyResult{}, err
	}
	if guest, err = guestPath(guest); err != nil {
		return CopyResult{}, err
	}
	if err := checkExclude(opts.Exclude); err != nil {
		return CopyResult{}, err
	}
	if who.Kind == Guest {
		return m.copyToCaller(ctx, who, place{engine: engine, id: id, path: guest}, host, opts)
	}
	intoDir := strings.HasSuffix(host, "/")
	h, err := m.roots.resolve("host path", host, forWriting)
	if err != nil {
		return CopyResult{}, err
	}
	result, err := m.receive(ctx, engine, id, fetch{guest: guest, host: h, exclude: opts.Exclude, intoDir: intoDir})
	if err != nil {
		return result, fmt.Errorf("copy %s out of bottle %s: %w", guest, id, err)
	}
	return result, nil
}

// fetch is one copy out of a guest.
type fetch struct {
	guest   string
	host    hostPath
	exclude []string
	intoDir bool // a single file goes below host, whatever is there
}

// receive packs in the guest and unpacks on the host. The stream is hostile.
func (m *Manager) receive(ctx context.Context, engine backend.Backend, id backend.ID, f fetch) (CopyResult, error) {
	var report backend.CopyReport
	sum := ""
	packed, err := stream(ctx, engine, id, f.guest, func(ctx context.Context, r io.Reader) error {
		digest := newDigester()
		defer func() { sum = digest.sum() }()
		wanted := filter(r, f.exclude)
		defer func() { _ = wanted.Close() }()
		var err error
		report, err = m.unpack(ctx, io.TeeReader(wanted, digest), f)
		return err
	})
	report.Skipped = append(report.Skipped, packed.Skipped...)
	report.SkippedMore += packed.SkippedMore
	return outcome(report, sum), err
}

// stream runs a copy out of the guest and hands its bytes to use. The error is
// that of the side that failed first.
func stream(ctx context.Context, engine backend.Backend, id backend.ID, guest string, use func(context.Context, io.Reader) error) (backend.CopyReport, error) {
	caller := ctx // it ends before what is made from it, and then the guest's side may end first
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w, err := newPipe()
	if err != nil {
		return backend.CopyReport{}, err
	}
	defer func() { _ = r.Close() }()
	var packed backend.CopyReport
	packErr := make(chan error, 1)
	go func() {
		var err error
		packed, err = engine.Copy(ctx, id, backend.CopySpec{Direction: backend.CopyOut, Path: guest, Writer: backend.PipeEnd{File: w}})
		_ = w.Close()
		packErr <- err
	}()
	stop := context.AfterFunc(ctx, func() { _ = r.Close() })
	defer stop()
	useErr := use(ctx, r)
	ended := caller.Err()
	if useErr == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(r, maxTrailer))
	} else {
		cancel() // nobody reads any more: the guest's side is to end and not to wait
	}
	_ = r.Close()
	guestErr := <-packErr
	switch {
	case ended != nil:
		return packed, context.Cause(caller)
	case useErr != nil && (guestErr == nil || !errors.Is(useErr, guestErr) && !errors.Is(useErr, archive.ErrTruncated)):
		return packed, useErr
	}
	return packed, guestErr
}

// maxTrailer is how much is read behind the end of an archive so that its
// writer can finish.
const maxTrailer = 1 << 20

// unpack looks at the first entry to find out whether a directory or a single
// file comes, and unpacks to the right place.
func (m *Manager) unpack(ctx context.Context, r io.Reader, f fetch) (backend.CopyReport, error) {
	none := backend.CopyReport{}
	first, r, err := firstEntry(r)
	if err != nil {
		return none, err
	}
	opts := archive.UnpackOptions{MaxBytes: m.cfg.MaxCopyOut}
	rel := f.host.rel
	root, err := f.host.open()
	if err != nil {
		return none, err
	}
	defer func() { _ = root.Close() }()
	if first.Typeflag != tar.TypeDir && rel != "." && !f.intoDir {
		if info, err := root.Stat(rel); err != nil || !info.IsDir() {
			// Only the file itself may come: its directory was not asked for.
			rel, opts.As, opts.MaxEntries = filepath.Dir(rel), filepath.Base(rel), 1
		}
	}
	_, missing := root.Lstat(rel)
	if err := root.MkdirAll(rel, 0o755); err != nil {
		return none, fmt.Errorf("make the directory: %w", err)
	}
	dst, err := root.OpenRoot(rel)
	if err != nil {
		return none, err
	}
	defer func() { _ = dst.Close() }()
	opts.RootMeta = errors.Is(missing, fs.ErrNotExist) && first.Typeflag == tar.TypeDir
	return archive.Unpack(ctx, r, dst, opts)
}

// maxFirst bounds what is kept of an archive to find its first entry. In front of
// one there may be headers that belong to it, and a hostile guest sends them
// without end.
const maxFirst = 4 << 20

// firstEntry looks at an archive's first entry and gives the whole archive back.
func firstEntry(r io.Reader) (*tar.Header, io.Reader, error) {
	var seen bytes.Buffer
	head := &limited{r: r, left: maxFirst}
	first, err := tar.NewReader(io.TeeReader(head, &seen)).Next()
	if err != nil {
		return nil, nil, fmt.Errorf("read the first entry: %w", truncated(err))
	}
	return first, io.MultiReader(&seen, r), nil
}

func truncated(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", archive.ErrTruncated, err)
	}
	return err
}

// filter leaves entries out of an archive. Without patterns it is r itself.
// Close it, or what it runs stays.
func filter(r io.Reader, exclude []string) io.ReadCloser {
	if len(exclude) == 0 {
		return io.NopCloser(r)
	}
	out, w := io.Pipe()
	go func() { w.CloseWithError(copyEntries(w, r, exclude)) }()
	return out
}

func copyEntries(w io.Writer, r io.Reader, exclude []string) error {
	in, out := tar.NewReader(r), tar.NewWriter(w)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return out.Close()
		}
		if err != nil {
			return err
		}
		if excluded(h.Name, exclude) {
			continue
		}
		h.Format = tar.FormatPAX
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(out, in); err != nil { //nolint:gosec // the unpacker bounds it
			return err
		}
	}
}

// excluded reports whether a pattern matches the entry or a directory it is in.
func excluded(name string, exclude []string) bool {
	for at := strings.TrimSuffix(path.Clean(name), "/"); at != "." && at != "/" && at != ""; at = path.Dir(at) {
		if slices.ContainsFunc(exclude, func(pattern string) bool {
			onPath, _ := path.Match(pattern, at)
			onBase, _ := path.Match(pattern, path.Base(at))
			return onPath || onBase
		}) {
			return true
		}
	}
	return false
}

func checkExclude(patterns []string) error {
	for _, p := range patterns {
		if _, err := path.Match(p, "x"); err != nil {
			return &InvalidError{Field: "exclude", Problem: fmt.Sprintf("pattern %.80q is malformed", p)}
		}
	}
	return nil
}

// maxGuestPath is PATH_MAX.
const maxGuestPath = 4096

// guestPath checks a path in the guest.
func guestPath(p string) (string, error) {
	if !path.IsAbs(p) || strings.ContainsRune(p, 0) || len(p) > maxGuestPath {
		return "", &InvalidError{Field: "guest path", Problem: fmt.Sprintf("%.200q is not an absolute path; begin it with '/'", p)}
	}
	return path.Clean(p), nil
}
