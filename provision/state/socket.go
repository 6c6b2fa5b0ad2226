package state

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// Names of what serves bottles: a private directory per bottle, under a short
// name that the id gives, because a socket's path may not be long.
const (
	socketsDir = "mcp"
	socketFile = "mcp.sock"
	socketLock = "lock"
	// socketName is how many bytes of the id's digest are the directory's name.
	socketName = 6
	// maxSocketPath is macOS's limit, without its NUL.
	maxSocketPath = 103
)

// Socket is the right to serve one bottle, and its listener. It ends with Close,
// and with the process.
type Socket struct {
	*net.UnixListener

	lock *os.File // holds the flock
	path string
}

// SocketPath is where the server of a bottle listens for its sidecar.
func (s *Store) SocketPath(id backend.ID) string {
	return filepath.Join(s.socketDir(id), socketFile)
}

func (s *Store) socketDir(id backend.ID) string {
	sum := sha256.Sum256([]byte(id))
	return filepath.Join(s.path, socketsDir, hex.EncodeToString(sum[:socketName]))
}

// Listen listens for the sidecar of a bottle. While another process does, the
// error wraps ErrBusy; a socket that one left behind is replaced.
func (s *Store) Listen(ctx context.Context, id backend.ID) (*Socket, error) {
	fail := func(err error) (*Socket, error) { return nil, fmt.Errorf("serve bottle %s: %w", id, err) }
	if err := id.Validate(); err != nil {
		return nil, err
	}
	path := s.SocketPath(id)
	if len(path) > maxSocketPath {
		return fail(fmt.Errorf("the path %s has %d bytes, and a socket's may have %d: name a shorter --state-dir", path, len(path), maxSocketPath))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fail(err)
	}
	lock, err := lockSocket(filepath.Join(filepath.Dir(path), socketLock))
	if err != nil {
		return fail(err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(errors.Join(err, lock.Close()))
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return fail(errors.Join(err, lock.Close()))
	}
	socket, ok := l.(*net.UnixListener)
	if !ok {
		return fail(errors.Join(errors.New("it is no socket"), l.Close(), lock.Close()))
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return fail(errors.Join(err, l.Close(), lock.Close()))
	}
	socket.SetUnlinkOnClose(false) // see Close
	return &Socket{UnixListener: socket, lock: lock, path: path}, nil
}

// lockSocket takes the flock of a bottle's server.
func lockSocket(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("another process does: %w", ErrBusy)
	}
	if err == nil && !isAt(f, path) {
		err = backend.ErrNotFound
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// isAt reports whether the file is still the one at path: the directory may have
// been removed, and even made anew for another bottle of the same id.
func isAt(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(mine, there)
}

// Close stops listening, removes the socket if it is still its own, and gives the
// right up. It may be called again.
func (s *Socket) Close() error {
	err := s.UnixListener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	if isAt(s.lock, filepath.Join(filepath.Dir(s.path), socketLock)) {
		err = errors.Join(err, os.Remove(s.path))
	}
	if cerr := s.lock.Close(); !errors.Is(cerr, os.ErrClosed) {
		err = errors.Join(err, cerr)
	}
	return err
}

// RemoveSocket removes what Listen made for a bottle. Whoever still listens there
// is reached by nobody.
func (s *Store) RemoveSocket(id backend.ID) error {
	if err := id.Validate(); err != nil {
		return err
	}
	if err := os.RemoveAll(s.socketDir(id)); err != nil {
		return fmt.Errorf("remove the socket of bottle %s: %w", id, err)
	}
	return nil
}
