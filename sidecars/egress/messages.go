package egress

import (
	"github.com/bottle-mcp/bottle-mcp/sidecars/dlp"
	"github.com/bottle-mcp/bottle-mcp/sidecars/scrub"
)

// outboundMessages searches what the agent sends for secrets: each message and
// each control frame by itself, and known secrets over all of either.
type outboundMessages struct {
	ex                  *exchange
	message, small      *dlp.Stream
	messages, smallOnes *dlp.Joined
}

func (ex *exchange) newOutboundMessages() *outboundMessages {
	o := dlp.StreamOptions{Detectors: ex.route.scans.outbound, Field: dlp.Message}
	s := ex.gen.scanner
	m := &outboundMessages{ex: ex, message: s.Stream(o), small: s.Stream(o), messages: s.Join(o), smallOnes: s.Join(o)}
	ex.scan.closes(m)
	return m
}

func (m *outboundMessages) judge(all []dlp.Finding) *refusal {
	if len(all) == 0 {
		return nil
	}
	return m.ex.judgePiece(all)
}

func (m *outboundMessages) write(plain []byte) (int64, *refusal) {
	if no := m.judge(m.message.Write(plain)); no != nil {
		return 0, no
	}
	return m.message.Safe(), m.judge(m.messages.Write(plain))
}

func (m *outboundMessages) end() *refusal { return m.judge(m.message.Next()) }

func (m *outboundMessages) control(plain []byte) *refusal {
	if no := m.judge(m.small.Write(plain)); no != nil {
		return no
	}
	if no := m.judge(m.small.Next()); no != nil {
		return no
	}
	return m.judge(m.smallOnes.Write(plain))
}

func (m *outboundMessages) close() {
	m.message.Close()
	m.small.Close()
}

// inboundMessages overwrites the bottle's credentials in what a server sends,
// and listens for injection in its text.
type inboundMessages struct {
	ex        *exchange
	frames    *frames
	echo      *scrub.Stream // nil where the route has no credential
	small     *scrub.Stream
	at        int64 // what echo has let go of the message
	found     int
	injection *dlp.Stream // nil where nobody listens
}

func (ex *exchange) newInboundMessages(f *frames) *inboundMessages {
	m := &inboundMessages{ex: ex, frames: f}
	if ex.reads() {
		m.echo, m.small = ex.gen.scrubber.Stream(), ex.gen.scrubber.Stream()
	}
	if on := ex.route.scans.answers(); len(on) > 0 {
		m.injection = ex.gen.scanner.Stream(dlp.StreamOptions{Detectors: on})
		ex.scan.closes(m)
	}
	return m
}

func (m *inboundMessages) write(plain []byte) (int64, *refusal) {
	listens := m.injection != nil && m.frames.reader.text
	if listens {
		if no := m.listen(plain); no != nil {
			return 0, no
		}
	}
	if m.echo == nil {
		m.at += int64(len(plain))
	} else {
		m.put(m.echo.Write(plain))
	}
	if listens && m.ex.route.scans.blocks {
		return max(0, m.at-heldBack), nil // until the message is whole
	}
	return m.at, nil
}

func (m *inboundMessages) listen(plain []byte) *refusal {
	if found := m.injection.Write(plain); len(found) > 0 {
		return m.ex.judgeInjection(found)
	}
	return nil
}

func (m *inboundMessages) put(text []byte) {
	m.frames.overwrite(m.at, text)
	m.at += int64(len(text))
	m.count()
}

func (m *inboundMessages) count() {
	all := m.echo.Found() + m.small.Found()
	m.ex.echoed(all - m.found)
	m.found = all
}

func (m *inboundMessages) end() *refusal {
	if m.echo != nil {
		m.put(m.echo.Close())
	}
	if m.injection != nil {
		if no := m.listen([]byte{'\n'}); no != nil { // the last word of a message ends with it
			return no
		}
	}
	m.at = 0
	return nil
}

func (m *inboundMessages) control(plain []byte) *refusal {
	if m.echo == nil {
		return nil
	}
	n := copy(plain, m.small.Write(plain))
	copy(plain[n:], m.small.Close())
	m.count()
	return nil
}

func (m *inboundMessages) close() { m.injection.Close() }
