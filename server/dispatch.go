package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"
)

// exchange is one request being answered, as the handlers below mcp-go see it
// through their context.
type exchange struct {
	progress *reporter
	failed   *fault // set by a resource handler; replaces mcp-go's error
}

type exchangeKey struct{}

func exchangeFromContext(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	if x == nil {
		return &exchange{}
	}
	return x
}

// delivery says where a request's frames go and what follows its end.
type delivery struct {
	peer *peer
	out  *outbox
	// done runs once, after the handler has returned and the answer is in the
	// outbox; nil does nothing.
	done func()
}

// notify takes a notification. Only cancellation concerns us.
func (p *peer) notify(m message) {
	if m.method != string(mcp.MethodNotificationCancelled) {
		return
	}
	var params cancelParams
	if json.Unmarshal(m.params, &params) != nil {
		return
	}
	if id := (requestID{params.RequestID}); id.valid() {
		p.inflight.cancel(id.key())
	}
}

// finish puts the answer, nil for none, and ends the delivery.
func (d delivery) finish(data []byte) {
	if data != nil {
		d.out.put(frame{data: data, last: true})
	}
	if d.done != nil {
		d.done()
	}
}

// begin enters a request in its peer's register and answers it: at once where
// that takes no time, so that a client may send initialize and what builds on
// it without waiting, and else in a goroutine. When begin returns, a cancel
// finds the request. The returned context ends with the request or its cancel,
// even if its handler goes on.
func (s *Server) begin(ctx context.Context, d delivery, m message) context.Context {
	running, err := d.peer.inflight.begin(ctx, m.id.key())
	if err != nil {
		d.finish((&fault{id: m.id.raw, code: mcp.INVALID_REQUEST, text: err.Error()}).encode())
		return ctx
	}
	switch m.method {
	case string(mcp.MethodToolsCall), string(mcp.MethodResourcesRead):
		go s.complete(running, d, m)
	default:
		s.complete(running, d, m)
	}
	return running
}

// complete answers a request that has begun and takes it out of the register.
func (s *Server) complete(ctx context.Context, d delivery, m message) {
	progress := s.progressOf(d.out, m)
	if progress != nil {
		go progress.keepAlive(ctx, s.limits.KeepAlive)
	}
	data, err := s.answer(ctx, d.peer, m, progress)
	if err != nil {
		data = s.asFault(m, err).encode()
	}
	progress.close()
	// Whoever cancelled a request no longer waits for its answer.
	if errors.Is(context.Cause(ctx), errCancelledByClient) {
		data = nil
	}
	d.peer.inflight.end(m.id.key())
	d.finish(data)
}

// answer has mcp-go answer one request and returns the encoded answer; an error
// is a *fault or a defect.
func (s *Server) answer(ctx context.Context, p *peer, m message, progress *reporter) (data []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			data, err = nil, &fault{code: mcp.INTERNAL_ERROR, text: s.defect("panic while answering",
				slog.String("method", m.method), slog.Any("panic", v), slog.String("stack", string(debug.Stack())))}
		}
	}()
	if f := s.refuse(m); f != nil {
		return nil, f
	}
	canonical, err := m.canonical(s.ids.Add(1))
	if err != nil {
		return nil, &fault{code: mcp.INVALID_PARAMS, text: "the parameters are not valid JSON"}
	}
	x := &exchange{progress: progress}
	ctx = context.WithValue(ctx, exchangeKey{}, x)
	ctx = context.WithValue(ctx, principalKey{}, p.who)
	reply := s.mcp.HandleMessage(s.mcp.WithContext(ctx, p), canonical)
	if x.failed != nil {
		return nil, x.failed
	}
	switch r := reply.(type) {
	case mcp.JSONRPCResponse:
		return encodeResult(m.id.raw, r.Result)
	case mcp.JSONRPCError:
		return nil, &fault{code: r.Error.Code, text: cleanText(r.Error.Message), data: r.Error.Data}
	default:
		return nil, fmt.Errorf("unexpected reply %T to %s", reply, m.method)
	}
}

// refuse stops what must not reach mcp-go.
func (s *Server) refuse(m message) *fault {
	// The sessionless protocol has no session to keep cancels and log levels
	// apart, and server requests in another form: one era is enough to be sure of.
	if version := m.protocolVersion(); mcp.IsModernProtocol(version) {
		return unsupportedVersion(m.id, version)
	}
	if m.method != string(mcp.MethodToolsCall) {
		return nil
	}
	var params callParams
	if json.Unmarshal(m.params, &params) != nil {
		return &fault{code: mcp.INVALID_PARAMS, text: `tools/call needs "params" with "name", a string, and "arguments", an object`}
	}
	if s.tools[params.Name] == nil {
		return &fault{code: mcp.INVALID_PARAMS, text: fmt.Sprintf("unknown tool %q; available: %s",
			clip(params.Name), strings.Join(slices.Sorted(maps.Keys(s.tools)), ", "))}
	}
	return nil
}

// progressOf is the reporter of a tool call that asked for progress, else nil.
func (s *Server) progressOf(out *outbox, m message) *reporter {
	if m.method != string(mcp.MethodToolsCall) {
		return nil
	}
	var params callParams
	if json.Unmarshal(m.params, &params) != nil {
		return nil
	}
	return newReporter(out, params.Meta.ProgressToken)
}

// asFault makes an answer of any error; a defect's text stays in the log.
func (s *Server) asFault(m message, err error) *fault {
	var f *fault
	if !errors.As(err, &f) {
		f = &fault{code: mcp.INTERNAL_ERROR, text: s.defect("a request cannot be answered",
			slog.String("method", m.method), slog.Any("error", err))}
	}
	f.id = m.id.raw
	return f
}
