package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// Defaults of UnpackOptions.
const (
	defaultMaxBytes   = 64 << 30
	defaultMaxEntries = 4 << 20
)

// Unpack reads a tar stream from r into the directory dst.
//
// Files and links replace files and links of the same name as a whole, never
// through them; a directory is replaced by nothing, and nothing by one. What
// may not or cannot be unpacked is left out and reported: names that are
// absolute or hold "..", anything behind a symbolic link, links out of dst
// (see AnyLinks), devices, pipes, and set-id bits. An error means that not
// all of the stream is in place: it was broken (ErrTruncated when cut short),
// beyond the limits (ErrLimit), or the disk failed. A file that was cut short
// is removed again, and one that it would have replaced stays.
//
// A read that blocks is not ended by ctx; the caller closes r.
func Unpack(ctx context.Context, r io.Reader, dst *os.Root, opts UnpackOptions) (backend.CopyReport, error) {
	top, err := rootFD(dst)
	if err != nil {
		return newTally().report, fmt.Errorf("unpack: %w", err)
	}
	defer func() { _ = top.Close() }()
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = defaultMaxBytes
	}
	if opts.MaxEntries <= 0 {
		opts.MaxEntries = defaultMaxEntries
	}
	u := &unpacker{
		tally: newTally(), ctx: ctx, opts: opts,
		tar:  newDecoder(r),
		made: map[fileID]uint64{}, seed: maphash.MakeSeed(), buf: make([]byte, bufferSize),
	}
	u.tree = &tree{top: int(top.Fd()), made: u.own}
	defer u.tree.close()
	err = u.entries()
	u.applyMeta()
	return u.report, err
}

// unpacker is one run of Unpack.
type unpacker struct {
	tally
	ctx     context.Context
	opts    UnpackOptions
	tar     *decoder
	tree    *tree
	dirs    []dirMeta
	made    map[fileID]uint64 // what this run made: hash of the name
	seed    maphash.Seed
	buf     []byte
	entryNo int
	bytes   int64
}

func (u *unpacker) entries() error {
	for {
		if err := u.ctx.Err(); err != nil {
			return fmt.Errorf("unpack stopped: %w", err)
		}
		hdr, err := u.tar.next()
		if errors.Is(err, io.EOF) {
			return u.end()
		}
		if err != nil {
			return broken("read the next entry of the archive", err)
		}
		if err := u.entry(hdr); err != nil {
			return err
		}
	}
}

// end lets a sender finish that writes padding behind the end mark.
func (u *unpacker) end() error {
	if err := u.tar.rest(); err != nil {
		return broken("read the end of the archive", err)
	}
	return nil
}

// broken words an error of the stream.
func broken(what string, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", ErrTruncated, err)
	}
	return &streamError{fmt.Errorf("%s: %w", what, err)}
}

// streamError keeps a failed read apart from a failed write: the one ends the
// run, the other may concern one entry only.
type streamError struct{ error }

func (e *streamError) Unwrap() error { return e.error }

// entry unpacks one entry. Its error ends the run.
func (u *unpacker) entry(hdr *tar.Header) error {
	if hdr.Typeflag == tar.TypeXGlobalHeader {
		return nil // a comment, such as git's
	}
	if u.entryNo++; u.entryNo > u.opts.MaxEntries {
		return fmt.Errorf("unpack: %w: more than %d entries", ErrLimit, u.opts.MaxEntries)
	}
	if u.opts.As != "" && hdr.Typeflag != tar.TypeDir {
		hdr.Name = u.opts.As
	}
	parts, err := splitName(hdr.Name)
	if err == nil {
		err = u.place(hdr, parts)
	}
	var stream *streamError
	var refused *refusal
	var errno unix.Errno
	switch {
	case err == nil:
		return nil
	case errors.As(err, &stream):
		return err
	case errors.As(err, &refused):
		u.skip(hdr.Name, refused.reason)
		return nil
	case errors.As(err, &errno) && !fatal(err):
		u.skipf(hdr.Name, "it cannot be written: %v", err)
		return nil
	}
	return fmt.Errorf("unpack %q: %w", bounded(hdr.Name), err)
}

// place puts an entry with a safe name where it belongs.
func (u *unpacker) place(hdr *tar.Header, parts []string) error {
	if len(parts) == 0 {
		if hdr.Typeflag == tar.TypeDir && u.opts.RootMeta {
			u.dirs = append(u.dirs, metaOf(hdr, nil))
		}
		return nil
	}
	parents, base := parts[:len(parts)-1], parts[len(parts)-1]
	switch hdr.Typeflag {
	case tar.TypeDir:
		return u.dir(hdr, parts)
	case tar.TypeReg, tar.TypeGNUSparse:
		return u.file(hdr, parents, base)
	case tar.TypeSymlink:
		return u.symlink(hdr, parents, base)
	case tar.TypeLink:
		return u.hardLink(hdr, parents, base)
	case tar.TypeChar, tar.TypeBlock:
		return refuse("it is a device")
	case tar.TypeFifo:
		return refuse("it is a named pipe")
	}
	return refuse("its kind %q is not known", string(rune(hdr.Typeflag)))
}

func (u *unpacker) dir(hdr *tar.Header, parts []string) error {
	parent, err := u.tree.dir(parts[:len(parts)-1], true)
	if err != nil {
		return err
	}
	made := unix.Mkdirat(parent, parts[len(parts)-1], modeFilling)
	if made != nil && !errors.Is(made, unix.EEXIST) {
		return fmt.Errorf("make the directory: %w", made)
	}
	fd, err := u.tree.dir(parts, false)
	if err != nil {
		return err
	}
	if made == nil {
		if err := u.own(fd); err != nil {
			return err
		}
	}
	u.report.Dirs++
	u.dirs = append(u.dirs, metaOf(hdr, parts))
	return nil
}

func metaOf(hdr *tar.Header, parts []string) dirMeta {
	return dirMeta{parts: parts, mode: permissions(hdr), mtime: timespec(hdr.ModTime)}
}

// timespec converts a time; one beyond the kernel's range becomes the epoch.
func timespec(t time.Time) unix.Timespec {
	ts, err := unix.TimeToTimespec(t)
	if err != nil || t.IsZero() {
		return unix.Timespec{}
	}
	return ts
}

// applyMeta gives the directories their modes and times. It runs after an
// error too, because they were opened wider for filling.
func (u *unpacker) applyMeta() {
	for _, d := range sortMeta(u.dirs) {
		fd, err := u.tree.dir(d.parts, false)
		if err == nil {
			// First the time: with a mode without x "." is out of reach.
			err = setTimes(fd, ".", d.mtime)
		}
		if err == nil {
			err = unix.Fchmod(fd, d.mode)
		}
		if err != nil {
			u.skipf(relName(d.parts)+"/", "its mode and time are not restored: %v", err)
		}
	}
}

// own gives what was just made to the owner the caller wants.
func (u *unpacker) own(fd int) error {
	uid, gid := u.owner()
	if uid < 0 && gid < 0 {
		return nil
	}
	if err := unix.Fchown(fd, uid, gid); err != nil {
		return refuse("it cannot be given to uid %d, gid %d: %v", uid, gid, err)
	}
	return nil
}

// owner returns -1 for what is to stay.
func (u *unpacker) owner() (uid, gid int) {
	uid, gid = -1, -1
	if u.opts.UID != nil {
		uid = *u.opts.UID
	}
	if u.opts.GID != nil {
		gid = *u.opts.GID
	}
	return uid, gid
}

func setTimes(dir int, name string, mtime unix.Timespec) error {
	return unix.UtimesNanoAt(dir, name, []unix.Timespec{mtime, mtime}, unix.AT_SYMLINK_NOFOLLOW)
}
