//go:build linux

package linux

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend/linux/frame"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/shim"
)

// refillDelay keeps the start of the next spare out of the way of the bottle
// that took the last one.
const refillDelay = 100 * time.Millisecond

// keeper is a shim that waits for its orders, with a guest and a sidecar that
// wait for theirs.
type keeper struct {
	cmd  *exec.Cmd
	conn *frame.Conn
}

// spares holds at most one keeper started ahead. It belongs to no bottle, has
// no directory and no secret, and ends when this process does: its socket
// closes then.
type spares struct {
	mu      sync.Mutex
	ready   *keeper
	filling bool
}

// keeper returns the spare one, or starts one.
func (b *Backend) keeper() (k *keeper, spare bool, err error) {
	b.spares.mu.Lock()
	k = b.spares.ready
	b.spares.ready = nil
	b.spares.mu.Unlock()
	b.refill(refillDelay)
	if k != nil && k.alive() {
		return k, true, nil
	}
	k, err = startKeeper()
	return k, false, err
}

// refill starts a spare after a while, where that is wanted.
func (b *Backend) refill(after time.Duration) {
	b.spares.mu.Lock()
	defer b.spares.mu.Unlock()
	if !b.cfg.Spare || b.spares.filling || b.spares.ready != nil {
		return
	}
	b.spares.filling = true
	time.AfterFunc(after, func() {
		k, err := startKeeper()
		if err != nil {
			b.log.Warn("no spare bottle could be started ahead; launches take longer", "error", err)
		}
		b.spares.mu.Lock()
		defer b.spares.mu.Unlock()
		b.spares.ready, b.spares.filling = k, false
	})
}

// Close ends the spare bottle, if there is one. Bottles go on.
func (b *Backend) Close() error {
	b.spares.mu.Lock()
	defer b.spares.mu.Unlock()
	b.cfg.Spare = false
	k := b.spares.ready
	b.spares.ready = nil
	if k == nil {
		return nil
	}
	return k.conn.Close()
}

func startKeeper() (*keeper, error) {
	conn, sock, err := frame.Pair(frame.MaxHost)
	if err != nil {
		return nil, err
	}
	// What this process's own parent left open must not live on in a shim.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return nil, errors.Join(fmt.Errorf("close inherited descriptors: %w", err), sock.Close(), conn.Close())
	}
	// Not CommandContext: a shim outlives the call and this process.
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: shim.Args(),
		// Credentials pass through it: what the collector frees is overwritten.
		Env: []string{"GOMAXPROCS=2", "GOGC=50", "GODEBUG=clobberfree=1"}, Dir: "/",
		ExtraFiles: []*os.File{sock}, SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	err = cmd.Start()
	if cerr := sock.Close(); err != nil || cerr != nil {
		return nil, errors.Join(fmt.Errorf("start a shim: %w", err), cerr, conn.Close())
	}
	go func() { _ = cmd.Wait() }() // reaped whenever it ends; List tells the state
	return &keeper{cmd: cmd, conn: conn}, nil
}

func (k *keeper) alive() bool {
	p, err := shim.Identify(k.cmd.Process.Pid)
	return err == nil && p.Alive()
}
