package world

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const dirPrefix = "bottle-world-"

// newLayout makes the directory of a world on a disk that overlays can stand
// on (an overlay, a container's root, carries no other one) and locks it. What
// killed worlds left there is removed first.
func newLayout() (layout, *os.File, error) {
	const overlayMagic = 0x794c7630
	var tried []error
	for _, parent := range []string{os.TempDir(), "/var/tmp", "/var/lib", "/dev/shm"} {
		var info unix.Statfs_t
		if err := unix.Statfs(parent, &info); err != nil || info.Type == overlayMagic {
			continue
		}
		sweep(parent)
		l, lock, err := newLayoutIn(parent)
		if err == nil {
			return l, lock, nil
		}
		tried = append(tried, err)
	}
	return layout{}, nil, fmt.Errorf("no disk for the world, set TMPDIR to a directory that is not on an overlay: %w", errors.Join(tried...))
}

func newLayoutIn(parent string) (layout, *os.File, error) {
	dir, err := os.MkdirTemp(parent, dirPrefix)
	if err != nil {
		return layout{}, nil, err
	}
	l := layout{dir}
	// Users of the guests pass through it.
	err = os.Chmod(dir, 0o755)
	if err == nil {
		err = l.make()
	}
	if err != nil {
		return layout{}, nil, err
	}
	lock, err := lockFile(l.path("lock"), os.O_CREATE)
	return l, lock, err
}

func lockFile(path string, flag int) (*os.File, error) {
	file, err := os.OpenFile(path, flag|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// sweep removes the directories and cgroups of worlds whose makers were killed.
func sweep(parent string) {
	dirs, err := filepath.Glob(filepath.Join(parent, dirPrefix+"*"))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		l := layout{dir}
		// A young one may be about to take its lock.
		if info, err := os.Lstat(l.path("lock")); err != nil || time.Since(info.ModTime()) < 10*time.Second {
			continue
		}
		lock, err := lockFile(l.path("lock"), 0)
		if err != nil {
			continue
		}
		if trees, err := readGroups(l.cgroups()); err == nil {
			removeGroups(trees)
		}
		_ = os.RemoveAll(dir)
		_ = lock.Close()
	}
}
