package bottles

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
)

// errToken is the server's answer to a token that it does not know.
var errToken = errors.New("the server does not know the token")

// unreachableError means that nobody is there: the dial failed, or, where an
// engine's relay takes connections in the server's place, not a byte came back.
type unreachableError struct{ err error }

func (e *unreachableError) Error() string {
	return "the host's MCP server cannot be reached: " + e.err.Error()
}
func (e *unreachableError) Unwrap() error { return e.err }

// problem is an answer of this daemon's own. It goes out in the form of the
// protocol, so that an MCP client shows its text.
type problem struct {
	status     int
	reason     string // stable: scripts and models branch on it
	text       string // what it is and what to do
	allow      string // the Allow header, "" = none
	retryAfter int    // seconds, 0 = no use
}

func busy() *problem {
	return &problem{
		status: http.StatusServiceUnavailable, reason: "too_many_requests", retryAfter: 1,
		text: "this bottle has too many requests at work; wait for one to end and try again",
	}
}

// explain says what an exchange with the server failed of. Details stay here:
// they name the host's things.
func explain(err error) *problem {
	var unreachable *unreachableError
	switch {
	case errors.As(err, &unreachable):
		return &problem{
			status: http.StatusServiceUnavailable, reason: "server_not_running", retryAfter: 5,
			text: "the server that launched this bottle is not running, so no bottle can be launched or used now; go on without, try again later, or ask the operator to start `bottle-mcp serve`",
		}
	case errors.Is(err, errToken):
		return &problem{
			status: http.StatusBadGateway, reason: "token_refused",
			text: "the server on the host does not know this bottle; it may have been cleaned up, and nothing in the bottle can change that",
		}
	case errors.Is(err, context.Canceled):
		return &problem{status: http.StatusServiceUnavailable, reason: "stopping", retryAfter: 5, text: "the request was given up; send it again"}
	}
	return &problem{
		status: http.StatusBadGateway, reason: "server_failed", retryAfter: 5,
		text: "the server that launched this bottle broke off its answer; see with list what came of the call, then try again",
	}
}

// code is a server error's in JSON-RPC.
const code = -32000

type answer struct {
	Version string  `json:"jsonrpc"`
	ID      *string `json:"id"` // null: no request was read
	Error   failure `json:"error"`
}

type failure struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    cause  `json:"data"`
}

type cause struct {
	Layer  string `json:"layer"`
	Reason string `json:"reason"`
}

func (p *problem) write(w http.ResponseWriter) {
	data, err := json.Marshal(answer{Version: "2.0", Error: failure{Code: code, Message: p.text, Data: cause{Layer: "bottles", Reason: p.reason}}})
	if err != nil { // strings always encode
		http.Error(w, p.text, p.status)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(data)))
	if p.allow != "" {
		h.Set("Allow", p.allow)
	}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	w.WriteHeader(p.status)
	_, _ = w.Write(data) // nobody is left to tell
}
