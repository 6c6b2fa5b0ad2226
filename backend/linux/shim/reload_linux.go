package shim

import (
	"errors"
	"fmt"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/jail"
)

// reload hands another policy to the sidecar. One that does not answer is
// killed: nobody would know which policy it serves with, and a bottle without
// it has no way out.
func (s *shim) reload(r jail.Reload) error {
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
	defer forget()
	defer r.Secrets.Forget()
	c := s.sidecar.conn
	var done jail.Done
	err := errors.Join(c.SetDeadline(time.Now().Add(stepTimeout)), c.Send(r))
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
