package frame

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// MaxGuest bounds a frame that comes from a guest; MaxHost one that comes from
// a peer on this side (a command line of Linux's 2 MiB limit fits).
const (
	MaxGuest = 64 << 10
	MaxHost  = 4 << 20
)

// maxFDs is the most descriptors one frame carries.
const maxFDs = 16

// ErrTooLarge means that the peer announced a frame above the limit. The
// stream cannot be used after it.
var ErrTooLarge = errors.New("frame exceeds the size limit")

// Conn sends and receives frames over a unix stream socket: JSON, and bytes. Reads must
// come from one goroutine at a time; writes are serialised.
type Conn struct {
	uc    *net.UnixConn
	limit int
	wmu   sync.Mutex
}

// New wraps uc; limit bounds received frames.
func New(uc *net.UnixConn, limit int) *Conn { return &Conn{uc: uc, limit: limit} }

// FromFD takes over an inherited socket descriptor.
func FromFD(fd uintptr, name string, limit int) (*Conn, error) {
	f := os.NewFile(fd, name)
	if f == nil {
		return nil, fmt.Errorf("descriptor %d (%s) is not open", fd, name)
	}
	defer func() { _ = f.Close() }() // FileConn duplicates it
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("descriptor %d (%s) is not a socket: %w", fd, name, err)
	}
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("descriptor %d (%s) is not a unix socket", fd, name), c.Close())
	}
	return New(uc, limit), nil
}

// Pair makes a connected pair: a Conn for this process and a file for a child.
func Pair(limit int) (*Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	child := os.NewFile(uintptr(fds[1]), "child-control")
	c, err := FromFD(uintptr(fds[0]), "control", limit)
	if err != nil {
		return nil, nil, errors.Join(err, child.Close())
	}
	return c, child, nil
}

// SetDeadline bounds reads and writes; the zero time removes the bound.
func (c *Conn) SetDeadline(t time.Time) error { return c.uc.SetDeadline(t) }

// SetReadDeadline bounds reads alone.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.uc.SetReadDeadline(t) }

// File duplicates the socket's descriptor for a re-executed process.
func (c *Conn) File() (*os.File, error) { return c.uc.File() }

// Close closes the socket.
func (c *Conn) Close() error { return c.uc.Close() }

// PeerUID returns the user id of the peer, as the kernel recorded it.
func (c *Conn) PeerUID() (int, error) {
	raw, err := c.uc.SyscallConn()
	if err != nil {
		return -1, err
	}
	uid, serr := -1, error(nil)
	err = raw.Control(func(fd uintptr) {
		cred, e := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if e != nil {
			serr = e
			return
		}
		uid = int(cred.Uid)
	})
	return uid, errors.Join(err, serr)
}

// Send writes v as one frame, with descriptors attached to its first bytes.
func (c *Conn) Send(v any, fds ...int) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode frame: %w", err)
	}
	defer clear(body) // a guest's environment may be in it
	if len(fds) > maxFDs {
		return fmt.Errorf("frame with %d descriptors: the limit is %d", len(fds), maxFDs)
	}
	buf := make([]byte, 4, 4+len(body))
	binary.BigEndian.PutUint32(buf, uint32(len(body))) //nolint:gosec // bounded by MaxHost at the reader
	buf = append(buf, body...)
	defer clear(buf)
	c.wmu.Lock()
	defer c.wmu.Unlock()
	n := 0
	if len(fds) > 0 {
		// The kernel may take less than everything; descriptors go with the
		// first byte, so only the rest is written plainly.
		n, _, err = c.uc.WriteMsgUnix(buf, unix.UnixRights(fds...), nil)
		if err != nil {
			return fmt.Errorf("send frame: %w", err)
		}
	}
	if n < len(buf) {
		if _, err = c.uc.Write(buf[n:]); err != nil {
			return fmt.Errorf("send frame: %w", err)
		}
	}
	return nil
}

// SendBytes writes data as one frame, as it is. It is for secrets: no encoder's
// buffer gets a copy of them, and none is made here.
func (c *Conn) SendBytes(data []byte) error {
	var head [4]byte
	binary.BigEndian.PutUint32(head[:], uint32(len(data))) //nolint:gosec // bounded by the reader's limit
	c.wmu.Lock()
	defer c.wmu.Unlock()
	for _, part := range [][]byte{head[:], data} {
		if _, err := c.uc.Write(part); err != nil {
			return fmt.Errorf("send frame: %w", err)
		}
	}
	return nil
}

// RecvBytes reads what SendBytes wrote, into memory that is the caller's to
// clear.
func (c *Conn) RecvBytes() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(c.uc, head[:]); err != nil {
		return nil, err
	}
	return c.bytes(head)
}

// Recv reads one frame into v. Descriptors sent with it are refused by the
// kernel: no buffer for them is given, so a hostile peer cannot fill our table.
func (c *Conn) Recv(v any) error {
	var head [4]byte
	if _, err := io.ReadFull(c.uc, head[:]); err != nil {
		return err
	}
	return c.body(head, v)
}

// RecvFiles reads one frame and the descriptors that came with it. On error
// none stays open.
func (c *Conn) RecvFiles(v any) ([]*os.File, error) {
	var head [4]byte
	oob := make([]byte, unix.CmsgSpace(maxFDs*4))
	n, oobn, _, _, err := c.uc.ReadMsgUnix(head[:], oob)
	if err != nil {
		return nil, err
	}
	files, err := rights(oob[:oobn])
	if err != nil {
		return nil, err
	}
	if n == 0 && len(files) == 0 {
		return nil, io.EOF
	}
	if n < len(head) {
		if _, err = io.ReadFull(c.uc, head[n:]); err != nil {
			closeAll(files)
			return nil, err
		}
	}
	if err = c.body(head, v); err != nil {
		closeAll(files)
		return nil, err
	}
	return files, nil
}

func (c *Conn) bytes(head [4]byte) ([]byte, error) {
	size := binary.BigEndian.Uint32(head[:])
	if int64(size) > int64(c.limit) {
		return nil, fmt.Errorf("%w: %d bytes announced, %d allowed", ErrTooLarge, size, c.limit)
	}
	buf := make([]byte, size)
	if _, err := io.ReadFull(c.uc, buf); err != nil {
		clear(buf)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return buf, nil
}

func (c *Conn) body(head [4]byte, v any) error {
	buf, err := c.bytes(head)
	if err != nil {
		return err
	}
	defer clear(buf)
	if err := json.Unmarshal(buf, v); err != nil {
		return fmt.Errorf("decode frame: %w", err)
	}
	return nil
}

func rights(oob []byte) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("parse control message: %w", err)
	}
	var files []*os.File
	for _, m := range msgs {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // not descriptors
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
