package engine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// endWait bounds waiting for a process behind SIGKILL.
const endWait = 10 * time.Second

// StopRequest ends a container politely.
type StopRequest struct {
	ID     string         `json:"id"`
	Signal syscall.Signal `json:"signal"` // 0 = the image's, else TERM
	Grace  time.Duration  `json:"grace"`
}

// stopContainer does nothing to a stopped container. It holds no lock: a grace
// is no reason for others to wait.
func (e *Engine) stopContainer(ctx context.Context, req StopRequest) error {
	c, err := e.container(req.ID)
	if err != nil {
		return err
	}
	r, err := e.alive(req.ID)
	if err != nil {
		return err
	}
	if r == nil {
		return e.settle(ctx, req.ID)
	}
	r.Stopping = true
	if err := save(e.containerPath(req.ID, fileRunning), r); err != nil {
		return err
	}
	signal := req.Signal
	if signal == 0 {
		signal, err = ParseSignal(c.Config.StopSignal)
	}
	if err != nil || signal == 0 {
		signal = unix.SIGTERM
	}
	_ = unix.Kill(r.PID, signal) // it may have ended meanwhile
	if !eventually(ctx, req.Grace, func() bool { return !r.alive() }) {
		_ = unix.Kill(r.PID, unix.SIGKILL)
	}
	return e.settle(ctx, req.ID)
}

// settle waits until a container that was told to end has, its helper included.
func (e *Engine) settle(ctx context.Context, id string) error {
	gone := func() bool {
		r, err := e.alive(id)
		return err == nil && r == nil
	}
	if !eventually(ctx, endWait, gone) {
		return Failf("timeout", "container %s did not stop", id)
	}
	if _, err := os.Stat(e.containerPath(id)); errors.Is(err, fs.ErrNotExist) {
		return nil // it was to go when it stops
	}
	err := e.waitHelper(ctx, id)
	if _, statErr := os.Stat(e.containerPath(id)); errors.Is(statErr, fs.ErrNotExist) {
		return nil
	}
	return err
}

// KillRequest sends a signal to the init process.
type KillRequest struct {
	ID     string         `json:"id"`
	Signal syscall.Signal `json:"signal"`
}

func (e *Engine) killContainer(ctx context.Context, req KillRequest) error {
	if _, err := e.container(req.ID); err != nil {
		return err
	}
	r, err := e.alive(req.ID)
	if err != nil {
		return err
	}
	if r == nil {
		return Failf(InvalidState, "container %s is not running", req.ID)
	}
	if err := unix.Kill(r.PID, req.Signal); err != nil {
		return because(err, "failed to kill container %s", req.ID)
	}
	if req.Signal == unix.SIGKILL {
		return e.settle(ctx, req.ID)
	}
	return nil
}

// DeleteRequest removes a container.
type DeleteRequest struct {
	ID    string `json:"id"`
	Force bool   `json:"force"`
}

func (e *Engine) deleteContainer(ctx context.Context, req DeleteRequest) error {
	if _, err := e.container(req.ID); err != nil {
		return err
	}
	r, err := e.alive(req.ID)
	if err != nil {
		return err
	}
	if r != nil {
		if !req.Force {
			return Failf(InvalidState, "container %s is running and can not be deleted", req.ID)
		}
		_ = unix.Kill(r.PID, unix.SIGKILL)
	}
	if err := e.settle(ctx, req.ID); err != nil {
		return err
	}
	unlock, err := e.lock(ctx, apiLock)
	if err != nil {
		return err
	}
	defer unlock()
	c, err := e.container(req.ID)
	if err != nil {
		return nil // gone with its process
	}
	return e.removeContainer(ctx, c)
}

// removeContainer runs under the daemon's lock.
func (e *Engine) removeContainer(ctx context.Context, c *container) error {
	if _, err := output(ctx, "", "podman", "rm", "-f", "-i", "-t", "0", c.Config.ID); err != nil {
		return because(err, "failed to delete container %s", c.Config.ID)
	}
	dropNetns(e.netns(c.Config.ID))
	if err := os.RemoveAll(e.netns(c.Config.ID)); err != nil {
		return err
	}
	// The record goes first: a directory without one is nothing.
	if err := os.Remove(e.containerPath(c.Config.ID, fileConfig)); err != nil {
		return err
	}
	if err := os.RemoveAll(e.containerPath(c.Config.ID)); err != nil {
		return err
	}
	return e.dropUnnamed(ctx, c.Image)
}
