package provision

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/archive"
)

// place is a path in a guest.
type place struct {
	engine  backend.Backend
	id      backend.ID
	path    string
	user    string // "" = the agent
	intoDir bool   // as a destination: a directory, even for a single file
}

// between is one copy from guest to guest. Neither side's bytes touch this host's
// file system: each guest works as its own user, and this host only counts.
type between struct {
	from, to place
	exclude  []string
	limit    int64 // of the stream
}

// copyBetween copies what is at from, as CopyIn and CopyOut do with the host.
func copyBetween(ctx context.Context, b between) (CopyResult, error) {
	var report backend.CopyReport
	sum := ""
	packed, err := stream(ctx, b.from.engine, b.from.id, b.from.path, func(ctx context.Context, r io.Reader) error {
		digest := newDigester()
		defer func() { sum = digest.sum() }()
		wanted := filter(&limited{r: r, left: b.limit}, b.exclude)
		defer func() { _ = wanted.Close() }()
		var err error
		report, err = b.unpack(ctx, io.TeeReader(wanted, digest))
		return err
	})
	report.Skipped = slices.Concat(report.Skipped, packed.Skipped)
	report.SkippedMore += packed.SkippedMore
	return outcome(report, sum), err
}

// unpack looks at the first entry to find out whether a single file comes.
func (b between) unpack(ctx context.Context, r io.Reader) (backend.CopyReport, error) {
	first, r, err := firstEntry(r)
	if err != nil {
		return backend.CopyReport{}, err
	}
	return b.to.engine.Copy(ctx, b.to.id, backend.CopySpec{
		Direction: backend.CopyIn, Path: b.to.path, User: b.to.user,
		AsFile: first.Typeflag != tar.TypeDir && !b.to.intoDir,
		Reader: r,
	})
}

// limited is a stream that fails beyond its limit: an end would look as if all had
// come.
type limited struct {
	r    io.Reader
	left int64
}

// Read implements io.Reader.
func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, fmt.Errorf("more is copied than one copy may hold: %w", archive.ErrLimit)
	}
	return n, err
}

// callerPlace is a path of the calling bottle, which takes the host's place in a
// bottle's copies.
func (m *Manager) callerPlace(who Principal, field, p string) (place, error) {
	r, err := m.caller(who)
	if err != nil {
		return place{}, err
	}
	at, intoDir, err := callerPath(field, p)
	if err != nil {
		return place{}, err
	}
	engine, err := m.engine(r.Backend)
	return place{engine: engine, id: r.ID, path: at, intoDir: intoDir}, err
}

// copyFromCaller is CopyIn for a bottle.
func (m *Manager) copyFromCaller(ctx context.Context, who Principal, host string, to place, opts CopyOptions) (CopyResult, error) {
	from, err := m.callerPlace(who, "host path", host)
	if err == nil {
		err = checkExclude(opts.Exclude)
	}
	if err != nil {
		return CopyResult{}, err
	}
	to.user = opts.User
	result, err := copyBetween(ctx, between{from: from, to: to, exclude: opts.Exclude, limit: m.cfg.MaxCopyOut})
	if err != nil {
		return result, fmt.Errorf("copy %s into bottle %s: %w", host, to.id, err)
	}
	return result, nil
}

// copyToCaller is CopyOut for a bottle.
func (m *Manager) copyToCaller(ctx context.Context, who Principal, from place, host string, opts CopyOptions) (CopyResult, error) {
	to, err := m.callerPlace(who, "host path", host)
	if err != nil {
		return CopyResult{}, err
	}
	result, err := copyBetween(ctx, between{from: from, to: to, exclude: opts.Exclude, limit: m.cfg.MaxCopyOut})
	if err != nil {
		return result, fmt.Errorf("copy %s out of bottle %s: %w", from.path, from.id, err)
	}
	return result, nil
}

// copyCallersWorkspace is copyWorkspace for a bottle that launches another one.
func copyCallersWorkspace(ctx context.Context, l *launch) (string, error) {
	p := l.r.parent
	result, err := copyBetween(ctx, between{
		from:  place{engine: p.engine, id: p.record.ID, path: l.r.callerDir},
		to:    place{engine: l.r.engine, id: l.plan.ID, path: backend.GuestWorkspace, intoDir: true},
		limit: l.m.streamLimit(),
	})
	if err != nil {
		return "", fmt.Errorf("copy the workspace %s: %w", strings.TrimSuffix(l.plan.Workspace.Host, "/"), err)
	}
	return l.copied(result), nil
}
