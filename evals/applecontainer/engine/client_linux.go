package engine

import (
	"context"
	"os"
)

// CreateNetwork makes a network.
func (e *Engine) CreateNetwork(ctx context.Context, req NetworkRequest) error {
	return e.ask(ctx, opNetworkCreate, req, nil)
}

// DeleteNetworks deletes networks. It returns those that are gone and what is
// to be said about the others, also along with an error.
func (e *Engine) DeleteNetworks(ctx context.Context, names []string) (deleted, logs []string, err error) {
	var out deletedNetworks
	err = e.ask(ctx, opNetworkDelete, names, &out)
	return out.Deleted, out.Logs, err
}

// Create makes a container.
func (e *Engine) Create(ctx context.Context, req CreateRequest) error {
	return e.ask(ctx, opCreate, req, nil)
}

// Start starts a container, detached.
func (e *Engine) Start(ctx context.Context, id string) error {
	return e.ask(ctx, opStart, startRequest{ID: id}, nil)
}

// Attached is a container that was started with its streams attached.
type Attached struct{ conn *conn }

// StartAttached starts a container whose process reads and writes the files.
func (e *Engine) StartAttached(ctx context.Context, id string, stdio [3]*os.File) (*Attached, error) {
	c, err := e.call(ctx, opStart, startRequest{ID: id, Attach: true}, stdio[:]...)
	if err != nil {
		return nil, err
	}
	return &Attached{c}, c.answer(nil)
}

// Wait returns the process's status.
func (a *Attached) Wait() (int, error) {
	var code int
	err := a.conn.answer(&code)
	_ = a.conn.wait()
	return code, err
}

// Stop ends a container politely.
func (e *Engine) Stop(ctx context.Context, req StopRequest) error {
	return e.ask(ctx, opStop, req, nil)
}

// Kill sends a signal to a container.
func (e *Engine) Kill(ctx context.Context, req KillRequest) error {
	return e.ask(ctx, opKill, req, nil)
}

// Delete removes a container.
func (e *Engine) Delete(ctx context.Context, req DeleteRequest) error {
	return e.ask(ctx, opDelete, req, nil)
}

// Load loads an archive and returns the references in it.
func (e *Engine) Load(ctx context.Context, req LoadRequest) ([]string, error) {
	var references []string
	err := e.ask(ctx, opLoad, req, &references)
	return references, err
}

// DeleteImage forgets an image by its full name.
func (e *Engine) DeleteImage(ctx context.Context, reference string) error {
	return e.ask(ctx, opImageDelete, reference, nil)
}

// Tag gives an image another full name.
func (e *Engine) Tag(ctx context.Context, from, to string) error {
	return e.ask(ctx, opTag, tagRequest{from, to}, nil)
}

// StartBuilder starts the builder, or leaves a fitting one alone.
func (e *Engine) StartBuilder(ctx context.Context, req BuilderRequest) error {
	return e.ask(ctx, opBuilder, req, nil)
}

// MoveSubnets gives every network another subnet, as a restart of the daemon
// may.
func (e *Engine) MoveSubnets(ctx context.Context) error {
	unlock, err := e.lock(ctx, apiLock)
	if err != nil {
		return err
	}
	defer unlock()
	return e.changeSubnets(ctx, func(*network) bool { return true })
}
