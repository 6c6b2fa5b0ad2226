package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// Phase is how far a bottle's life has come.
type Phase string

// The phases, in order.
const (
	Reserved  Phase = "reserved"  // the id is taken, nothing runs yet
	Launching Phase = "launching" // something may run
	Ready     Phase = "ready"     // handed over
	Removing  Phase = "removing"  // what is left is to be removed
)

// schema is the version of the record's format.
const schema = 1

// maxRecord bounds a record that is read.
const maxRecord = 1 << 20

// Record is what is known of a bottle apart from its engine.
type Record struct {
	Schema    int               `json:"schema"`
	ID        backend.ID        `json:"id"`
	Owner     string            `json:"owner"`
	Phase     Phase             `json:"phase"`
	Label     string            `json:"label"`
	Agent     string            `json:"agent"`
	Bottles   []string          `json:"bottles"`
	Backend   string            `json:"backend"`
	Isolation string            `json:"isolation"`
	Principal string            `json:"principal"` // who launched it, e.g. "operator"
	Created   time.Time         `json:"created"`
	Expires   time.Time         `json:"expires"`
	Workspace string            `json:"workspace"`
	Policy    string            `json:"policy"`
	Limits    backend.Limits    `json:"limits"`
	Endpoints backend.Endpoints `json:"endpoints"`
	Digest    string            `json:"digest"`
	// Launcher is the server that launched it.
	Launcher Process `json:"launcher"`
	// Problem is why it could not be removed, for people.
	Problem string `json:"problem,omitempty"`
	// Detail belongs to the store's user (routes, the isolation report …);
	// the store does not look inside.
	Detail json.RawMessage `json:"detail,omitempty"`
}

// CorruptError means that a bottle's record cannot be read. The bottle itself
// may live.
type CorruptError struct {
	ID  backend.ID
	Err error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("the record of bottle %s cannot be read: %v; remove the bottle with cleanup", e.ID, e.Err)
}

// Unwrap gives the cause.
func (e *CorruptError) Unwrap() error { return e.Err }

// Causes of a CorruptError that callers branch on.
var (
	// ErrNoRecord means that a directory holds no record: what a removal that
	// was cut short, or a backend, left behind.
	ErrNoRecord = errors.New("there is no record")
	// ErrForeign means that the record belongs to another owner id; nothing of
	// the bottle may be touched.
	ErrForeign = errors.New("it belongs to another owner id")
)

func encode(r Record) ([]byte, error) {
	r.Schema = schema
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the record of bottle %s: %w", r.ID, err)
	}
	if len(data) >= maxRecord {
		return nil, fmt.Errorf("the record of bottle %s would take %d bytes, more than %d", r.ID, len(data), maxRecord)
	}
	return append(data, '\n'), nil
}

// decode reads a record strictly: half of one is none.
func decode(in io.Reader, id backend.ID) (Record, error) {
	data, err := io.ReadAll(io.LimitReader(in, maxRecord+1))
	if err != nil {
		return Record{}, err
	}
	if len(data) > maxRecord {
		return Record{}, fmt.Errorf("it is larger than %d bytes", maxRecord)
	}
	var version struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return Record{}, err
	}
	if version.Schema != schema {
		return Record{}, fmt.Errorf("it has format %d and this version reads format %d", version.Schema, schema)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var r Record
	if err := dec.Decode(&r); err != nil {
		return Record{}, err
	}
	switch r.Phase {
	case Reserved, Launching, Ready, Removing:
	default:
		return Record{}, fmt.Errorf("phase %.40q is not known", string(r.Phase))
	}
	if r.ID != id {
		return Record{}, fmt.Errorf("it is the record of another bottle, %.60q", string(r.ID))
	}
	return r, nil
}
