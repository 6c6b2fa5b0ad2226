package archive

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// bufferSize is that of one read or write of content. It is the largest a
// pipe holds without privileges on Linux.
const bufferSize = 1 << 20

// maxDepth bounds nesting, because each level holds one open directory.
const maxDepth = 256

// zeroBlock is compared against, and padded from.
var zeroBlock [4096]byte //nolint:gochecknoglobals // a constant, which arrays cannot be

// fileID names a file on this machine.
type fileID struct{ dev, ino uint64 }

// inode is what this package needs of a stat result, in the same types on
// every platform.
type inode struct {
	id    fileID
	kind  uint32 // unix.S_IFMT bits
	mode  int64  // permission and set-id bits
	links uint64
	size  int64
	mtime unix.Timespec
}

func inodeOf(st *unix.Stat_t) inode {
	return inode{
		id:    fileID{uint64(st.Dev), uint64(st.Ino)}, //nolint:unconvert // the types differ between platforms
		kind:  uint32(st.Mode) & unix.S_IFMT,          //nolint:unconvert // as above
		mode:  int64(st.Mode) & 0o7777,
		links: uint64(st.Nlink), //nolint:unconvert // as above
		size:  st.Size,
		mtime: st.Mtim,
	}
}

// lstatAt looks at name in the directory dir without following a link.
func lstatAt(dir int, name string) (inode, error) {
	var st unix.Stat_t
	err := retry(func() error { return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return inodeOf(&st), err
}

func fstat(fd int) (inode, error) {
	var st unix.Stat_t
	err := retry(func() error { return unix.Fstat(fd, &st) })
	return inodeOf(&st), err
}

// openAt opens one name in one directory. O_NOFOLLOW is always set: a link in
// the place of what was expected is an error, never a way out.
func openAt(dir int, name string, flags int, mode uint32) (fd int, err error) {
	err = retry(func() error {
		fd, err = unix.Openat(dir, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
		return err
	})
	return fd, err
}

func openDirAt(dir int, name string) (int, error) {
	return openAt(dir, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
}

func closeFD(fd int) { _ = unix.Close(fd) }

// retry repeats a call that a signal interrupted (FUSE and network file
// systems return EINTR although the runtime asks for restarts).
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// rootFD opens the directory a root stands for.
func rootFD(root *os.Root) (*os.File, error) {
	dir, err := root.Open(".")
	if err != nil {
		return nil, fmt.Errorf("open directory %s: %w", root.Name(), err)
	}
	return dir, nil
}

// unsafeSwap reports whether err is how the kernel says that a link or
// another kind of file stands where a directory or file was expected.
func unsafeSwap(err error) bool {
	return errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EMLINK)
}

// fatal reports whether err concerns the whole copy rather than one entry.
func fatal(err error) bool {
	for _, e := range []error{unix.ENOSPC, unix.EDQUOT, unix.EIO, unix.EMFILE, unix.ENFILE, unix.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
