package ledger

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lock keeps other processes from writing. It is a lock of this process on the
// first file: while a daemon takes over from another, both have the same open
// file. Where a file system has no locks, one writer at a time must do.
func (f *files) lock() (unlock func(), err error) {
	file, ok := f.all[0].(*os.File)
	if !ok {
		return func() {}, nil
	}
	deadline := time.Now().Add(lockWait)
	for {
		err := setLock(file, unix.F_WRLCK)
		switch {
		case err == nil:
			return func() { _ = setLock(file, unix.F_UNLCK) }, nil
		case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOLCK):
			return func() {}, nil
		case !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EINTR):
			return nil, fmt.Errorf("lock the ledger: %w", err)
		case time.Now().After(deadline):
			return nil, fmt.Errorf("lock the ledger: another process has held it for %s", lockWait)
		}
		time.Sleep(lockPoll)
	}
}

func setLock(f *os.File, kind int16) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var lerr error
	err = conn.Control(func(fd uintptr) {
		lerr = unix.FcntlFlock(fd, unix.F_SETLK, &unix.Flock_t{Type: kind, Whence: io.SeekStart})
	})
	return errors.Join(err, lerr)
}
