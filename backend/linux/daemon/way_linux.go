package daemon

import (
	"context"
	"errors"
	"net"
	"os"

	"github.com/bottle-mcp/bottle-mcp/backend/linux/frame"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/jail"
)

// way asks the shim for connections to the host's MCP server. This process has
// no path that leads there.
type way struct {
	conn *frame.Conn
	turn chan struct{} // holds a value while somebody asks
}

func newWay(f *os.File) (*way, error) {
	c, err := net.FileConn(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errors.New("the way to the host is no socket"), c.Close())
	}
	return &way{conn: frame.New(uc, frame.MaxHost), turn: make(chan struct{}, 1)}, nil
}

// dial gets one connection. The shim answers within its own time, so that a
// question that was sent is always waited for.
func (w *way) dial(ctx context.Context) (net.Conn, error) {
	select {
	case w.turn <- struct{}{}:
		defer func() { <-w.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if err := w.conn.Send(jail.Dial{}); err != nil {
		return nil, err
	}
	var done jail.Done
	files, err := w.conn.RecvFiles(&done)
	if err == nil && done.Error != "" {
		err = errors.New(done.Error)
	}
	if err == nil && len(files) != 1 {
		err = errors.New("the shim sent no connection")
	}
	if err == nil {
		var conn net.Conn
		if conn, err = net.FileConn(files[0]); err == nil {
			_ = files[0].Close() // FileConn duplicated it
			return conn, nil
		}
	}
	for _, f := range files {
		_ = f.Close()
	}
	return nil, err
}
