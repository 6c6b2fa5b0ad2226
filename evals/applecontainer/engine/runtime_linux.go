package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/faults"
)

// helperReady is what a helper says when its listeners are open.
const helperReady = "ready\n"

const (
	// helperWait bounds waiting for the helper of a process that has ended.
	helperWait = 20 * time.Second
	// conmonWait bounds waiting for Podman to learn of the end.
	conmonWait = 5 * time.Second
)

// RunRuntime is the helper of one container: it opens the relays, says so, is
// told which process to watch, and cleans up when that has ended.
func (e *Engine) RunRuntime(ctx context.Context, id string, in io.Reader, out io.Writer) error {
	unlock, err := lockFile(ctx, e.containerPath(id, fileRuntime))
	if err != nil {
		return err
	}
	defer unlock()
	c, err := e.container(id)
	if err != nil {
		return err
	}
	r, err := e.run(id)
	if err != nil || r == nil {
		return errors.Join(err, fmt.Errorf("runtime: %s has no run", id))
	}
	all, err := e.openRelays(c, r)
	if err != nil {
		_, writeErr := fmt.Fprintln(out, err)
		return errors.Join(err, writeErr)
	}
	defer all.close()
	if _, err := io.WriteString(out, helperReady); err != nil {
		return err
	}
	var pid int
	var ticks uint64
	if _, err := fmt.Fscanln(bufio.NewReader(in), &pid, &ticks); err != nil {
		return nil // the start failed, and its starter cleans up
	}
	rootfs, err := os.ReadFile(e.containerPath(id, fileRootfs))
	if err != nil {
		return err
	}
	all.rootfs = string(rootfs)
	close(all.ready)
	awaitEnd(pid, ticks)
	all.close()
	return e.ended(ctx, c)
}

// awaitEnd waits until a process has ended, however long.
func awaitEnd(pid int, ticks uint64) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(fd) }()
	for processTicks(pid) == ticks && ticks != 0 {
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1) // ends at signals too
	}
}

// ended cleans up behind a process: addresses, network, and the container
// itself where it was to go.
func (e *Engine) ended(ctx context.Context, c *container) error {
	id := c.Config.ID
	e.awaitConmon(ctx, id)
	for i := range c.Relays {
		_ = os.Remove(e.relayPath(id, i)) // the next start makes it anew
	}
	err := e.forgetRun(id)
	if !c.AutoRemove && !e.faults.On(faults.StoppedVanishes) {
		return err
	}
	unlock, lockErr := e.lock(ctx, apiLock)
	if lockErr != nil {
		return errors.Join(err, lockErr)
	}
	defer unlock()
	return errors.Join(err, e.removeContainer(ctx, c))
}

// awaitConmon waits until Podman's monitor has noted the end, so that the next
// command finds it noted.
func (e *Engine) awaitConmon(ctx context.Context, id string) {
	text, err := os.ReadFile(e.containerPath(id, fileConmon))
	if err != nil {
		return
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return
	}
	eventually(ctx, conmonWait, func() bool { return processTicks(pid) == 0 })
}

// waitHelper waits until no helper of an earlier run is at work.
func (e *Engine) waitHelper(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, helperWait)
	defer cancel()
	unlock, err := lockFile(ctx, e.containerPath(id, fileRuntime))
	if err != nil {
		return err
	}
	unlock()
	return nil
}
