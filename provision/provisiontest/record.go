package provisiontest

import (
	"bytes"
	"context"
	"io"
	"slices"
	"sync"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/setup"
)

// call is one thing that a launch did in a guest: files that its half of package
// setup brought, or a copy.
type call struct {
	user  string
	files []byte // what package setup was told; nil = it is a copy
	copy  backend.CopySpec
	tar   []byte
}

// recorder is a backend that remembers what launches do in guests, so that it
// can be done once more.
type recorder struct {
	backend.Backend

	mu    sync.Mutex
	on    bool
	calls []call
}

func (r *recorder) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.on, r.calls = true, nil
}

func (r *recorder) end() []call {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.on = false
	return r.calls
}

func (r *recorder) recording() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.on
}

func (r *recorder) add(c call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, c)
}

// Exec implements backend.Backend.
func (r *recorder) Exec(ctx context.Context, id backend.ID, cmd backend.Command, streams backend.Streams) (backend.ExitStatus, error) {
	if !r.recording() || !slices.Equal(cmd.Argv, setup.Argv()) {
		return r.Backend.Exec(ctx, id, cmd, streams)
	}
	var files bytes.Buffer
	streams.Stdin = io.TeeReader(streams.Stdin, &files)
	status, err := r.Backend.Exec(ctx, id, cmd, streams)
	r.add(call{user: cmd.User, files: files.Bytes()})
	return status, err
}

// Copy implements backend.Backend.
func (r *recorder) Copy(ctx context.Context, id backend.ID, spec backend.CopySpec) (backend.CopyReport, error) {
	if !r.recording() || spec.Direction != backend.CopyIn {
		return r.Backend.Copy(ctx, id, spec)
	}
	tar, err := io.ReadAll(spec.Reader)
	if err != nil {
		return backend.CopyReport{}, err
	}
	spec.Reader = bytes.NewReader(tar)
	r.add(call{user: spec.User, copy: spec, tar: tar})
	return r.Backend.Copy(ctx, id, spec)
}
