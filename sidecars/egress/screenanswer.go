package egress

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars/dlp"
)

const (
	// heldFirst is how much of an answer's text a route that blocks wants to have
	// read before any of it goes on, and heldBack how much of it stays behind from
	// then on: phrases add up over that distance.
	heldFirst = 64 << 10
	heldBack  = 4 << 10
	// mostListened bounds what is decompressed of an answer only to be read.
	mostListened = 64 << 20
)

// screenAnswer reads an answer's text for attempts to instruct a model. It
// reports them; on a route that says so it blocks. Nothing is ever changed.
func (ex *exchange) screenAnswer(resp *http.Response) stages {
	on := ex.route.scans.answers()
	if len(on) == 0 || !dlp.Textual(resp.Header.Get("Content-Type")) || bodyless(resp, ex.r.Method) {
		return nil
	}
	reader := &answerReader{ex: ex, stream: ex.gen.scanner.Stream(dlp.StreamOptions{Detectors: on})}
	codings := codingsOf(resp.Header)
	switch {
	case ex.route.scans.blocks: // it is decoded by now
		ex.scan.closes(reader)
		return stages{&injectionGate{answerReader: reader, messages: eventsOf(resp.Header.Get("Content-Type")), hold: heldFirst}}
	case len(codings) > 0 && resp.StatusCode != http.StatusPartialContent && readableAll(codings):
		s := newUnpackedListener(reader, codings)
		ex.scan.closes(s)
		return stages{s}
	}
	ex.scan.closes(reader)
	return stages{listener{reader}}
}

// eventsOf knows texts whose readers wait for each line.
func eventsOf(mediaType string) messages {
	if name, _, _ := strings.Cut(strings.ToLower(mediaType), ";"); strings.Trim(name, " \t") == "text/event-stream" {
		return lines{}
	}
	return messagesOf(mediaType)
}

func readableAll(codings []string) bool {
	for _, c := range codings {
		if !isReadable(c) {
			return false
		}
	}
	return len(codings) <= maxCodings
}

// answerReader looks for injection.
type answerReader struct {
	ex     *exchange
	stream *dlp.Stream
}

func (a *answerReader) close() { a.stream.Close() }

// listener is a stage that only notes.
type listener struct{ *answerReader }

func (l listener) pass(piece []byte) ([]byte, *refusal) {
	l.ex.scan.warn(l.stream.Write(piece))
	return piece, nil
}

func (l listener) end() ([]byte, *refusal) { return nil, nil }

// injectionGate is the stage of a route that blocks.
type injectionGate struct {
	*answerReader

	messages messages // nil for a body that is one text
	hold     int      // what stays behind
	buf      []byte   // read and not gone on, from gone
	gone     int
}

// gated reports whether nothing of a text goes on before its beginning was read.
// Messages that somebody waits for do, and the head of a stream that is quiet.
func gated(s stages) bool {
	if len(s) == 0 {
		return false
	}
	g, ok := s[len(s)-1].(*injectionGate)
	return ok && g.messages == nil
}

func (g *injectionGate) pass(piece []byte) ([]byte, *refusal) {
	g.buf = g.buf[:copy(g.buf, g.buf[g.gone:])]
	g.gone = 0
	g.buf = append(g.buf, piece...)
	if no := g.judge(g.stream.Write(piece)); no != nil {
		return nil, no
	}
	switch {
	case g.messages != nil && g.messages.feed(piece):
		g.gone = len(g.buf) // somebody may wait for this message
	case len(g.buf) > g.hold:
		g.hold = heldBack
		g.gone = len(g.buf) - g.hold
	}
	return g.buf[:g.gone], nil
}

func (g *injectionGate) end() ([]byte, *refusal) {
	if no := g.judge(g.stream.Flush()); no != nil {
		return nil, no
	}
	return g.buf[g.gone:], nil
}

func (g *injectionGate) judge(all []dlp.Finding) *refusal { return g.ex.judgeInjection(all) }

// judgeInjection blocks what weighs, where the route says so, and notes the rest.
func (ex *exchange) judgeInjection(all []dlp.Finding) *refusal {
	for _, f := range all {
		if f.Level >= dlp.Act && ex.route.scans.blocks {
			no := badAnswer(reasonInjected, "The answer tries to instruct a model ("+foundOf(f).words()+"); it was not passed on.")
			no.Found = []found{foundOf(f)}
			no.Ask = "Do without this page. If it is harmless, ask the operator to change dlp.inbound_on_match of this route in the bottle's manifest."
			return no.withRule(ex.route.rule)
		}
	}
	ex.scan.warn(all)
	return nil
}

// unpackedListener is a listener for an answer that goes on compressed. Another
// goroutine decodes what passes; it never waits for anything else.
type unpackedListener struct {
	to   *io.PipeWriter
	done chan struct{}
}

func newUnpackedListener(reader *answerReader, codings []string) *unpackedListener {
	from, to := io.Pipe()
	u := &unpackedListener{to: to, done: make(chan struct{})}
	go func() {
		defer close(u.done)
		defer reader.close()
		reader.listen(from, codings)
		_ = from.CloseWithError(errListened) // what follows is not waited for
	}()
	return u
}

// errListened tells the writer that nobody reads any more.
var errListened = errors.New("enough of the answer was read")

// listen decodes and reads. What cannot be decoded is not read: the client will
// have the same trouble.
func (a *answerReader) listen(from io.Reader, codings []string) {
	in := &counted{from: from}
	var out io.Reader = in
	for i := len(codings) - 1; i >= 0; i-- {
		out = &decoded{coding: codings[i], from: out}
	}
	body := &inflated{out: out, in: in, body: io.NopCloser(nil)}
	defer func() { _ = body.Close() }()
	buf := a.ex.p.buffers.get()
	defer a.ex.p.buffers.put(buf)
	for left := int64(mostListened); left > 0; {
		n, err := body.Read(*buf)
		left -= int64(n)
		a.ex.scan.warn(a.stream.Write((*buf)[:n]))
		if err != nil {
			return
		}
	}
}

func (u *unpackedListener) pass(piece []byte) ([]byte, *refusal) {
	_, _ = u.to.Write(piece)
	return piece, nil
}

// end waits until all that passed was read: what was found belongs to the record.
func (u *unpackedListener) end() ([]byte, *refusal) {
	u.close()
	return nil, nil
}

func (u *unpackedListener) close() {
	_ = u.to.Close()
	<-u.done
}
