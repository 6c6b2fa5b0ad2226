package walls

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// maxFiles is the open-file limit of guests and sidecars: enough for builds
// and many connections, bounded against exhaustion of the host's table.
const maxFiles = 65536

// NoCore forbids core dumps, which could hold secrets.
func NoCore() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	return nil
}

// RaiseFileLimit sets the open-file limit to what the host allows, at most
// maxFiles, and forbids core dumps.
func RaiseFileLimit() error {
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &now); err != nil {
		return fmt.Errorf("read the open-file limit: %w", err)
	}
	n := min(now.Max, maxFiles)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n}); err != nil {
		return fmt.Errorf("set the open-file limit: %w", err)
	}
	return NoCore()
}

// LimitFiles bounds the size of every file the process writes. Writing beyond
// it fails; the signal that goes with it does nothing to a Go program.
func LimitFiles(bytes uint64) error {
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: bytes}); err != nil {
		return fmt.Errorf("limit files to %d bytes: %w", bytes, err)
	}
	return nil
}

// LimitData bounds the process's private writable memory. The Go runtime's
// reservations do not count, what it uses does.
func LimitData(bytes uint64) error {
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: bytes, Max: bytes}); err != nil {
		return fmt.Errorf("limit memory to %d bytes: %w", bytes, err)
	}
	return nil
}
