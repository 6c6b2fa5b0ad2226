package state

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"syscall"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
)

// maxOutputs bounds how many output files a bottle keeps; the oldest go first.
const maxOutputs = 256

var outputPattern = regexp.MustCompile(`^out-[0-9a-f]{16}$`)

// open opens a regular file of a bottle for reading, without following a link
// and without waiting for a pipe.
func (s *Store) open(id backend.ID, name string) (*os.File, error) {
	if _, err := s.dirInfo(id); err != nil {
		return nil, fs.ErrNotExist
	}
	full := path.Join(string(id), name)
	before, err := s.bottles.Lstat(full)
	if err != nil {
		return nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", full)
	}
	f, err := s.bottles.OpenFile(full, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if now, err := f.Stat(); err != nil || !os.SameFile(before, now) {
		return nil, errors.Join(fmt.Errorf("%s was replaced while it was opened", full), err, f.Close())
	}
	return f, nil
}

// OpenLedger opens the files of a bottle's ledger for reading, those that there
// are. The error wraps fs.ErrNotExist when there is none yet.
func (s *Store) OpenLedger(id backend.ID) ([]*os.File, error) {
	if err := id.Validate(); err != nil {
		return nil, err
	}
	for _, keep := range []func(string) string{func(name string) string { return name }, keptName} {
		files, err := s.openAll(id, keep)
		if err != nil {
			return nil, fmt.Errorf("open the egress log of bottle %s: %w", id, err)
		}
		if len(files) > 0 {
			return files, nil
		}
	}
	return nil, fmt.Errorf("open the egress log of bottle %s: %w", id, fs.ErrNotExist)
}

func (s *Store) openAll(id backend.ID, called func(string) string) ([]*os.File, error) {
	var files []*os.File
	for _, name := range ledger.Names() {
		f, err := s.open(id, called(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			for _, f := range files {
				_ = f.Close()
			}
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// maxAnchor bounds the file of an anchor.
const maxAnchor = 4 << 10

// ReadAnchor reads what was seen last of a bottle's ledger. The error wraps
// fs.ErrNotExist when nothing was.
func (s *Store) ReadAnchor(id backend.ID) (ledger.Anchor, error) {
	var a ledger.Anchor
	if err := id.Validate(); err != nil {
		return a, err
	}
	f, err := s.open(id, AnchorFile)
	if err != nil {
		return a, fmt.Errorf("read the head of the ledger of bottle %s: %w", id, err)
	}
	err = json.NewDecoder(io.LimitReader(f, maxAnchor)).Decode(&a)
	if err = errors.Join(err, f.Close()); err != nil {
		return a, fmt.Errorf("read the head of the ledger of bottle %s: %w", id, err)
	}
	return a, nil
}

// WriteAnchor keeps what was seen last of a bottle's ledger, where its sidecar
// cannot reach it. Of several servers that do so one wins, and each has seen
// what it writes.
func (s *Store) WriteAnchor(id backend.ID, a ledger.Anchor) error {
	err := id.Validate()
	if err != nil {
		return err
	}
	data, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("keep the head of the ledger of bottle %s: %w", id, err)
	}
	var raw [8]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return fmt.Errorf("keep the head of the ledger of bottle %s: %w", id, err)
	}
	draft := path.Join(string(id), AnchorFile+"."+hex.EncodeToString(raw[:]))
	if err = s.bottles.WriteFile(draft, append(data, '\n'), 0o600); err == nil {
		err = s.bottles.Rename(draft, path.Join(string(id), AnchorFile))
	}
	if err != nil {
		_ = s.bottles.Remove(draft)
		return fmt.Errorf("keep the head of the ledger of bottle %s: %w", id, err)
	}
	return nil
}

// Preserved reports whether the operator put a ".preserve" file into the
// bottle's directory: it must then not be removed.
func (s *Store) Preserved(id backend.ID) bool {
	if id.Validate() != nil {
		return false
	}
	_, err := s.bottles.Lstat(path.Join(string(id), preserveFile))
	return err == nil
}

// CreateOutput makes a private file for a command's output. It goes with the
// bottle.
func (s *Store) CreateOutput(id backend.ID) (string, *os.File, error) {
	if err := id.Validate(); err != nil {
		return "", nil, err
	}
	if _, err := s.dirInfo(id); err != nil {
		return "", nil, fmt.Errorf("output of bottle %s: %w", id, backend.ErrNotFound)
	}
	dir := path.Join(string(id), outputsDir)
	if err := s.bottles.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", nil, fmt.Errorf("output of bottle %s: %w", id, err)
	}
	if err := s.pruneOutputs(dir); err != nil {
		return "", nil, fmt.Errorf("output of bottle %s: make room: %w", id, err)
	}
	var raw [8]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return "", nil, fmt.Errorf("output of bottle %s: %w", id, err)
	}
	name := "out-" + hex.EncodeToString(raw[:])
	f, err := s.bottles.OpenFile(path.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", nil, fmt.Errorf("output of bottle %s: %w", id, err)
	}
	return name, f, nil
}

// OpenOutput opens a file made by CreateOutput. The error wraps
// fs.ErrNotExist when there is none of that name.
func (s *Store) OpenOutput(id backend.ID, name string) (*os.File, error) {
	if err := id.Validate(); err != nil {
		return nil, err
	}
	if !outputPattern.MatchString(name) {
		return nil, fmt.Errorf("bottle %s has no output %.40q: %w", id, name, fs.ErrNotExist)
	}
	f, err := s.open(id, path.Join(outputsDir, name))
	if err != nil {
		return nil, fmt.Errorf("open output %s of bottle %s: %w", name, id, err)
	}
	return f, nil
}

// pruneOutputs makes room for one more file.
func (s *Store) pruneOutputs(dir string) error {
	d, err := s.bottles.Open(dir)
	if err != nil {
		return err
	}
	entries, err := d.ReadDir(-1)
	if err = errors.Join(err, d.Close()); err != nil || len(entries) < maxOutputs {
		return err
	}
	age := func(e fs.DirEntry) int64 {
		info, err := e.Info()
		if err != nil {
			return 0 // gone already
		}
		return info.ModTime().UnixNano()
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(age(a), age(b)) })
	for _, e := range entries[:len(entries)-maxOutputs+1] {
		if err := s.bottles.Remove(path.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
