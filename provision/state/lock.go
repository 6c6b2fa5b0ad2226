package state

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
)

const (
	// lockPoll is how often a taken lock is tried again.
	lockPoll = 5 * time.Millisecond
	// draftPrefix begins the names of reservations in the making, which are no
	// ids; after draftAge one that nobody holds is litter.
	draftPrefix = ".draft-"
	draftAge    = time.Minute
)

// Lock is the right to change one bottle. It ends with Unlock or Remove, and
// with the process.
type Lock struct {
	store *Store
	id    backend.ID
	dir   *os.File // holds the flock
	root  *os.Root
}

// Reserve makes the directory of a new bottle with its first record and locks
// it. An id that is taken gives an error wrapping backend.ErrExists.
//
// The directory is made under another name and moved into place when it is
// locked and holds its record: nobody ever sees it otherwise.
func (s *Store) Reserve(ctx context.Context, r Record) (*Lock, error) {
	if err := r.ID.Validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("reserve bottle %s: %w", r.ID, context.Cause(ctx))
	}
	if _, err := s.bottles.Lstat(string(r.ID)); err == nil {
		return nil, fmt.Errorf("bottle %s: %w", r.ID, backend.ErrExists)
	}
	var raw [8]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return nil, fmt.Errorf("reserve bottle %s: %w", r.ID, err)
	}
	draft := draftPrefix + hex.EncodeToString(raw[:])
	l, err := s.prepare(ctx, draft, r)
	if err != nil {
		return nil, fmt.Errorf("reserve bottle %s: %w", r.ID, err)
	}
	err = s.bottles.Rename(draft, string(r.ID))
	if err == nil {
		return l, nil
	}
	if errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.ENOTDIR) {
		err = backend.ErrExists
	}
	return nil, errors.Join(fmt.Errorf("reserve bottle %s: %w", r.ID, err), s.bottles.RemoveAll(draft), l.Unlock())
}

// prepare makes a directory with a record and locks it.
func (s *Store) prepare(ctx context.Context, draft string, r Record) (*Lock, error) {
	if err := s.bottles.Mkdir(draft, 0o700); err != nil {
		return nil, err
	}
	l := &Lock{store: s, id: r.ID}
	var err error
	if l.dir, err = s.bottles.Open(draft); err != nil {
		return nil, errors.Join(err, s.bottles.RemoveAll(draft))
	}
	if err = flock(ctx, l.dir); err == nil {
		l.root, err = s.bottles.OpenRoot(draft)
	}
	if err != nil {
		return nil, errors.Join(err, l.dir.Close(), s.bottles.RemoveAll(draft))
	}
	if err := l.Write(r); err != nil {
		return nil, errors.Join(err, s.bottles.RemoveAll(draft), l.Unlock())
	}
	return l, nil
}

// sweepDrafts removes reservations whose server died before they were in
// place. A lock that is free tells them from those in the making, but for the
// moment before the lock is taken, which age covers.
func (s *Store) sweepDrafts(names []string) error {
	var errs []error
	for _, name := range names {
		info, err := s.bottles.Lstat(name)
		if err != nil || !info.IsDir() || time.Since(info.ModTime()) < draftAge {
			continue
		}
		dir, err := s.bottles.Open(name)
		if err != nil {
			continue
		}
		if unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			errs = append(errs, s.bottles.RemoveAll(name))
		}
		errs = append(errs, dir.Close())
	}
	return errors.Join(errs...)
}

// Lock takes the lock of a bottle, waiting for it as long as ctx allows. The
// error wraps backend.ErrNotFound when there is no such bottle (any more), and
// ErrBusy when ctx ended first.
func (s *Store) Lock(ctx context.Context, id backend.ID) (*Lock, error) {
	if err := id.Validate(); err != nil {
		return nil, err
	}
	info, err := s.dirInfo(id)
	if err != nil {
		return nil, fmt.Errorf("lock bottle %s: %w", id, backend.ErrNotFound)
	}
	dir, err := s.bottles.Open(string(id))
	if errors.Is(err, fs.ErrNotExist) {
		err = backend.ErrNotFound // removed since we looked
	}
	if err != nil {
		return nil, fmt.Errorf("lock bottle %s: %w", id, err)
	}
	l := &Lock{store: s, id: id, dir: dir}
	if err := l.acquire(ctx, info); err != nil {
		return nil, errors.Join(fmt.Errorf("lock bottle %s: %w", id, err), dir.Close())
	}
	return l, nil
}

// acquire takes the flock and makes sure that it is still the bottle's: the
// directory may have been removed, and even made anew, while we waited.
func (l *Lock) acquire(ctx context.Context, before fs.FileInfo) error {
	if err := flock(ctx, l.dir); err != nil {
		return err
	}
	now, err := l.store.dirInfo(l.id)
	if err != nil || !os.SameFile(before, now) {
		return backend.ErrNotFound
	}
	if l.root, err = l.store.bottles.OpenRoot(string(l.id)); err != nil {
		return err
	}
	opened, err := l.root.Stat(".")
	if err == nil && !os.SameFile(opened, now) {
		err = backend.ErrNotFound
	}
	if err != nil {
		return errors.Join(err, l.root.Close())
	}
	return nil
}

func flock(ctx context.Context, f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil || !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrBusy, context.Cause(ctx))
		case <-time.After(lockPoll):
		}
	}
}

// Write replaces the bottle's record as a whole.
//
// It is not forced to the disk: a bottle's processes do not survive what would
// lose it, and a record that is torn nevertheless is shown as such.
func (l *Lock) Write(r Record) error {
	r.ID, r.Owner = l.id, l.store.owner
	data, err := encode(r)
	if err != nil {
		return err
	}
	if err := l.replace(data); err != nil {
		return fmt.Errorf("write the record of bottle %s: %w", l.id, err)
	}
	return nil
}

func (l *Lock) replace(data []byte) error {
	if err := l.root.Remove(recordNew); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := l.root.OpenFile(recordNew, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = l.root.Rename(recordNew, recordFile)
	}
	if err != nil {
		return errors.Join(err, l.root.Remove(recordNew))
	}
	return nil
}

// Unlock releases the lock and keeps the bottle.
func (l *Lock) Unlock() error { return errors.Join(l.root.Close(), l.dir.Close()) }

// Remove removes the bottle's directory with all that is in it, and releases
// the lock. The record goes last, so that a removal that is cut short is seen
// as one.
func (l *Lock) Remove() error {
	err := errors.Join(l.store.RemoveSocket(l.id), l.empty())
	if err == nil {
		err = l.store.bottles.RemoveAll(string(l.id))
	}
	if err != nil {
		err = fmt.Errorf("remove the state of bottle %s: %w", l.id, err)
	}
	return errors.Join(err, l.Unlock())
}

func (l *Lock) empty() error {
	dir, err := l.root.Open(".")
	if err != nil {
		return err
	}
	names, err := dir.Readdirnames(-1)
	err = errors.Join(err, dir.Close())
	for _, name := range names {
		if name != recordFile {
			err = errors.Join(err, l.root.RemoveAll(name))
		}
	}
	return err
}

// Preserve keeps the ledger under names that the backend does not remove.
func (l *Lock) Preserve() error {
	for _, name := range ledger.Names() {
		info, err := l.root.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) || err == nil && (!info.Mode().IsRegular() || info.Size() == 0) {
			continue
		}
		if err == nil {
			err = l.root.Link(name, keptName(name))
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("keep the egress log of bottle %s: %w", l.id, err)
		}
	}
	return nil
}

// dirInfo looks at a bottle's directory without following a link.
func (s *Store) dirInfo(id backend.ID) (fs.FileInfo, error) {
	info, err := s.bottles.Lstat(string(id))
	if err == nil && !info.IsDir() {
		err = fs.ErrNotExist
	}
	return info, err
}

func sortEntries(entries []Entry) {
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.ID, b.ID) })
}
