package engine

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// terminal runs a process on a terminal of its own, which the runtime makes and
// hands over on a socket. Standard error is part of its output.
func (x *execution) terminal(s Streams, socket, podmanID string) (int, error) {
	var listener *net.UnixListener
	if err := inDirectory(socket, func(short string) (err error) {
		listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
		return err
	}); err != nil {
		return 0, err
	}
	listener.SetUnlinkOnClose(false)
	defer func() { _ = listener.Close() }()
	dir, err := os.OpenFile(socket[:len(socket)-len(execConsole)], unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = dir.Close() }()
	// A socket's name may not be long: the runtime finds it by the descriptor.
	x.cmd.ExtraFiles = []*os.File{dir}
	x.cmd.Args = append(x.cmd.Args, "--console-socket", "/proc/self/fd/3/"+execConsole, podmanID)
	if err := x.cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- x.cmd.Wait() }()
	console, err := receiveConsole(listener)
	if err != nil {
		code, waitErr := exitCode(<-ended)
		return code, errors.Join(err, waitErr)
	}
	defer func() { _ = console.Close() }()
	copySize(console, s.Stdin)
	if s.Stdin != nil {
		go func() { _, _ = io.Copy(console, s.Stdin) }()
	}
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(s.Stdout, console) // ends with an error: the last writer is gone
		close(done)
	}()
	code, err := forward(x.signals, ended, x.signal)
	select {
	case <-done:
	case <-time.After(runtimeDrain):
	}
	return code, err
}

// receiveConsole waits for the terminal.
func receiveConsole(listener *net.UnixListener) (*os.File, error) {
	if err := listener.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return nil, err
	}
	conn, err := listener.AcceptUnix()
	if err != nil {
		return nil, fmt.Errorf("the runtime hands over no terminal: %w", err)
	}
	defer func() { _ = conn.Close() }()
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(make([]byte, 4096), control)
	if err != nil {
		return nil, fmt.Errorf("the runtime hands over no terminal: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		return nil, errors.Join(errors.New("the runtime hands over no terminal"), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, errors.Join(errors.New("the runtime hands over no terminal"), err)
	}
	return os.NewFile(uintptr(fds[0]), "console "+strconv.Itoa(fds[0])), nil
}

// copySize gives the terminal the size of the caller's, if that has one.
func copySize(console *os.File, stdin io.Reader) {
	file, ok := stdin.(*os.File)
	if !ok {
		return
	}
	if size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ); err == nil {
		_ = unix.IoctlSetWinsize(int(console.Fd()), unix.TIOCSWINSZ, size)
	}
}
