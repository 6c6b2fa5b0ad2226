package shim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"runtime"

	"github.com/bottle-mcp/bottle-mcp/backend/linux/frame"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/guest"
)

// Check tries to make a guest's namespaces and root filesystem and throws them
// away.
func Check(ctx context.Context, multi bool) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c, err := spawn([]string{"guest", "check"}, guestAttr(multi, idCheckBase), frame.MaxGuest)
	if err != nil {
		return err
	}
	c.watch(func() {})
	defer func() {
		c.kill()
		<-c.gone
	}()
	deadline := time.Now().Add(stepTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := c.conn.SetDeadline(deadline); err != nil {
		return err
	}
	if err := c.conn.Send(guest.Setup{Hostname: "check", Multi: multi, DiskBytes: 1 << 20}); err != nil {
		return fmt.Errorf("try a guest: %w", err)
	}
	var done guest.Done
	if err := c.conn.Recv(&done); err != nil {
		return fmt.Errorf("try a guest: its first process ended early: %w", err)
	}
	if done.Error != "" {
		return errors.New(done.Error)
	}
	return nil
}
