package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lockPoll is the time between two tries at a lock that somebody holds.
const lockPoll = 100 * time.Millisecond

// What is locked.
const (
	sidecarLock = "sidecar.lock"
	builderLock = "builder.lock"
)

// lock takes the lock of that name in the cache directory, against this process
// and others alike: flock belongs to the open file. It waits as long as ctx
// allows and calls waiting, when given, before it begins to.
func (i *Images) lock(ctx context.Context, name string, waiting func()) (unlock func(), err error) {
	dir, err := i.cache()
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock %s: %w", name, err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("take the lock %s: %w", name, err), f.Close())
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("wait for another server's work (lock %s): %w", name, context.Cause(ctx)), f.Close())
		case <-time.After(lockPoll):
		}
	}
}
