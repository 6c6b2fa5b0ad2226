package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math/rand/v2"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// spot is where an entry goes: a name in an open directory.
type spot struct {
	dir  int
	base string
	rel  string
}

// spot opens the directory of an entry.
func (u *unpacker) spot(parents []string, base string) (spot, error) {
	dir, err := u.tree.dir(parents, true)
	return spot{dir: dir, base: base, rel: path.Join(relName(parents), base)}, err
}

// file unpacks a regular file.
func (u *unpacker) file(hdr *tar.Header, parents []string, base string) error {
	if u.bytes += hdr.Size; u.bytes > u.opts.MaxBytes {
		return fmt.Errorf("%w: more than %d bytes of content", ErrLimit, u.opts.MaxBytes)
	}
	at, err := u.spot(parents, base)
	if err != nil {
		return err
	}
	// What fits is read before anything is touched.
	var head []byte
	if hdr.Size <= int64(len(u.buf)) {
		head = u.buf[:hdr.Size]
		if _, err := io.ReadFull(u.tar, head); err != nil {
			return broken("read the content of "+strconv.Quote(bounded(hdr.Name)), err)
		}
	}
	if err := u.make(at, func(name string) error { return u.fill(spot{at.dir, name, at.rel}, hdr, head) }); err != nil {
		return err
	}
	if setID(hdr.Mode) {
		u.skip(hdr.Name, reasonSetID)
	}
	u.report.Files++
	u.report.Bytes += hdr.Size
	return nil
}

// make lets create put something new at a name: at once where nothing is, else
// under a temporary name that then replaces what is there. Nothing is ever
// written through what exists.
func (u *unpacker) make(at spot, create func(name string) error) error {
	err := create(at.base)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	old, err := u.replaceable(at)
	if err != nil {
		return err
	}
	for {
		tmp := ".bottle-" + strconv.FormatUint(rand.Uint64(), 36) + ".tmp" //nolint:gosec // uniqueness comes from O_EXCL
		if err = create(tmp); errors.Is(err, unix.EEXIST) {
			continue
		}
		if err != nil {
			return err
		}
		if err = unix.Renameat(at.dir, tmp, at.dir, at.base); err != nil {
			_ = unix.Unlinkat(at.dir, tmp, 0)
			return fmt.Errorf("replace what is there: %w", err)
		}
		// Two names of one file: the rename did nothing (POSIX).
		_ = unix.Unlinkat(at.dir, tmp, 0)
		delete(u.made, old)
		return u.note(at)
	}
}

// replaceable says whether what is in the place of an entry may go.
func (u *unpacker) replaceable(at spot) (fileID, error) {
	info, err := lstatAt(at.dir, at.base)
	if err != nil {
		return fileID{}, fmt.Errorf("look at what is there: %w", err)
	}
	if info.kind == unix.S_IFDIR {
		return fileID{}, refuse("a directory of that name is there")
	}
	if name, ours := u.made[info.id]; ours && info.links == 1 && name != u.hash(at.rel) {
		return fileID{}, refuse("its name clashes with another of the archive: this file system ignores case or Unicode form")
	}
	return info.id, nil
}

// note remembers what this run made, by inode and name.
func (u *unpacker) note(at spot) error {
	info, err := lstatAt(at.dir, at.base)
	if err == nil {
		u.made[info.id] = u.hash(at.rel)
	}
	return err
}

func (u *unpacker) hash(rel string) uint64 { return maphash.String(u.seed, rel) }

// fill makes a new file with content and metadata; after an error nothing of
// it is left. head is the whole content unless that is still in the stream.
func (u *unpacker) fill(at spot, hdr *tar.Header, head []byte) error {
	fd, err := openAt(at.dir, at.base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, permissions(hdr))
	if err != nil {
		return err
	}
	if err := u.fillOpen(fd, at, hdr, head); err != nil {
		closeFD(fd)
		_ = unix.Unlinkat(at.dir, at.base, 0)
		return err
	}
	// Network file systems and quotas may report a failed write only now.
	if err := unix.Close(fd); err != nil && !errors.Is(err, unix.EINTR) {
		_ = unix.Unlinkat(at.dir, at.base, 0)
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

func (u *unpacker) fillOpen(fd int, at spot, hdr *tar.Header, head []byte) error {
	out := sparseWriter{fd: fd}
	_, err := out.Write(head)
	if err == nil && int64(len(head)) < hdr.Size {
		err = u.pour(&out, hdr)
	}
	if err == nil {
		err = out.finish()
	}
	if err == nil {
		err = u.own(fd)
	}
	if err != nil {
		return err
	}
	info, err := fstat(fd)
	if err != nil {
		return err
	}
	u.made[info.id] = u.hash(at.rel)
	// The umask may have taken bits away.
	if mode := permissions(hdr); info.mode != int64(mode) {
		if err := unix.Fchmod(fd, mode); err != nil {
			return fmt.Errorf("set the mode: %w", err)
		}
	}
	if err := setTimes(at.dir, at.base, timespec(hdr.ModTime)); err != nil {
		return fmt.Errorf("set the time: %w", err)
	}
	return nil
}

func permissions(hdr *tar.Header) uint32 { return uint32(hdr.Mode & 0o777) }

// pour streams the content of a large file.
func (u *unpacker) pour(out *sparseWriter, hdr *tar.Header) error {
	for left := hdr.Size; left > 0; {
		if err := u.ctx.Err(); err != nil {
			return &streamError{fmt.Errorf("unpack stopped: %w", err)}
		}
		chunk := u.buf[:min(int64(len(u.buf)), left)]
		if _, err := io.ReadFull(u.tar, chunk); err != nil {
			return broken("read the content of "+strconv.Quote(bounded(hdr.Name)), err)
		}
		if _, err := out.Write(chunk); err != nil {
			return err
		}
		left -= int64(len(chunk))
	}
	return nil
}

func (u *unpacker) symlink(hdr *tar.Header, parents []string, base string) error {
	if hdr.Linkname == "" || strings.ContainsRune(hdr.Linkname, 0) {
		return refuse("it is a symbolic link without a valid target")
	}
	if !u.opts.AnyLinks {
		if err := checkLink(hdr.Linkname, len(parents)); err != nil {
			return err
		}
	}
	at, err := u.spot(parents, base)
	if err != nil {
		return err
	}
	err = u.make(at, func(name string) error { return u.link(hdr, spot{at.dir, name, at.rel}) })
	if err == nil {
		u.report.Symlinks++
	}
	return err
}

func (u *unpacker) link(hdr *tar.Header, at spot) error {
	if err := unix.Symlinkat(hdr.Linkname, at.dir, at.base); err != nil {
		return err
	}
	if uid, gid := u.owner(); uid >= 0 || gid >= 0 {
		if err := unix.Fchownat(at.dir, at.base, uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			_ = unix.Unlinkat(at.dir, at.base, 0)
			return refuse("it cannot be given to uid %d, gid %d: %v", uid, gid, err)
		}
	}
	// Some file systems keep no time for links; that is no loss.
	_ = setTimes(at.dir, at.base, timespec(hdr.ModTime))
	return u.note(at)
}

// hardLink adds a name to a file that this same run unpacked, and to no
// other: a name for a file that was there before would let the stream's
// sender see later changes to it.
func (u *unpacker) hardLink(hdr *tar.Header, parents []string, base string) error {
	target, err := splitName(hdr.Linkname)
	if err != nil || len(target) == 0 {
		return refuse("it is a hard link out of the destination")
	}
	from, err := u.tree.dir(target[:len(target)-1], false)
	if err != nil {
		return refuse("it is a hard link to what is not a file of this archive")
	}
	// The tree may close the directory when it goes to the link's own.
	from, err = unix.FcntlInt(uintptr(from), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer closeFD(from)
	name := target[len(target)-1]
	info, err := lstatAt(from, name)
	if _, ours := u.made[info.id]; err != nil || !ours || info.kind != unix.S_IFREG {
		return refuse("it is a hard link to what is not a file of this archive")
	}
	at, err := u.spot(parents, base)
	if err != nil {
		return err
	}
	err = u.make(at, func(to string) error { return unix.Linkat(from, name, at.dir, to, 0) })
	if err == nil {
		u.made[info.id] = u.hash(relName(target)) // replacing itself forgot it
		u.report.Files++
	}
	return err
}

// sparseWriter writes a new file and leaves holes where whole blocks are zero.
type sparseWriter struct {
	fd   int
	off  int64
	hole bool // the file ends in a hole so far
}

// Write takes content in order. All pieces but the last are whole blocks.
func (w *sparseWriter) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		n, zero := run(p[done:])
		if !zero {
			if err := w.pwrite(p[done : done+n]); err != nil {
				return done, err
			}
		}
		w.hole = zero
		w.off += int64(n)
		done += n
	}
	return len(p), nil
}

// run measures the blocks at the start of p that are all zero, or all not.
func run(p []byte) (n int, zero bool) {
	for n < len(p) {
		block := p[n:min(n+len(zeroBlock), len(p))]
		isZero := bytes.Equal(block, zeroBlock[:len(block)])
		if n > 0 && isZero != zero {
			return n, zero
		}
		zero = isZero
		n += len(block)
	}
	return n, zero
}

func (w *sparseWriter) pwrite(p []byte) error {
	off := w.off
	for len(p) > 0 {
		var n int
		err := retry(func() (err error) {
			n, err = unix.Pwrite(w.fd, p, off)
			return err
		})
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// finish gives the file its length where it ends in a hole.
func (w *sparseWriter) finish() error {
	if !w.hole {
		return nil
	}
	if err := unix.Ftruncate(w.fd, w.off); err != nil {
		return fmt.Errorf("set the length: %w", err)
	}
	return nil
}
