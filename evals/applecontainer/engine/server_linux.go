package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// serverDeadline bounds one request, so that nothing waits for ever.
const serverDeadline = 5 * time.Minute

// The requests that the daemon serves.
const (
	opNetworkCreate = "network create"
	opNetworkDelete = "network delete"
	opCreate        = "create"
	opStart         = "start"
	opStop          = "stop"
	opKill          = "kill"
	opDelete        = "delete"
	opLoad          = "image load"
	opImageDelete   = "image delete"
	opTag           = "image tag"
	opBuilder       = "builder start"
)

// request is what the command line asks the daemon for.
type request struct {
	Op   string          `json:"op"`
	Body json.RawMessage `json:"body"`
}

// reply is the daemon's answer.
type reply struct {
	Error *Error          `json:"error,omitempty"`
	Body  json.RawMessage `json:"body,omitempty"`
}

// startRequest starts a container; an attached one has the streams as files 3,
// 4 and 5, and a second reply with the status.
type startRequest struct {
	ID     string `json:"id"`
	Attach bool   `json:"attach"`
}

// deletedNetworks is the result of a deletion, also of one that failed in part.
type deletedNetworks struct{ Deleted, Logs []string }

type tagRequest struct{ From, To string }

// conn is a request under way.
type conn struct {
	replies *json.Decoder
	wait    func() error
}

// call asks the daemon. Files are handed on; in becomes the request's body.
func (e *Engine) call(ctx context.Context, op string, in any, files ...*os.File) (*conn, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("ask for %s: %w", op, err)
	}
	// The daemon goes on when the one that asked is gone.
	cmd := e.role(context.WithoutCancel(ctx), RoleServer)
	cmd.ExtraFiles = files
	cmd.Stderr = nil
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	err = errors.Join(json.NewEncoder(stdin).Encode(request{Op: op, Body: body}), stdin.Close())
	return &conn{replies: json.NewDecoder(stdout), wait: cmd.Wait}, err
}

// answer reads one reply into out.
func (c *conn) answer(out any) error {
	var r reply
	if err := c.replies.Decode(&r); err != nil {
		return &Error{Code: Interrupted, Message: "the daemon ended without an answer", Cause: errors.Join(err, c.wait()).Error()}
	}
	if out != nil && len(r.Body) > 0 {
		if err := json.Unmarshal(r.Body, out); err != nil {
			return err
		}
	}
	if r.Error != nil {
		return r.Error
	}
	return nil
}

// ask is a call with one answer.
func (e *Engine) ask(ctx context.Context, op string, in, out any) error {
	c, err := e.call(ctx, op, in)
	if err != nil {
		return err
	}
	err = c.answer(out)
	_ = c.wait() // its status says nothing that the answer does not
	return err
}

// Serve does what a daemon does for one request.
func (e *Engine) Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	var req request
	if err := json.NewDecoder(in).Decode(&req); err != nil {
		return fmt.Errorf("the request cannot be read: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, serverDeadline)
	defer cancel()
	replies := json.NewEncoder(out)
	if req.Op == opStart {
		return e.serveStart(ctx, req.Body, replies)
	}
	result, err := e.serve(ctx, req)
	return send(replies, result, err)
}

func send(replies *json.Encoder, result any, err error) error {
	var r reply
	if err != nil {
		r.Error = asError(err)
	}
	if result != nil {
		body, err := json.Marshal(result)
		if err != nil {
			return err
		}
		r.Body = body
	}
	return replies.Encode(r)
}

// serve decodes a request's body and does it. What changes the set of objects
// runs under the daemon's lock.
func (e *Engine) serve(ctx context.Context, req request) (any, error) {
	switch req.Op {
	case opStop:
		return with(req.Body, func(r StopRequest) (any, error) { return nil, e.stopContainer(ctx, r) })
	case opKill:
		return with(req.Body, func(r KillRequest) (any, error) { return nil, e.killContainer(ctx, r) })
	case opDelete:
		return with(req.Body, func(r DeleteRequest) (any, error) { return nil, e.deleteContainer(ctx, r) })
	case opBuilder:
		return with(req.Body, func(r BuilderRequest) (any, error) { return nil, e.startBuilder(ctx, r) })
	}
	unlock, err := e.lock(ctx, apiLock)
	if err != nil {
		return nil, err
	}
	defer unlock()
	switch req.Op {
	case opNetworkCreate:
		return with(req.Body, func(r NetworkRequest) (any, error) { return nil, e.createNetwork(ctx, r) })
	case opNetworkDelete:
		return with(req.Body, func(names []string) (any, error) {
			deleted, logs, err := e.deleteNetworks(ctx, names)
			return deletedNetworks{deleted, logs}, err
		})
	case opCreate:
		return with(req.Body, func(r CreateRequest) (any, error) { return nil, e.createContainer(ctx, r) })
	case opLoad:
		return with(req.Body, func(r LoadRequest) (any, error) { return e.loadImages(ctx, r) })
	case opImageDelete:
		return with(req.Body, func(name string) (any, error) { return nil, e.deleteImage(ctx, name) })
	case opTag:
		return with(req.Body, func(r tagRequest) (any, error) { return nil, e.tagImage(ctx, r.From, r.To) })
	default:
		return nil, Failf(Unsupported, "unknown request %s", req.Op)
	}
}

func with[T any](body json.RawMessage, do func(T) (any, error)) (any, error) {
	var in T
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fmt.Errorf("the request's body cannot be read: %w", err)
	}
	return do(in)
}

// serveStart answers when the process runs and, of an attached one, again when
// it has ended.
func (e *Engine) serveStart(ctx context.Context, body json.RawMessage, replies *json.Encoder) error {
	var req startRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return err
	}
	var stdio []*os.File
	if req.Attach {
		for fd, name := range []string{"stdin", "stdout", "stderr"} {
			stdio = append(stdio, os.NewFile(uintptr(3+fd), name))
		}
	}
	wait, err := e.lockedStart(ctx, req.ID, stdio)
	if sendErr := send(replies, nil, err); err != nil || sendErr != nil || wait == nil {
		return sendErr
	}
	code, err := wait()
	return send(replies, code, err)
}

func (e *Engine) lockedStart(ctx context.Context, id string, stdio []*os.File) (func() (int, error), error) {
	unlock, err := e.lock(ctx, apiLock)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return e.startContainer(ctx, id, stdio)
}
