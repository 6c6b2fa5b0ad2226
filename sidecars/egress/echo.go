package egress

import (
	"net/http"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars/scrub"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// newScrubber looks for everything that was handed over: also for what one route
// puts on and another one's server shows, and for what no route puts on any
// more. A Basic credential's password is a secret of its own.
func newScrubber(h held) (*scrub.Scrubber, error) {
	var all []secret.Value
	for _, c := range h.credentials() {
		all = append(all, c.Value)
		if _, password, ok := strings.Cut(c.Value.Reveal(), ":"); ok {
			all = append(all, secret.New(password))
		}
	}
	return scrub.New(all)
}

// reads reports whether the answers of a route are looked through on their way,
// which takes that they can be read.
func (ex *exchange) reads() bool { return ex.route.auth != nil || ex.route.scans.blocks }

// echoed notes that a secret came back.
func (ex *exchange) echoed(n int) { ex.echoes.Add(int64(n)) }

// scrubHeader overwrites secrets in the headers of an answer. A header that has
// one in its name is dropped.
func (ex *exchange) scrubHeader(h http.Header) {
	if !ex.reads() {
		return
	}
	for name, values := range h {
		if _, found := ex.gen.scrubber.Text(strings.ToLower(name)); found {
			delete(h, name)
			ex.echoed(1)
			continue
		}
		for i, v := range values {
			clean, found := ex.gen.scrubber.Text(v)
			if found {
				values[i] = clean
				ex.echoed(1)
			}
		}
	}
}

// echoFilter is the stage that overwrites secrets in a body.
type echoFilter struct {
	ex     *exchange
	stream *scrub.Stream
	found  int
}

func (ex *exchange) newEchoFilter() *echoFilter {
	return &echoFilter{ex: ex, stream: ex.gen.scrubber.Stream()}
}

func (e *echoFilter) pass(piece []byte) ([]byte, *refusal) {
	out := e.stream.Write(piece)
	e.ex.echoed(e.stream.Found() - e.found)
	e.found = e.stream.Found()
	return out, nil
}

func (e *echoFilter) end() ([]byte, *refusal) { return e.stream.Close(), nil }
