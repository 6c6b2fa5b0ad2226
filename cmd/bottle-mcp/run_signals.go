package main

import (
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// forwardSignals delivers this program's signals as numbers. The second
// interrupt calls again.
func forwardSignals(again func()) (<-chan int, func()) {
	received := make(chan os.Signal, 16)
	signal.Notify(received, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	out := make(chan int, cap(received))
	done := make(chan struct{})
	go func() {
		interrupts := 0
		for {
			select {
			case <-done:
				return
			case s := <-received:
				if s == syscall.SIGINT {
					interrupts++
				}
				if interrupts > 1 {
					again()
					return
				}
				if number, ok := s.(syscall.Signal); ok {
					select {
					case out <- linuxSignal(number):
					default: // a storm of signals: the command has enough of them
					}
				}
			}
		}
	}()
	var once sync.Once
	return out, func() {
		once.Do(func() {
			signal.Stop(received)
			close(done)
		})
	}
}

// surviveClosedPipe makes a write to a pipe without a reader an error instead
// of the end: this process has a bottle to remove.
func surviveClosedPipe() { signal.Ignore(syscall.SIGPIPE) }

// linuxSignal is the guest's number of a host signal: USR1 and USR2 differ on
// a Mac.
func linuxSignal(s syscall.Signal) int {
	switch s {
	case syscall.SIGUSR1:
		return 10
	case syscall.SIGUSR2:
		return 12
	default:
		return int(s)
	}
}

// watchedWriter calls failed once when a write fails, and swallows what
// follows, so that the guest's output never blocks.
type watchedWriter struct {
	to     io.Writer
	failed func()
	dead   bool
}

// Write implements io.Writer.
func (w *watchedWriter) Write(p []byte) (int, error) {
	if w.dead {
		return len(p), nil
	}
	if _, err := w.to.Write(p); err != nil {
		w.dead = true
		w.failed()
	}
	return len(p), nil
}
