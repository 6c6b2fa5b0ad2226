package egress

import (
	"math"
	"net/http"
)

// Bounds of what a direction of a WebSocket may have to hold back.
const (
	mostHeld     = 256 << 10
	mostSegments = 4096
)

// payloads looks through the messages of one direction.
type payloads interface {
	// write takes a piece of the open message and returns the offset in it up to
	// which it may go on.
	write(plain []byte) (safe int64, no *refusal)
	// end says that the message is complete.
	end() *refusal
	// control takes the whole payload of a control frame, and may change it where
	// it is not masked.
	control(plain []byte) *refusal
}

// segment is a part of what is held: bytes that are no payload of a message
// (heads, whole control frames), then payload.
type segment struct{ head, body int }

// frames is the stage that one direction of a WebSocket goes through. Nothing
// but frames passes, and nothing of a message before it was looked through; the
// frames themselves stay as they are.
type frames struct {
	reader frameReader
	look   payloads // nil when nobody looks at messages

	buf     []byte // as received, from what has not gone on
	gone    int    // bytes of buf that have gone on, or go now
	segs    []segment
	passed  int64 // payload of the open message before segs
	safe    int64 // and up to where it may go on
	saved   [maxControl]byte
	kept    int    // bytes of saved
	scratch []byte // payload without its mask
}

func (f *frames) pass(piece []byte) ([]byte, *refusal) {
	f.slide()
	for len(piece) > 0 && !f.reader.ended {
		read := f.readHead
		if f.reader.inBody {
			read = f.readBody
		}
		n, no := read(piece)
		if no != nil {
			return nil, no
		}
		piece = piece[n:]
	}
	f.release()
	if len(f.buf)-f.gone > mostHeld || len(f.segs) > mostSegments {
		return nil, cutTooFine()
	}
	return f.buf[:f.gone], nil
}

func cutTooFine() *refusal {
	return &refusal{Status: http.StatusForbidden, Layer: layerDLP, Reason: reasonUnscannable,
		Message: "A message is cut into so many frames that it cannot be scanned.", Ask: "Send it in one frame."}
}

// slide forgets what has gone on.
func (f *frames) slide() {
	f.buf = f.buf[:copy(f.buf, f.buf[f.gone:])]
	f.gone = 0
}

func (f *frames) readHead(b []byte) (int, *refusal) {
	r := &f.reader
	n, done, no := r.readHead(b)
	if no != nil || !done {
		return n, no
	}
	if r.control() {
		f.kept = 0
	} else {
		f.queue(r.head[:r.have])
	}
	if r.left == 0 {
		return n, f.frameEnd()
	}
	return n, nil
}

func (f *frames) readBody(b []byte) (int, *refusal) {
	r := &f.reader
	if uint64(len(b)) > r.left {
		b = b[:r.left]
	}
	var no *refusal
	if r.control() {
		f.kept += copy(f.saved[f.kept:], b)
	} else {
		no = f.body(b)
	}
	r.left -= uint64(len(b))
	if no == nil && r.left == 0 {
		no = f.frameEnd()
	}
	return len(b), no
}

// queue appends bytes that are no payload of a message.
func (f *frames) queue(b []byte) {
	f.buf = append(f.buf, b...)
	if last := len(f.segs) - 1; last >= 0 && f.segs[last].body == 0 {
		f.segs[last].head += len(b)
		return
	}
	f.segs = append(f.segs, segment{head: len(b)})
}

// body takes payload of a message.
func (f *frames) body(b []byte) *refusal {
	f.buf = append(f.buf, b...)
	if len(f.segs) == 0 {
		f.segs = append(f.segs, segment{})
	}
	f.segs[len(f.segs)-1].body += len(b)
	if f.look == nil {
		f.safe = math.MaxInt64
		return nil
	}
	if f.reader.fromClient {
		b = f.plain(b)
	}
	safe, no := f.look.write(b)
	f.safe = safe
	return no
}

// plain is b without its mask, until the next call.
func (f *frames) plain(b []byte) []byte {
	f.scratch = append(f.scratch[:0], b...)
	f.reader.unmask(f.scratch)
	return f.scratch
}

func (f *frames) frameEnd() *refusal {
	r := &f.reader
	if r.control() {
		return f.controlEnd()
	}
	r.finish()
	if !r.fin {
		return nil
	}
	if f.look != nil {
		if no := f.look.end(); no != nil {
			return no
		}
	}
	f.releaseAll()
	return nil
}

// controlEnd passes on a control frame, in its place behind what is held.
func (f *frames) controlEnd() *refusal {
	r := &f.reader
	payload := f.saved[:f.kept]
	if f.look != nil {
		plain := payload
		if r.fromClient {
			plain = f.plain(payload)
		}
		if no := f.look.control(plain); no != nil {
			return no
		}
	}
	f.queue(r.head[:r.have])
	f.queue(payload)
	r.finish()
	return nil
}

// release lets go what is decided.
func (f *frames) release() {
	i := 0
	for ; i < len(f.segs); i++ {
		s := &f.segs[i]
		n := int(min(max(f.safe-f.passed, 0), int64(s.body)))
		f.gone += s.head + n
		f.passed += int64(n)
		s.head, s.body = 0, s.body-n
		if s.body > 0 {
			break
		}
	}
	f.segs = f.segs[:copy(f.segs, f.segs[i:])]
}

// releaseAll ends a message.
func (f *frames) releaseAll() {
	f.gone, f.segs, f.passed, f.safe = len(f.buf), f.segs[:0], 0, 0
}

// overwrite puts text in place of payload that is held, from an offset in the
// message on.
func (f *frames) overwrite(at int64, text []byte) {
	pos, offset := f.gone, f.passed
	for _, s := range f.segs {
		pos += s.head
		if skip := at - offset; skip < int64(s.body) {
			n := copy(f.buf[pos+int(skip):pos+s.body], text)
			text, at = text[n:], at+int64(n)
		}
		if len(text) == 0 {
			return
		}
		pos, offset = pos+s.body, offset+int64(s.body)
	}
}

// mid reports whether what has gone on ends within a frame.
func (f *frames) mid() bool {
	if len(f.segs) > 0 {
		return f.segs[0].head == 0
	}
	return f.reader.inBody && !f.reader.control()
}

func (f *frames) end() ([]byte, *refusal) {
	f.slide()
	if f.reader.open && f.look != nil {
		if no := f.look.end(); no != nil {
			return nil, no
		}
	}
	f.releaseAll()
	return f.buf, nil
}
