package egress

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/dlp"
)

const (
	// smallBody is scanned whole before anything is dialled.
	smallBody = 64 << 10
	// largestWhole bounds what is scanned whole because it cannot be scanned on
	// its way: compressed bodies, and those that may have to be redacted.
	largestWhole = 8 << 20
)

// screenEncoding refuses bodies that nobody here can read.
func (ex *exchange) screenEncoding() *refusal {
	if ex.r.ContentLength == 0 {
		return nil
	}
	format, known := contentFormat(ex.kept["Content-Encoding"])
	if !known {
		return unscannable("The body is encoded in a way that cannot be scanned.")
	}
	if format != "" && ex.r.ContentLength > largestWhole {
		return unscannable("The body is compressed and longer than what can be scanned.")
	}
	switch grpc := ex.kept.Get("Grpc-Encoding"); strings.ToLower(grpc) {
	case "", "identity", "gzip":
		return nil
	}
	return unscannable("The messages are compressed in a way that cannot be scanned.")
}

func unscannable(message string) *refusal {
	return &refusal{Status: http.StatusUnsupportedMediaType, Layer: layerDLP, Reason: reasonEncoding, Message: message,
		Ask: "Send it without Content-Encoding, or with one of gzip, deflate, br and zstd and no longer than 8 MiB; nothing may leave unread."}
}

// screenBody arranges that nothing of a body leaves before it was scanned: small
// ones and those that are compressed at once, others on their way.
func (ex *exchange) screenBody() (*refusal, error) {
	b := ex.body
	if b == nil || !ex.route.scans.requests() {
		return nil, nil
	}
	format, _ := contentFormat(ex.kept["Content-Encoding"])
	n := ex.r.ContentLength
	redacts := ex.route.scans.onMatch == sidecars.OnMatchRedact && n > 0 && n <= largestWhole
	small := n > 0 && n <= smallBody && ex.r.Header.Get("Expect") == ""
	if format == "" && !redacts && !small || format == "" && !ex.holdMemory(n) {
		s := &scanStage{ex: ex, stream: ex.gen.scanner.Stream(dlp.StreamOptions{Detectors: ex.route.scans.outbound})}
		s.messages = messagesOf(ex.r.Header.Get("Content-Type"))
		ex.scan.closes(s)
		b.from.stages = append(stages{s}, b.from.stages...)
		return nil, nil
	}
	data, no, err := ex.readWhole(format != "")
	if no != nil || err != nil {
		return no, err
	}
	b.read.Store(true)
	o := dlp.StreamOptions{Detectors: ex.route.scans.outbound}
	all := ex.gen.scanner.ScanWith(o, data)
	redact := func() error {
		data, _, err = ex.gen.scanner.Redact(o, data)
		return err
	}
	if format != "" {
		more, no := ex.scanUnpacked(format, data)
		if no != nil {
			return no, nil
		}
		all, redact = append(all, more...), nil
	}
	if signed(&ask{query: ex.asked.query}, ex.kept) {
		redact = nil
	}
	if no := ex.weigh(all, redact); no != nil {
		return no, nil
	}
	b.from.from = bytes.NewReader(data)
	return nil, nil
}

// holdMemory takes what a body needs to be held.
func (ex *exchange) holdMemory(n int64) bool {
	if !ex.p.scanned.take(n) {
		return false
	}
	ex.scan.mu.Lock()
	defer ex.scan.mu.Unlock()
	ex.scan.held += n
	return true
}

// readWhole reads the agent's body to its end. counts says that its memory is
// not accounted for yet.
func (ex *exchange) readWhole(counts bool) ([]byte, *refusal, error) {
	var data []byte
	buf := ex.p.buffers.get()
	defer ex.p.buffers.put(buf)
	for {
		n, err := ex.r.Body.Read(*buf)
		ex.watch.touch()
		if counts && n > 0 && !ex.holdMemory(int64(n)) {
			no := unavailable(reasonUnscannable, "Too much is being scanned at the same time.")
			no.Layer = layerDLP
			return nil, no, nil
		}
		if len(data)+n > largestWhole {
			return nil, unscannable("The body is compressed and longer than what can be scanned."), nil
		}
		data = append(data, (*buf)[:n]...)
		if err == io.EOF {
			return data, nil, nil
		}
		if err != nil {
			return nil, nil, err
		}
	}
}

// scanStage is the delay line of a body: nothing goes on before it is clear that
// it is no part of a secret.
type scanStage struct {
	ex       *exchange
	messages messages // nil for a body that is one text

	mu     sync.Mutex // the transport may still read when the exchange ends
	stream *dlp.Stream
	buf    []byte // scanned and not gone on, from gone
	gone   int
	passed int64 // offset of buf[0]
}

func (s *scanStage) pass(piece []byte) ([]byte, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stream == nil {
		return nil, unavailable(reasonStopping, "The exchange is over.")
	}
	s.slide()
	s.buf = append(s.buf, piece...)
	if no := s.ex.judgePiece(s.stream.Write(piece)); no != nil {
		return nil, no
	}
	safe := s.stream.Safe()
	if s.messages != nil && s.messages.feed(piece) {
		// A message is complete and the server may have to answer it.
		if no := s.ex.judgePiece(s.stream.Flush()); no != nil {
			return nil, no
		}
		safe = s.passed + int64(len(s.buf))
	}
	s.gone = int(max(safe-s.passed, 0))
	return s.buf[:s.gone], nil
}

func (s *scanStage) slide() {
	s.passed += int64(s.gone)
	s.buf = s.buf[:copy(s.buf, s.buf[s.gone:])]
	s.gone = 0
}

func (s *scanStage) end() ([]byte, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stream == nil {
		return nil, unavailable(reasonStopping, "The exchange is over.")
	}
	s.slide()
	last := s.stream.Close()
	s.stream = nil
	if no := s.ex.judgePiece(last); no != nil {
		return nil, no
	}
	return s.buf, nil
}

func (s *scanStage) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stream != nil {
		s.stream.Close()
		s.stream = nil
	}
}

// messages follows a body of messages that a server may answer one by one.
type messages interface {
	// feed advances over b and reports whether it ends with a message.
	feed(b []byte) bool
}

func messagesOf(mediaType string) messages {
	name, _, _ := strings.Cut(strings.ToLower(mediaType), ";")
	switch name = strings.Trim(name, " \t"); {
	case strings.HasPrefix(name, "application/grpc"):
		return &lengthPrefixed{}
	case name == "application/x-ndjson", name == "application/jsonl", name == "application/json-lines":
		return lines{}
	}
	return nil
}

// lines are messages of a line each.
type lines struct{}

func (lines) feed(b []byte) bool { return len(b) > 0 && b[len(b)-1] == '\n' }

// lengthPrefixed follows the messages of a gRPC body.
type lengthPrefixed struct {
	head int // bytes of the prefix that were read
	left uint64
}

const grpcPrefix = 5 // a flag and four bytes of length

func (l *lengthPrefixed) feed(b []byte) bool {
	for len(b) > 0 {
		if l.head < grpcPrefix {
			if l.head > 0 {
				l.left = l.left<<8 | uint64(b[0])
			}
			l.head++
			b = b[1:]
		}
		if l.head == grpcPrefix {
			n := min(l.left, uint64(len(b)))
			l.left -= n
			b = b[n:]
			if l.left == 0 {
				l.head = 0
			}
		}
	}
	return l.head == 0
}
