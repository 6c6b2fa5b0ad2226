package archive

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// Pack writes src as a tar stream to w: a directory as its content in sorted
// order, named relative to it, after one "./" entry with its own mode and
// time; anything else as one entry with its base name. Symbolic links are
// stored, never followed; hard links within the tree are kept.
//
// What cannot be read, vanishes, or is a socket, pipe or device is left out
// and reported. An error means that the stream is incomplete: the source is
// missing, w failed or ctx ended. Content is streamed, never held whole.
func Pack(ctx context.Context, w io.Writer, src Source, opts PackOptions) (backend.CopyReport, error) {
	p := &packer{ctx: ctx, opts: opts, tally: newTally(), links: map[fileID]string{}, buf: make([]byte, bufferSize)}
	for _, pattern := range opts.Exclude {
		if _, err := path.Match(pattern, "x"); err != nil {
			return p.report, fmt.Errorf("exclude pattern %q is malformed; use path.Match syntax: %w", pattern, err)
		}
	}
	p.out = bufio.NewWriterSize(w, bufferSize/4)
	p.tar = &encoder{w: p.out}
	if err := p.source(src); err != nil {
		return p.report, err
	}
	if err := p.tar.close(); err != nil {
		return p.report, fmt.Errorf("write the end of the archive: %w", err)
	}
	if err := p.out.Flush(); err != nil {
		return p.report, fmt.Errorf("write the end of the archive: %w", err)
	}
	return p.report, nil
}

// packer is one run of Pack.
type packer struct {
	tally
	ctx   context.Context
	opts  PackOptions
	out   *bufio.Writer
	tar   *encoder
	links map[fileID]string // first name of files with several
	buf   []byte
}

// place is a directory that is being packed.
type place struct {
	fd    int
	rel   string // "" at the top
	depth int
}

func (p *packer) source(src Source) error {
	dir, base, err := openSource(src)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	fd := int(dir.Fd())
	info, err := lstatAt(fd, base)
	if err != nil {
		return fmt.Errorf("pack %s: %w", src.Name, &fs.PathError{Op: "lstat", Path: src.Name, Err: err})
	}
	if info.kind != unix.S_IFDIR {
		return p.entry(place{fd: fd}, base)
	}
	top, err := openDirAt(fd, base)
	if err != nil {
		return fmt.Errorf("pack %s: %w", src.Name, &fs.PathError{Op: "open", Path: src.Name, Err: err})
	}
	defer closeFD(top)
	if info, err = fstat(top); err != nil {
		return fmt.Errorf("pack %s: %w", src.Name, err)
	}
	if err := p.header(&tar.Header{Typeflag: tar.TypeDir, Name: "./"}, info); err != nil {
		return err
	}
	return p.content(place{fd: top})
}

// openSource opens the directory that holds the source.
func openSource(src Source) (*os.File, string, error) {
	name := path.Clean(src.Name)
	if !filepath.IsLocal(name) {
		return nil, "", fmt.Errorf("pack %q: %w; name something below %s", src.Name, errOutside, src.Root.Name())
	}
	parent, base := path.Split(name)
	if parent == "" {
		dir, err := rootFD(src.Root)
		return dir, base, err
	}
	// A root of its own is a directory for certain: opening a pipe would hang.
	root, err := src.Root.OpenRoot(parent)
	if err != nil {
		return nil, "", fmt.Errorf("pack %s: %w", src.Name, err)
	}
	defer func() { _ = root.Close() }()
	dir, err := rootFD(root)
	return dir, base, err
}

// content packs what a directory holds. Memory is one directory's names.
func (p *packer) content(at place) error {
	names, err := readNames(at.fd)
	if err != nil {
		p.skipf(at.rel+"/", "the directory cannot be read: %v", err)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := p.ctx.Err(); err != nil {
			return fmt.Errorf("pack stopped: %w", err)
		}
		if p.excluded(path.Join(at.rel, name), name) {
			continue
		}
		if err := p.entry(at, name); err != nil {
			return err
		}
	}
	return nil
}

// readNames lists a directory. Types are not asked for: several file systems
// do not tell them, and the entry is looked at anyway.
func readNames(fd int) ([]string, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	dir := os.NewFile(uintptr(dup), "directory")
	defer func() { _ = dir.Close() }()
	return dir.Readdirnames(-1)
}

func (p *packer) excluded(rel, base string) bool {
	return slices.ContainsFunc(p.opts.Exclude, func(pattern string) bool {
		onPath, _ := path.Match(pattern, rel)
		onBase, _ := path.Match(pattern, base)
		return onPath || onBase
	})
}

// entry packs one name. Its error ends the run; what concerns the entry alone
// is reported.
func (p *packer) entry(at place, name string) error {
	rel := path.Join(at.rel, name)
	info, err := lstatAt(at.fd, name)
	if err != nil {
		p.unreadable(rel, err)
		return nil
	}
	if p.opts.Omit != nil {
		if why := p.opts.Omit(rel, info.kind == unix.S_IFDIR); why != "" {
			p.skip(rel, why)
			return nil
		}
	}
	switch info.kind {
	case unix.S_IFREG:
		if other, ok := p.opts.Replace[rel]; ok {
			p.skip(rel, other.Reason)
			return p.write(&tar.Header{Typeflag: tar.TypeReg, Name: rel}, info, other.Content)
		}
		return p.file(at, name, rel)
	case unix.S_IFDIR:
		return p.dir(at, name, rel)
	case unix.S_IFLNK:
		return p.symlink(at, name, rel, info)
	case unix.S_IFSOCK:
		p.skip(rel, "it is a socket")
	case unix.S_IFIFO:
		p.skip(rel, "it is a named pipe")
	default:
		p.skip(rel, "it is a device")
	}
	return nil
}

// unreadable reports why an entry is not in the stream.
func (p *packer) unreadable(rel string, err error) {
	switch {
	case errors.Is(err, unix.ENOENT):
		p.skip(rel, reasonVanished)
	case unsafeSwap(err):
		p.skip(rel, reasonSwapped)
	default:
		p.skipf(rel, "it cannot be read: %v", err)
	}
}

func (p *packer) dir(at place, name, rel string) error {
	if at.depth+1 > maxDepth {
		p.skipf(rel, "it is nested deeper than %d directories", maxDepth)
		return nil
	}
	fd, err := openDirAt(at.fd, name)
	if err != nil {
		p.unreadable(rel, err)
		return nil
	}
	defer closeFD(fd)
	info, err := fstat(fd)
	if err != nil {
		p.unreadable(rel, err)
		return nil
	}
	if err := p.header(&tar.Header{Typeflag: tar.TypeDir, Name: rel + "/"}, info); err != nil {
		return err
	}
	p.report.Dirs++
	return p.content(place{fd: fd, rel: rel, depth: at.depth + 1})
}

func (p *packer) symlink(at place, name, rel string, info inode) error {
	n, err := unix.Readlinkat(at.fd, name, p.buf)
	if err != nil {
		// EINVAL says that it is no link any more.
		if errors.Is(err, unix.EINVAL) {
			err = unix.ELOOP
		}
		p.unreadable(rel, err)
		return nil
	}
	p.report.Symlinks++
	return p.header(&tar.Header{Typeflag: tar.TypeSymlink, Name: rel, Linkname: string(p.buf[:n])}, info)
}

// header writes hdr with the mode and time of info. Ids and set-id bits are
// not told: they mean nothing where the stream is unpacked.
func (p *packer) header(hdr *tar.Header, info inode) error {
	hdr.Mode = info.mode & 0o777
	hdr.ModTime = time.Unix(info.mtime.Unix())
	if err := p.tar.header(hdr); err != nil {
		return fmt.Errorf("write the archive entry of %q: %w", bounded(hdr.Name), err)
	}
	return nil
}
