package linux

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/frame"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/shim"
)

// maxStateFile bounds the record that is read back.
const maxStateFile = 1 << 20

func (b *Backend) dir(id backend.ID) string { return filepath.Join(b.cfg.BottlesDir, string(id)) }

// dial connects to a bottle's shim. ErrNotFound means that there is no such
// bottle of ours, ErrNotRunning that its shim is gone.
func (b *Backend) dial(ctx context.Context, id backend.ID) (*frame.Conn, error) {
	if err := id.Validate(); err != nil {
		return nil, err
	}
	if _, err := b.readState(id); err != nil {
		return nil, err
	}
	dir, err := os.Open(b.dir(id))
	if err != nil {
		return nil, fmt.Errorf("bottle %s: %w", id, backend.ErrNotFound)
	}
	defer func() { _ = dir.Close() }()
	// Through the descriptor the name is short, whatever the state directory's.
	name := "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + shim.SocketFile
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", name)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("reach bottle %s: %w", id, context.Cause(ctx))
		}
		return nil, fmt.Errorf("bottle %s: %w", id, backend.ErrNotRunning)
	}
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("reach bottle %s: not a unix socket", id), c.Close())
	}
	conn := frame.New(uc, frame.MaxHost)
	if uid, err := conn.PeerUID(); err != nil || uid != os.Getuid() {
		return nil, errors.Join(fmt.Errorf("bottle %s is answered by a process of another user", id), conn.Close())
	}
	return conn, nil
}

// ask sends one request and reads one reply.
func (b *Backend) ask(ctx context.Context, id backend.ID, req shim.Request) (shim.Reply, error) {
	return b.askWith(ctx, id, req, nil)
}

// askWith sends a request that a frame of bytes belongs to; nil is none.
func (b *Backend) askWith(ctx context.Context, id backend.ID, req shim.Request, raw []byte) (shim.Reply, error) {
	conn, err := b.dial(ctx, id)
	if err != nil {
		return shim.Reply{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer func() { stop(); _ = conn.Close() }()
	var r shim.Reply
	if err = conn.Send(req); err == nil && raw != nil {
		err = conn.SendBytes(raw)
	}
	if err == nil {
		err = conn.Recv(&r)
	}
	switch {
	case ctx.Err() != nil:
		return shim.Reply{}, fmt.Errorf("ask bottle %s: %w", id, context.Cause(ctx))
	case errors.Is(err, io.EOF), errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET):
		return shim.Reply{}, fmt.Errorf("bottle %s ended meanwhile: %w", id, backend.ErrNotRunning)
	case err != nil:
		return shim.Reply{}, fmt.Errorf("ask bottle %s: %w", id, err)
	}
	return r, r.Err()
}

// readState reads a bottle's record. Another owner's bottle does not exist here.
func (b *Backend) readState(id backend.ID) (shim.State, error) {
	var st shim.State
	f, err := os.OpenFile(filepath.Join(b.dir(id), shim.StateFile), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return st, fmt.Errorf("bottle %s: %w", id, backend.ErrNotFound)
	}
	if err != nil {
		return st, fmt.Errorf("read the record of bottle %s: %w", id, err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxStateFile))
	if err == nil {
		err = json.Unmarshal(data, &st)
	}
	if err != nil {
		return st, fmt.Errorf("the record of bottle %s is damaged: %w", id, err)
	}
	if st.Owner != b.cfg.Owner || st.ID != string(id) {
		return st, fmt.Errorf("bottle %s: %w", id, backend.ErrNotFound)
	}
	return st, nil
}
