package terminal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// Kinds of frames.
const (
	kindInput  = 'i'
	kindResize = 'r'
	kindEnd    = 'e'
)

const (
	headSize   = 3
	resizeSize = 4
	// maxInput is small, so that a size never waits for much.
	maxInput = 16 << 10
)

// ErrStream means that a stream holds something that is no frame.
var ErrStream = errors.New("the terminal's input stream is broken")

// event is one frame. Exactly one field is used; a size is never nil then.
type event struct {
	input []byte // valid until the next frame
	size  *backend.WindowSize
	end   bool
}

// decoder reads frames.
type decoder struct {
	from io.Reader
	buf  [maxInput]byte
}

func newDecoder(r io.Reader) *decoder { return &decoder{from: r} }

// next reads a frame. io.EOF is the stream's end between two frames.
func (d *decoder) next() (event, error) {
	head := d.buf[:headSize]
	if _, err := io.ReadFull(d.from, head); err != nil {
		return event{}, err
	}
	kind, size := head[0], int(binary.BigEndian.Uint16(head[1:]))
	if !fits(kind, size) {
		return event{}, fmt.Errorf("%w: a frame of kind %q with %d bytes", ErrStream, kind, size)
	}
	body := d.buf[:size]
	if _, err := io.ReadFull(d.from, body); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return event{}, err
	}
	switch kind {
	case kindInput:
		return event{input: body}, nil
	case kindResize:
		return event{size: &backend.WindowSize{Rows: binary.BigEndian.Uint16(body), Cols: binary.BigEndian.Uint16(body[2:])}}, nil
	default:
		return event{end: true}, nil
	}
}

func fits(kind byte, size int) bool {
	switch kind {
	case kindInput:
		return size > 0 && size <= maxInput
	case kindResize:
		return size == resizeSize
	case kindEnd:
		return size == 0
	}
	return false
}

// frame appends a frame to buf.
func frame(buf []byte, kind byte, body []byte) []byte {
	buf = append(buf, kind)
	buf = binary.BigEndian.AppendUint16(buf, uint16(len(body))) //nolint:gosec // at most maxInput
	return append(buf, body...)
}

func resizeFrame(s backend.WindowSize) []byte {
	body := binary.BigEndian.AppendUint16(nil, s.Rows)
	return frame(nil, kindResize, binary.BigEndian.AppendUint16(body, s.Cols))
}
