package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// keys reads a terminal until it is closed: what is typed from then on is left
// to whoever reads the terminal next. A blocked read of the terminal itself
// would take one more line.
type keys struct {
	tty  *os.File
	wake [2]*os.File
	gone func()
	once sync.Once
}

// newKeys calls gone when the terminal goes away.
func newKeys(tty *os.File, gone func()) (*keys, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("read the terminal: %w", err)
	}
	return &keys{tty: tty, wake: [2]*os.File{r, w}, gone: gone}, nil
}

// Read implements io.Reader.
func (k *keys) Read(p []byte) (int, error) {
	closed, err := k.wait()
	if closed || err != nil {
		return 0, errors.Join(err, io.EOF)
	}
	n, err := k.tty.Read(p)
	if err != nil {
		k.gone()
	}
	return n, err
}

// wait waits for a key or the end. It selects, since poll knows no terminals on
// a Mac.
func (k *keys) wait() (closed bool, err error) {
	tty, wake := int(k.tty.Fd()), int(k.wake[0].Fd())
	for {
		var ready unix.FdSet
		ready.Set(tty)
		ready.Set(wake)
		_, err := unix.Select(max(tty, wake)+1, &ready, nil, nil, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return false, fmt.Errorf("wait for a key: %w", err)
		default:
			return ready.IsSet(wake), nil
		}
	}
}

// Close ends a Read that waits.
func (k *keys) Close() error {
	var err error
	k.once.Do(func() { err = k.wake[1].Close() })
	return err
}
