package archive

import (
	"archive/tar"
	"fmt"

	"golang.org/x/sys/unix"
)

// smallFile is read whole before its header is written, so that its size can
// never differ from the header's.
const smallFile = 64 << 10

// file packs one regular file.
func (p *packer) file(at place, name, rel string) error {
	// O_NONBLOCK and O_NOCTTY: a pipe or terminal put in its place must not
	// hold us or become ours.
	fd, err := openAt(at.fd, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		p.unreadable(rel, err)
		return nil
	}
	defer closeFD(fd)
	info, err := fstat(fd)
	if err != nil || info.kind != unix.S_IFREG {
		p.skip(rel, reasonSwapped)
		return nil
	}
	hdr := &tar.Header{Typeflag: tar.TypeReg, Name: rel}
	if first, ok := p.links[info.id]; ok && info.links > 1 {
		hdr.Typeflag, hdr.Linkname = tar.TypeLink, first
		p.report.Files++
		return p.header(hdr, info)
	}
	if setID(info.mode) {
		p.skip(rel, reasonSetID)
	}
	if err := p.body(fd, hdr, info); err != nil {
		return err
	}
	if info.links > 1 && hdr.Size >= 0 {
		p.links[info.id] = rel
	}
	return nil
}

// body writes header and content of an open file. hdr.Size is -1 when the
// file was left out.
func (p *packer) body(fd int, hdr *tar.Header, info inode) error {
	if info.size <= smallFile {
		n, whole, err := p.readSmall(fd, info.size)
		if err != nil {
			p.unreadable(hdr.Name, err)
			hdr.Size = -1
			return nil
		}
		if whole {
			return p.write(hdr, info, p.buf[:n])
		}
		info.size = int64(n) // it grows: take what stands so far
	}
	return p.stream(fd, hdr, info)
}

// readSmall reads a file into the buffer; whole is false when it does not fit.
func (p *packer) readSmall(fd int, size int64) (n int, whole bool, err error) {
	for n < len(p.buf) {
		got, err := pread(fd, p.buf[n:], int64(n))
		if err != nil {
			return 0, false, err
		}
		n += got
		// A regular file of the expected size needs no second read to see its
		// end; files of size 0 may be made up by the kernel as they are read.
		if got == 0 || (int64(n) == size && size > 0) {
			return n, true, nil
		}
	}
	return n, false, nil
}

func (p *packer) write(hdr *tar.Header, info inode, content []byte) error {
	hdr.Size = int64(len(content))
	if err := p.header(hdr, info); err != nil {
		return err
	}
	if _, err := p.tar.Write(content); err != nil {
		return fmt.Errorf("write the content of %q: %w", bounded(hdr.Name), err)
	}
	p.report.Files++
	p.report.Bytes += hdr.Size
	return nil
}

// stream copies a file of the size in info in pieces. The header is out by
// then, so a file that shrinks is padded and one that grows is cut.
func (p *packer) stream(fd int, hdr *tar.Header, info inode) error {
	hdr.Size = info.size
	if err := p.header(hdr, info); err != nil {
		return err
	}
	p.report.Files++
	p.report.Bytes += hdr.Size
	for off := int64(0); off < hdr.Size; {
		if err := p.ctx.Err(); err != nil {
			return fmt.Errorf("pack stopped: %w", err)
		}
		n, err := pread(fd, p.buf[:min(int64(len(p.buf)), hdr.Size-off)], off)
		if err != nil || n == 0 {
			return p.pad(hdr, off, err)
		}
		if _, err := p.tar.Write(p.buf[:n]); err != nil {
			return fmt.Errorf("write the content of %q: %w", bounded(hdr.Name), err)
		}
		off += int64(n)
	}
	if n, err := pread(fd, p.buf[:1], hdr.Size); err == nil && n > 0 {
		p.skipf(hdr.Name, "it grew while it was copied: cut to %d bytes", hdr.Size)
	}
	return nil
}

// pad fills an entry whose file ended early.
func (p *packer) pad(hdr *tar.Header, off int64, cause error) error {
	if cause == nil {
		p.skipf(hdr.Name, "it shrank while it was copied: zeros follow byte %d", off)
	} else {
		p.skipf(hdr.Name, "it cannot be read beyond byte %d, zeros follow: %v", off, cause)
	}
	for off < hdr.Size {
		if err := p.ctx.Err(); err != nil {
			return fmt.Errorf("pack stopped: %w", err)
		}
		n, err := p.tar.Write(zeroBlock[:min(int64(len(zeroBlock)), hdr.Size-off)])
		if err != nil {
			return fmt.Errorf("write the content of %q: %w", bounded(hdr.Name), err)
		}
		off += int64(n)
	}
	return nil
}

func pread(fd int, buf []byte, off int64) (n int, err error) {
	err = retry(func() error {
		n, err = unix.Pread(fd, buf, off)
		return err
	})
	return n, err
}
