package state

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
)

// Names in the store.
const (
	ownerFile    = "owner"
	bottlesDir   = "bottles"
	recordFile   = "metadata.json"
	recordNew    = ".metadata.json.new"
	preserveFile = ".preserve"
	outputsDir   = "outputs"

	// EgressLog is the first of the files in a bottle's directory to which its
	// sidecar appends decisions.
	EgressLog = sidecars.EgressLog
	// AnchorFile holds what was seen last of them.
	AnchorFile = "egress.head"
)

// KeptLedger are the names of the files of a ledger that is kept.
func KeptLedger() []string {
	names := ledger.Names()
	for i := range names {
		names[i] = keptName(names[i])
	}
	return names
}

// keptName is where a file of the ledger is kept when the directory is
// preserved: the backend removes its own files.
func keptName(name string) string { return strings.TrimSuffix(name, ".jsonl") + ".preserved.jsonl" }

// ErrBusy means that another server, or another call, holds a bottle's lock.
var ErrBusy = errors.New("the bottle is being launched or removed just now")

// Store is the state directory. It is safe for concurrent use, also by several
// processes.
type Store struct {
	path    string
	owner   string
	bottles *os.Root
}

// DefaultRoot is $XDG_STATE_HOME/bottle-mcp, or ~/.local/state/bottle-mcp.
func DefaultRoot(lookup func(string) (string, bool)) (string, error) {
	// The XDG specification: a relative path is to be ignored.
	if base, _ := lookup("XDG_STATE_HOME"); filepath.IsAbs(base) {
		return filepath.Join(base, "bottle-mcp"), nil
	}
	if home, _ := lookup("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "bottle-mcp"), nil
	}
	return "", errors.New("there is no place for the state: set HOME or XDG_STATE_HOME to an absolute path")
}

// Open opens the store at root and makes it when it is missing. Close it when
// nothing uses it any more.
func Open(root string) (*Store, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("open the state directory: %w", err)
	}
	dir := filepath.Join(root, bottlesDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	// It may have been made by somebody else, more open than we make it.
	for _, d := range []string{root, dir} {
		if err := tighten(d); err != nil {
			return nil, fmt.Errorf("close the state directory to others: %w", err)
		}
	}
	owner, err := readOwner(root)
	if err != nil {
		return nil, err
	}
	bottles, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the state directory: %w", err)
	}
	s := &Store{path: root, owner: owner, bottles: bottles}
	drafts, err := filepath.Glob(filepath.Join(dir, draftPrefix+"*"))
	for i := range drafts {
		drafts[i] = filepath.Base(drafts[i])
	}
	if err = errors.Join(err, s.sweepDrafts(drafts)); err != nil {
		return nil, errors.Join(fmt.Errorf("sweep the state directory: %w", err), bottles.Close())
	}
	return s, nil
}

func tighten(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	return os.Chmod(dir, 0o700)
}

// Close releases the store.
func (s *Store) Close() error { return s.bottles.Close() }

// Path is the state directory.
func (s *Store) Path() string { return s.path }

// BottlesDir holds one directory per bottle.
func (s *Store) BottlesDir() string { return filepath.Join(s.path, bottlesDir) }

// Owner is the random id of this store. It stands on everything that bottles
// are made of, so that nothing of another store is ever touched.
func (s *Store) Owner() string { return s.owner }

var ownerPattern = regexp.MustCompile(`^[0-9a-f]{32}$`)

// readOwner reads the owner id and makes it the first time. Of several servers
// that start at once one wins, and all read the winner's.
func readOwner(root string) (string, error) {
	path := filepath.Join(root, ownerFile)
	for range 2 {
		f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
		if errors.Is(err, fs.ErrNotExist) {
			if err := makeOwner(root, path); err != nil {
				return "", fmt.Errorf("make the owner id %s: %w", path, err)
			}
			continue
		}
		if err != nil {
			return "", fmt.Errorf("read the owner id: %w", err)
		}
		data, err := io.ReadAll(io.LimitReader(f, 64))
		if err = errors.Join(err, f.Close()); err != nil {
			return "", fmt.Errorf("read the owner id: %w", err)
		}
		owner := strings.TrimSpace(string(data))
		if !ownerPattern.MatchString(owner) {
			return "", fmt.Errorf("the owner id in %s is damaged: restore it, or remove all bottles and then the file", path)
		}
		return owner, nil
	}
	return "", fmt.Errorf("the owner id %s vanishes as soon as it is made", path)
}

func makeOwner(root, path string) error {
	var raw [16]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return err
	}
	f, err := os.CreateTemp(root, ".owner-")
	if err != nil {
		return err
	}
	_, err = f.WriteString(hex.EncodeToString(raw[:]) + "\n")
	err = errors.Join(err, f.Close())
	if err == nil {
		// A link either makes the whole file or fails: nobody reads half of it.
		if err = os.Link(f.Name(), path); errors.Is(err, fs.ErrExist) {
			err = nil
		}
	}
	return errors.Join(err, os.Remove(f.Name()))
}

// Read reads a bottle's record. The error wraps backend.ErrNotFound or is a
// *CorruptError.
func (s *Store) Read(id backend.ID) (Record, error) {
	if err := id.Validate(); err != nil {
		return Record{}, err
	}
	f, err := s.open(id, recordFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := s.dirInfo(id); err != nil {
			return Record{}, fmt.Errorf("bottle %s: %w", id, backend.ErrNotFound)
		}
		return Record{}, &CorruptError{ID: id, Err: ErrNoRecord}
	case err != nil:
		return Record{}, &CorruptError{ID: id, Err: err}
	}
	defer func() { _ = f.Close() }()
	r, err := decode(f, id)
	if err != nil {
		return Record{}, &CorruptError{ID: id, Err: err}
	}
	if r.Owner != s.owner {
		return Record{}, &CorruptError{ID: id, Err: ErrForeign}
	}
	return r, nil
}

// Entry is one bottle of the store.
type Entry struct {
	ID     backend.ID
	Record Record // zero when Err is set
	// Err is a *CorruptError when the record cannot be read.
	Err error
	// Modified is when the directory last changed; for entries without record.
	Modified int64
}

// List returns all bottles, sorted by id. A record that cannot be read is an
// entry with an error, and no error of the others.
func (s *Store) List() ([]Entry, error) {
	dir, err := s.bottles.Open(".")
	if err != nil {
		return nil, fmt.Errorf("list bottles: %w", err)
	}
	entries, err := dir.ReadDir(-1)
	if err = errors.Join(err, dir.Close()); err != nil {
		return nil, fmt.Errorf("list bottles: %w", err)
	}
	var out []Entry
	for _, e := range entries {
		id := backend.ID(e.Name())
		if !e.IsDir() || id.Validate() != nil {
			continue // not made by us, and none of our business
		}
		r, err := s.Read(id)
		if errors.Is(err, backend.ErrNotFound) {
			continue // removed meanwhile
		}
		entry := Entry{ID: id, Record: r, Err: err}
		if info, err := e.Info(); err == nil {
			entry.Modified = info.ModTime().UnixNano()
		}
		out = append(out, entry)
	}
	sortEntries(out)
	return out, nil
}
