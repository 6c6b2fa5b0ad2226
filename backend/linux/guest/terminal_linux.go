package guest

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/walls"
	"github.com/bottle-mcp/bottle-mcp/backend/terminal"
)

// commandTTY is the terminal of a command that is not started yet.
type commandTTY struct {
	pair    *terminal.Pair
	in, out *os.File
}

// connect gives the command its three streams: those that came with it, or a
// terminal of the bottle's own.
func (s *server) connect(c *command, size *backend.WindowSize, who account, files []*os.File) error {
	if size == nil {
		c.attr.Files = []uintptr{files[0].Fd(), files[1].Fd(), files[2].Fd()}
		return nil
	}
	tty, err := s.openTerminal(*size, who)
	if err != nil {
		return err
	}
	if tty.in, err = keep(files[0]); err == nil {
		tty.out, err = keep(files[1])
	}
	c.tty = tty
	if err != nil {
		c.abandon()
		return err
	}
	fd := tty.pair.Slave.Fd()
	c.attr.Files = []uintptr{fd, fd, fd}
	c.attr.Sys.Setctty, c.attr.Sys.Ctty = true, 0
	return nil
}

// abandon gives up the terminal of a command that did not start.
func (c *command) abandon() {
	if c.tty == nil {
		return
	}
	c.tty.pair.Close()
	for _, f := range []*os.File{c.tty.in, c.tty.out} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// start moves the bytes of a command that has its terminal.
func (t *commandTTY) start() *terminal.Session { return terminal.Start(t.pair, t.in, t.out) }

// keep copies a descriptor of a request, which is closed with it, for reads and
// writes that can be given up. Its other end is not changed by that.
func keep(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, ControlFD+1)
	if err != nil {
		return nil, fmt.Errorf("copy a stream of the terminal: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare a stream of the terminal: %w", err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "stream"), nil
}

// openTerminal makes a terminal that is the user's: a program may open its
// terminal again by its name.
func (s *server) openTerminal(size backend.WindowSize, who account) (*commandTTY, error) {
	if !s.cfg.Multi {
		pair, err := terminal.Open(size)
		return &commandTTY{pair: pair}, err
	}
	type opened struct {
		pair *terminal.Pair
		err  error
	}
	done := make(chan opened, 1)
	go func() {
		// Who a thread opens files as is its own affair. A change of it takes the
		// parent-death signal from the thread, so it is not the main one; and when
		// it cannot be undone the thread ends with this function.
		runtime.LockOSThread()
		if err := openAs(who.uid, who.gid); err != nil {
			done <- opened{err: err}
			return
		}
		pair, err := terminal.Open(size)
		if back := openAs(0, 0); back == nil {
			runtime.UnlockOSThread()
		}
		done <- opened{pair, err}
	}()
	o := <-done
	// The change has also made this process dumpable again, where the host says so.
	if err := walls.Undumpable(); err != nil {
		return nil, errors.Join(err, o.err)
	}
	return &commandTTY{pair: o.pair}, o.err
}

// openAs sets the ids that this thread opens and makes files as.
func openAs(uid, gid uint32) error {
	_, _ = unix.SetfsgidRetGid(int(gid))
	_, _ = unix.SetfsuidRetUid(int(uid))
	// The calls tell the old ids, whatever they did: asking again tells.
	nowUID, _ := unix.SetfsuidRetUid(-1)
	nowGID, _ := unix.SetfsgidRetGid(-1)
	if nowUID != int(uid) || nowGID != int(gid) {
		return fmt.Errorf("open the terminal as user %d: this process may not become it", uid)
	}
	return nil
}
