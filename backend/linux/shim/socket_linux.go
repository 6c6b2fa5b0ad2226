package shim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/frame"
)

// requestTimeout bounds the wait for a connection's first frame.
const requestTimeout = 5 * time.Second

// listen opens the socket in the working directory: a relative name keeps
// below the 108 bytes a socket address holds.
func (s *shim) listen() error {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: SocketFile, Net: "unix"})
	if err != nil {
		return fmt.Errorf("open the bottle's socket: %w", err)
	}
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(SocketFile, 0o600); err != nil {
		return errors.Join(fmt.Errorf("protect the bottle's socket: %w", err), l.Close())
	}
	go func() {
		<-s.done
		_ = l.Close()
	}()
	go func() {
		for {
			uc, err := l.AcceptUnix()
			if err != nil {
				return
			}
			go s.answer(frame.New(uc, frame.MaxHost))
		}
	}()
	return nil
}

func (s *shim) answer(c *frame.Conn) {
	defer func() { _ = c.Close() }()
	if uid, err := c.PeerUID(); err != nil || (uid != os.Getuid() && uid != 0) {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(requestTimeout))
	var req Request
	files, err := c.RecvFiles(&req)
	if err != nil {
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	switch req.Op {
	case OpExec:
		s.exec(c, req, files)
		return
	case OpAgent:
		if req.Agent == nil {
			reply(c, errors.New("the agent request is empty"))
			break
		}
		reply(c, s.agent(*req.Agent))
	case OpReload:
		reply(c, s.takeReload(c, req.Reload))
	case OpState:
		st, err := s.live()
		if err != nil {
			reply(c, err)
			break
		}
		_ = c.Send(Reply{State: &st})
	case OpStop:
		s.end(false)
		reply(c, nil)
	default:
		reply(c, fmt.Errorf("request %q is not known", req.Op))
	}
	for _, f := range files {
		_ = f.Close()
	}
}

// live is the state with what only a running shim knows. A bottle that is
// being torn down is told as ended, whatever still breathes in it.
func (s *shim) live() (State, error) {
	u := s.usage()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return State{}, fmt.Errorf("the bottle has ended: %w", backend.ErrNotRunning)
	}
	st := s.state
	st.Usage, st.AgentUp = u, s.agentUp
	select {
	case <-s.sidecar.gone:
	default:
		st.SidecarUp = true
	}
	return st, nil
}

func reply(c *frame.Conn, err error) {
	r := Reply{}
	if err != nil {
		r.Error = err.Error()
	}
	switch {
	case errors.Is(err, backend.ErrNotRunning):
		r.Code = CodeNotRunning
	case errors.Is(err, backend.ErrExists):
		r.Code = CodeExists
	}
	_ = c.Send(r) // the server may have gone; the next one asks again
}

func timeout(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}
