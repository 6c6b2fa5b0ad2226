package macoscontainer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
)

// Names in a bottle's directory. Other files there are not ours.
const (
	recordFile = "macos-container.json"
	sidecarDir = "sidecar" // mounted in the sidecar
	guestDir   = "guest"   // mounted in the agent, read-only
	maxRecord  = 64 << 10
)

// record is what this backend has to remember of a bottle: what was proven of
// it. What exists now is the engine's to say.
type record struct {
	ID       backend.ID         `json:"id"`
	Owner    string             `json:"owner"`
	Topology topology           `json:"topology"`
	Services []sidecars.Service `json:"services"`
	Created  time.Time          `json:"created"`
	Expires  time.Time          `json:"expires"`
	// Sockets is the bottle's directory of sockets; "" = none.
	Sockets string `json:"sockets,omitempty"`
	// HostSocket is the host's MCP server's; "" = the bottle has no way there.
	HostSocket string            `json:"host_socket,omitempty"`
	Endpoints  backend.Endpoints `json:"endpoints"`
	// Account is who works in the guest, once it runs.
	Account backend.Account `json:"account"`
	// SidecarAddress is the sidecar's on the internal network.
	SidecarAddress string `json:"sidecar_address,omitempty"`
	// SidecarStarted and AgentStarted are the engine's words. A container that
	// was started again is another one: its isolation is not proven.
	SidecarStarted time.Time `json:"sidecar_started,omitzero"`
	AgentStarted   time.Time `json:"agent_started,omitzero"`
}

func (r record) identity() identity {
	return identity{owner: r.Owner, id: r.ID, created: r.Created, expires: r.Expires}
}

// reserve writes the record of a new bottle. One that is there already gives
// backend.ErrExists.
func (b *Backend) reserve(r record) error {
	if err := os.MkdirAll(b.dir(r.ID), 0o700); err != nil {
		return fmt.Errorf("make the directory of bottle %s: %w", r.ID, err)
	}
	f, err := os.OpenFile(filepath.Join(b.dir(r.ID), recordFile), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("bottle %s: %w", r.ID, backend.ErrExists)
	}
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = b.writeRecord(r)
	}
	if err != nil {
		// A full disk must not leave an id that nobody can use.
		return errors.Join(fmt.Errorf("reserve bottle %s: %w", r.ID, err), b.sweep(r.ID))
	}
	return nil
}

// writeRecord replaces the record at once.
func (b *Backend) writeRecord(r record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write the record of bottle %s: %w", r.ID, err)
	}
	path := filepath.Join(b.dir(r.ID), recordFile)
	if err := writeSynced(path+".new", data); err != nil {
		return fmt.Errorf("write the record of bottle %s: %w", r.ID, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write the record of bottle %s: %w", r.ID, err)
	}
	return nil
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// errReserved means that a bottle's start got no further than its reservation.
var errReserved = errors.New("the record is empty: its launch broke off")

// readRecord reads a bottle's record; backend.ErrNotFound when this owner has
// none of that id.
func (b *Backend) readRecord(id backend.ID) (record, error) {
	f, err := os.Open(filepath.Join(b.dir(id), recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, fmt.Errorf("bottle %s: %w", id, backend.ErrNotFound)
	}
	if err != nil {
		return record{}, fmt.Errorf("read the record of bottle %s: %w", id, err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxRecord))
	if err != nil {
		return record{}, fmt.Errorf("read the record of bottle %s: %w", id, err)
	}
	if len(data) == 0 {
		return record{}, fmt.Errorf("bottle %s: %w", id, errReserved)
	}
	var r record
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return record{}, fmt.Errorf("the record of bottle %s is damaged; clean the bottle up: %w", id, err)
	}
	if r.ID != id || r.Owner != b.cfg.Owner {
		return record{}, fmt.Errorf("bottle %s: %w", id, backend.ErrNotFound)
	}
	if r.Account.UID < 1 { // before the guest runs; it must never mean root
		r.Account = backend.DefaultAccount()
	}
	return r, nil
}

// records reads all of this owner's; what is damaged is left out, since the
// engine's labels tell of it too.
func (b *Backend) records() (map[backend.ID]record, error) {
	entries, err := os.ReadDir(b.cfg.BottlesDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list bottles: %w", err)
	}
	out := map[backend.ID]record{}
	for _, e := range entries {
		id := backend.ID(e.Name())
		if !e.IsDir() || id.Validate() != nil {
			continue
		}
		r, err := b.readRecord(id)
		switch {
		case err == nil:
			out[id] = r
		case !errors.Is(err, backend.ErrNotFound):
			out[id] = record{ID: id, Owner: b.cfg.Owner}
		}
	}
	return out, nil
}

// sweep removes the files of a bottle. What others keep in its directory is
// theirs.
func (b *Backend) sweep(id backend.ID) error {
	dir := b.dir(id)
	var errs []error
	for _, name := range append(ledger.Names(), sidecarDir, guestDir, recordFile+".new") {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			errs = append(errs, err)
		}
	}
	errs = append(errs, os.RemoveAll(b.socketDir(id)))
	if errors.Join(errs...) == nil {
		// The last of all: as long as something is left, it is found by this.
		if err := os.Remove(filepath.Join(dir, recordFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	_ = os.Remove(dir)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove the files of bottle %s: %w", id, err)
	}
	return nil
}
