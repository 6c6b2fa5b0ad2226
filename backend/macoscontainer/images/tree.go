package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

// Bounds of a build context.
const (
	maxContextBytes   = 2 << 30
	maxContextEntries = 100_000
	maxSkipped        = 20 // that are named
)

// contextLimits are the bounds; tests have smaller ones.
type contextLimits struct {
	bytes   int64
	entries int
}

// tree is what was read of a build context.
type tree struct {
	sum     string // of names, modes and contents
	skipped []string
	more    int // skipped beyond those
}

// tellSkipped says what of the context a build will not find.
func (t tree) tellSkipped(log *buildLog) {
	for _, s := range t.skipped {
		log.say("left out of the build context: " + s)
	}
	if t.more > 0 {
		log.say(fmt.Sprintf("left out of the build context: %d more", t.more))
	}
}

// treeReader reads a context, and copies it when there is somewhere to.
type treeReader struct {
	ctx     context.Context
	from    *os.Root
	to      *os.Root // nil = only read
	limits  contextLimits
	sum     *fieldHash
	bytes   int64
	entries int
	tree    tree
}

// readTree reads the context in dir ("" = an empty one) and copies it into to,
// unless that is nil. Symlinks are never followed. Sockets, FIFOs, devices and
// symlinks that lead out of the context are left out: some releases of the
// engine follow the latter on the host, whose files would end up in a guest.
func readTree(ctx context.Context, dir string, to *os.Root) (tree, error) {
	return readTreeWithin(ctx, dir, to, contextLimits{bytes: maxContextBytes, entries: maxContextEntries})
}

func readTreeWithin(ctx context.Context, dir string, to *os.Root, limits contextLimits) (tree, error) {
	r := &treeReader{ctx: ctx, to: to, limits: limits, sum: newHash("context 1")}
	if dir == "" {
		return tree{sum: r.sum.sum()}, nil
	}
	from, err := os.OpenRoot(dir)
	if err != nil {
		return tree{}, fmt.Errorf("read the build context: %w", err)
	}
	defer func() { _ = from.Close() }()
	r.from = from
	if err := fs.WalkDir(from.FS(), ".", r.visit); err != nil {
		return tree{}, fmt.Errorf("build context %s: %w", dir, err)
	}
	r.tree.sum = r.sum.sum()
	return r.tree, nil
}

// visit takes one entry; names come in order.
func (r *treeReader) visit(name string, d fs.DirEntry, err error) error {
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	if err != nil || name == "." {
		return err
	}
	if r.entries++; r.entries > r.limits.entries {
		return fmt.Errorf("it has more than %d entries: name a smaller directory as the context", r.limits.entries)
	}
	switch d.Type() {
	case fs.ModeDir:
		return r.dir(name, d)
	case fs.ModeSymlink:
		return r.link(name)
	case 0:
		return r.file(name)
	}
	r.skip(name, "it is no file, directory or symlink")
	return nil
}

func (r *treeReader) skip(name, reason string) {
	if len(r.tree.skipped) >= maxSkipped {
		r.tree.more++
		return
	}
	r.tree.skipped = append(r.tree.skipped, name+": "+reason)
}

func (r *treeReader) dir(name string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	perm := info.Mode().Perm()
	r.sum.add("dir", name, perm.String())
	if r.to == nil {
		return nil
	}
	if err := r.to.Mkdir(name, 0o700); err != nil {
		return err
	}
	return r.to.Chmod(name, perm|0o700) // we write into it, and remove it
}

func (r *treeReader) link(name string) error {
	target, err := r.from.Readlink(name)
	if err != nil {
		return err
	}
	if !inside(name, target) {
		r.skip(name, "it leads out of the context")
		return nil
	}
	r.sum.add("link", name, target)
	if r.to == nil {
		return nil
	}
	return r.to.Symlink(target, name)
}

// inside reports whether a symlink stays in the context wherever other symlinks
// on its way lead: it goes up only at its beginning, from a directory that is
// real, and no further than the context.
func inside(name, target string) bool {
	if target == "" || path.IsAbs(target) {
		return false
	}
	depth, down := strings.Count(name, "/"), false
	for element := range strings.SplitSeq(target, "/") {
		switch element {
		case "", ".":
		case "..":
			if depth--; down || depth < 0 {
				return false
			}
		default:
			down = true
		}
	}
	return true
}

func (r *treeReader) file(name string) error {
	from, err := openRegular(r.from.OpenFile, name)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	perm := info.Mode().Perm()
	content := sha256.New()
	var to io.Writer = content
	var copied *os.File
	if r.to != nil {
		if copied, err = r.to.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
			return err
		}
		to = io.MultiWriter(content, copied)
	}
	err = r.copy(to, from)
	if copied != nil {
		err = errors.Join(err, copied.Chmod(perm), copied.Close())
	}
	r.sum.add("file", name, perm.String(), hex.EncodeToString(content.Sum(nil)))
	return err
}

// copy keeps within the bound for all files together, also of one that grows.
func (r *treeReader) copy(to io.Writer, from io.Reader) error {
	n, err := io.Copy(to, io.LimitReader(contextReader{r.ctx, from}, r.limits.bytes-r.bytes+1))
	if r.bytes += n; err == nil && r.bytes > r.limits.bytes {
		return fmt.Errorf("it has more than %d MiB: name a smaller directory as the context", r.limits.bytes>>20)
	}
	return err
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}

// openRegular opens a file that may be something else by now, without waiting
// for the other end of a FIFO.
func openRegular(open func(string, int, os.FileMode) (*os.File, error), name string) (*os.File, error) {
	f, err := open(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file any more", name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// fieldHash is a digest of fields that cannot run into each other.
type fieldHash struct{ h hash.Hash }

func newHash(purpose string) *fieldHash {
	f := &fieldHash{sha256.New()}
	f.add(purpose)
	return f
}

func (f *fieldHash) add(fields ...string) {
	for _, field := range fields {
		_, _ = fmt.Fprintf(f.h, "%d:%s,", len(field), field) // a hash takes everything
	}
	_, _ = io.WriteString(f.h, "\n")
}

func (f *fieldHash) sum() string { return hex.EncodeToString(f.h.Sum(nil)) }
