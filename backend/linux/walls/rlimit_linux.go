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
	if err := limit(unix.RLIMIT_NOFILE, maxFiles); err != nil {
		return fmt.Errorf("set the open-file limit: %w", err)
	}
	return NoCore()
}

// LimitFiles bounds the size of every file the process writes. Writing beyond
// it fails; the signal that goes with it does nothing to a Go program.
func LimitFiles(bytes uint64) error {
	if err := limit(unix.RLIMIT_FSIZE, bytes); err != nil {
		return fmt.Errorf("limit files to %d bytes: %w", bytes, err)
	}
	return nil
}

// LimitData bounds the process's private writable memory. The Go runtime's
// reservations do not count, what it uses does.
func LimitData(bytes uint64) error {
	if err := limit(unix.RLIMIT_DATA, bytes); err != nil {
		return fmt.Errorf("limit memory to %d bytes: %w", bytes, err)
	}
	return nil
}

// limit sets both values of a limit to n, or to what the host allows when that
// is less: a hard limit cannot be raised here.
func limit(resource int, n uint64) error {
	var now unix.Rlimit
	if err := unix.Getrlimit(resource, &now); err != nil {
		return err
	}
	n = min(n, now.Max)
	return unix.Setrlimit(resource, &unix.Rlimit{Cur: n, Max: n})
}
