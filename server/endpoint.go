package server

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/bottle-mcp/bottle-mcp/provision"
)

// Headers of streamable HTTP.
const (
	headerSession = "Mcp-Session-Id"
	headerVersion = "Mcp-Protocol-Version"
)

// bodyTimeout bounds the arrival of a request's body.
const bodyTimeout = 30 * time.Second

// codeNoSession is the code other servers use beside HTTP's 404.
const codeNoSession = -32001

// endpoint speaks streamable HTTP behind the gate: every message is a POST; the
// answer comes as JSON, or as an event stream when there is progress to show or
// the call takes long.
type endpoint struct {
	server   *Server
	who      provision.Principal
	sessions *sessions
	maxBody  int64
	running  gauge
}

// ServeHTTP implements http.Handler.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPost:
		e.post(w, r)
	case http.MethodDelete:
		e.end(w, r)
	default: // there is no GET stream: the server has nothing to say unasked
		w.Header().Set("Allow", "POST, DELETE")
		http.Error(w, "use POST for messages and DELETE to end a session", http.StatusMethodNotAllowed)
	}
}

func (e *endpoint) end(w http.ResponseWriter, r *http.Request) {
	if !e.sessions.remove(r.Header.Get(headerSession)) {
		http.Error(w, "no such session", http.StatusNotFound)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (e *endpoint) post(w http.ResponseWriter, r *http.Request) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		http.Error(w, "Content-Type must be application/json", http.StatusUnsupportedMediaType)
		return
	}
	if !accepts(r, "application/json") && !accepts(r, "text/event-stream") {
		http.Error(w, "Accept must allow application/json and text/event-stream", http.StatusNotAcceptable)
		return
	}
	body, status := e.body(w, r)
	if status != 0 {
		http.Error(w, "the body must arrive within "+bodyTimeout.String()+" and within the server's limit of bytes; send large files by path", status)
		return
	}
	m, f := parseMessage(body)
	if f == nil {
		f = checkVersion(r, m)
	}
	if f != nil {
		writeFault(w, http.StatusBadRequest, f)
		return
	}
	if m.kind == request && m.method == string(mcp.MethodInitialize) {
		e.initialize(w, r, m)
		return
	}
	e.inSession(w, r, m)
}

// body reads the whole body in bounded time and size; a status other than 0
// says what went wrong.
func (e *endpoint) body(w http.ResponseWriter, r *http.Request) ([]byte, int) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, e.maxBody))
	if err == nil {
		// net/http notices a client that leaves by reading on: without end.
		_ = control.SetReadDeadline(time.Time{})
		return raw, 0
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, http.StatusRequestEntityTooLarge
	}
	return nil, http.StatusRequestTimeout
}

// checkVersion refuses protocol versions without sessions, and unknown ones. A
// client of 2025-03-26 sends none.
func checkVersion(r *http.Request, m message) *fault {
	version := r.Header.Get(headerVersion)
	if version != "" && m.method != string(mcp.MethodInitialize) && !slices.Contains(mcp.LegacyProtocolVersions(), version) {
		return unsupportedVersion(m.id, version)
	}
	if version := m.protocolVersion(); mcp.IsModernProtocol(version) {
		return unsupportedVersion(m.id, version)
	}
	return nil
}

func (e *endpoint) initialize(w http.ResponseWriter, r *http.Request, m message) {
	p := newSessionPeer(e.who)
	data, err := e.server.answer(r.Context(), p, m, nil)
	if err != nil {
		writeFault(w, http.StatusOK, e.server.asFault(m, err))
		return
	}
	if err := e.sessions.add(p); err != nil {
		w.Header().Set("Retry-After", "5")
		writeFault(w, http.StatusServiceUnavailable, &fault{id: m.id.raw, code: codeBusy, text: err.Error()})
		return
	}
	w.Header().Set(headerSession, p.id)
	writeJSON(w, http.StatusOK, data)
}

func (e *endpoint) inSession(w http.ResponseWriter, r *http.Request, m message) {
	id := r.Header.Get(headerSession)
	if id == "" {
		writeFault(w, http.StatusBadRequest, &fault{id: m.id.raw, code: mcp.INVALID_REQUEST, text: "there is no " + headerSession + " header; begin with initialize and repeat the id it returns"})
		return
	}
	p, release, ok := e.sessions.use(id)
	if !ok {
		writeFault(w, http.StatusNotFound, &fault{id: m.id.raw, code: codeNoSession, text: "no such session: it has ended or expired; begin a new one with initialize"})
		return
	}
	if m.kind != request {
		p.notify(m) // answers are ignored: we ask nothing
		release()
		w.WriteHeader(http.StatusAccepted)
		return
	}
	e.call(w, r, m, delivery{peer: p, done: release})
}

// call answers one request on this response. A client that leaves cancels it:
// nobody could be given the answer.
func (e *endpoint) call(w http.ResponseWriter, r *http.Request, m message, d delivery) {
	e.running.enter()
	release := d.done
	d.done = func() { release(); e.running.leave() }
	d.out = newOutbox()
	running := e.server.begin(r.Context(), d, m)
	(&stream{
		client:  r.Context(),
		w:       w,
		control: http.NewResponseController(w),
		events:  accepts(r, "text/event-stream"),
		quiet:   e.server.limits.KeepAlive,
	}).serve(running, d.out)
}

// accepts reads Accept coarsely, as other servers do: absent allows all.
func accepts(r *http.Request, media string) bool {
	values := r.Header.Values("Accept")
	if len(values) == 0 {
		return true
	}
	kind, _, _ := strings.Cut(media, "/")
	for part := range strings.SplitSeq(strings.Join(values, ","), ",") {
		got, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(part)), ";")
		if got = strings.TrimSpace(got); got == media || got == "*/*" || got == kind+"/*" {
			return true
		}
	}
	return false
}

func writeFault(w http.ResponseWriter, status int, f *fault) { writeJSON(w, status, f.encode()) }

func writeJSON(w http.ResponseWriter, status int, data []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	_, _ = w.Write(data) // the client may have left; its context says so
}
