package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/faults"
)

// Engine works on one state directory. Use Open.
type Engine struct {
	dir    string
	self   string // this program, run again in other roles and in guests
	faults faults.Set
}

// Open opens the state directory, making what it lacks, and reads the faults.
func Open(dir string) (*Engine, error) {
	for _, sub := range []string{"containers", "networks", "images", "netns", "sockets", "hooks", "tmp", "faults"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o750); err != nil {
			return nil, fmt.Errorf("the state of the stand-in cannot be made: %w", err)
		}
	}
	// Locks that appear later would look like something left behind.
	for _, lock := range []string{apiLock, lockFaults, lockPrepare, Builder} {
		file, err := os.OpenFile(filepath.Join(dir, lock+".lock"), os.O_CREATE|os.O_RDONLY, 0o600)
		if err != nil {
			return nil, fmt.Errorf("a lock of the stand-in cannot be made: %w", err)
		}
		_ = file.Close()
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("the stand-in cannot find itself: %w", err)
	}
	set, err := faults.Read(filepath.Join(dir, "faults"))
	if err != nil {
		return nil, err
	}
	return &Engine{dir: dir, self: self, faults: set}, nil
}

// The locks besides the builder's. The api lock is the daemon's, under which it
// creates, starts and deletes.
const (
	apiLock     = "api"
	lockFaults  = "faults"
	lockPrepare = "prepare"
)

// TakeAction takes the fault that is armed for a call of the command. A lock
// counts calls one by one.
func (e *Engine) TakeAction(ctx context.Context, command string) (faults.Action, error) {
	unlock, err := e.lock(ctx, lockFaults)
	if err != nil {
		return "", err
	}
	defer unlock()
	return faults.Take(e.FaultDir(), command)
}

// Faults are the faults that were on when the engine was opened.
func (e *Engine) Faults() faults.Set { return e.faults }

// FaultDir is where the faults' files are.
func (e *Engine) FaultDir() string { return e.path("faults") }

func (e *Engine) path(elem ...string) string {
	return filepath.Join(append([]string{e.dir}, elem...)...)
}

func (e *Engine) lock(ctx context.Context, name string) (unlock func(), err error) {
	return lockFile(ctx, e.path(name+".lock"))
}

// lockFile waits for an exclusive lock. It polls because a lock call that waits
// cannot be given up.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("a lock of the stand-in cannot be opened: %w", err)
	}
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			_ = file.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			_ = file.Close()
			return nil, Failf("timeout", "the daemon's lock is held: %v", err)
		}
	}
}

// pause waits, or less when the context ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// eventually asks until the answer is yes or the time is over.
func eventually(ctx context.Context, limit time.Duration, ask func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for !ask() {
		if pause(ctx, 2*time.Millisecond) != nil {
			return ask()
		}
	}
	return true
}

// save replaces a file of state at once, since others read without a lock.
func save(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("state cannot be encoded: %w", err)
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("state cannot be written: %w", err)
	}
	_, err = file.Write(data)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("state cannot be written: %w", errors.Join(err, os.Remove(file.Name())))
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return fmt.Errorf("state cannot be replaced: %w", err)
	}
	return nil
}

// load reads a file of state; it is not there when found is false.
func load(path string, v any) (found bool, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("state cannot be read: %w", err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return false, fmt.Errorf("the state in %s is damaged: %w", path, err)
	}
	return true, nil
}
