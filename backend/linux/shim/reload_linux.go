package shim

import (
	"errors"
	"fmt"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/frame"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/jail"
)

// takeReload reads what follows a reload's request and does it.
func (s *shim) takeReload(c *frame.Conn, r *jail.Reload) error {
	if r == nil {
		return errors.New("the reload request is empty")
	}
	if err := c.SetReadDeadline(time.Now().Add(requestTimeout)); err != nil {
		return err
	}
	secrets, err := c.RecvBytes()
	if err != nil {
		return fmt.Errorf("read the secrets of the new policy: %w", err)
	}
	defer clear(secrets)
	return s.reload(*r, secrets)
}

// reload hands another policy to the sidecar. One that does not answer is
// killed: nobody would know which policy it serves with, and a bottle without
// it has no way out.
func (s *shim) reload(r jail.Reload, secrets []byte) error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	timer := time.NewTimer(stepTimeout)
	defer timer.Stop()
	select {
	case <-s.served:
	case <-s.sidecar.gone:
		return fmt.Errorf("the bottle's sidecar has ended: %w", backend.ErrNotRunning)
	case <-timer.C:
		return errors.New("the bottle's sidecar does not serve yet: try again later")
	}
	c := s.sidecar.conn
	var done jail.Done
	err := errors.Join(c.SetDeadline(time.Now().Add(stepTimeout)), c.Send(r), c.SendBytes(secrets))
	if err == nil {
		err = c.Recv(&done)
	}
	if err != nil {
		s.sidecar.kill()
		return fmt.Errorf("the bottle's sidecar did not answer and was ended; the bottle has no way out any more: %w", errors.Join(err, backend.ErrNotRunning))
	}
	if done.Error != "" {
		return errors.New(done.Error)
	}
	return c.SetDeadline(time.Time{})
}
