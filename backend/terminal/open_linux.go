package terminal

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// Pair is a terminal: what the command has, and what moves its bytes.
type Pair struct {
	Master, Slave *os.File
}

// Open makes a terminal in the devpts of this process. It belongs to whoever
// this thread opens files as.
func Open(size backend.WindowSize) (*Pair, error) {
	// Non-blocking, so that a reader can be given up.
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("the bottle has no terminal to give: open /dev/ptmx: %w", err)
	}
	p := &Pair{Master: os.NewFile(uintptr(fd), "terminal")}
	if err := p.openSlave(fd, size); err != nil {
		_ = p.Master.Close()
		return nil, err
	}
	return p, nil
}

// openSlave asks the kernel for the other end itself: a path could lead anywhere.
func (p *Pair) openSlave(master int, size backend.WindowSize) error {
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return fmt.Errorf("unlock the bottle's terminal: %w", err)
	}
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return fmt.Errorf("open the bottle's terminal (needs Linux 4.13): %w", errno)
	}
	p.Slave = os.NewFile(fd, "terminal")
	if err := errors.Join(setSize(master, size), utf8Lines(master)); err != nil {
		_ = p.Slave.Close()
		return err
	}
	return nil
}

// utf8Lines has the line editor erase characters, not bytes.
func utf8Lines(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err == nil {
		t.Iflag |= unix.IUTF8
		err = unix.IoctlSetTermios(fd, unix.TCSETS, t)
	}
	if err != nil {
		return fmt.Errorf("set up the bottle's terminal: %w", err)
	}
	return nil
}

// Close gives a terminal up that no session has.
func (p *Pair) Close() {
	_ = p.Slave.Close()
	_ = p.Master.Close()
}

func setSize(fd int, size backend.WindowSize) error {
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Cols}); err != nil {
		return fmt.Errorf("set the size of the bottle's terminal: %w", err)
	}
	return nil
}

// control runs f on a file's descriptor without changing its mode, as Fd would.
func control(file *os.File, f func(fd int)) {
	raw, err := file.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { f(int(fd)) }) // an error: it is closed
}
