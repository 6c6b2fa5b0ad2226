package terminal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

func TestDecoder(t *testing.T) {
	size := backend.WindowSize{Rows: 24, Cols: 300}
	long := strings.Repeat("x", maxInput)
	for name, tt := range map[string]struct {
		stream string
		want   string // what say makes of the frames
		err    error
	}{
		"empty":           {"", "", io.EOF},
		"input":           {"i\x00\x03abc", "[abc]", io.EOF},
		"longest input":   {"i\x40\x00" + long, "[" + long + "]", io.EOF},
		"size":            {string(resizeFrame(size)), "24x300 ", io.EOF},
		"no size":         {"r\x00\x04\x00\x00\x00\x00", "0x0 ", io.EOF},
		"end":             {"e\x00\x00", "end ", io.EOF},
		"in turn":         {"i\x00\x01a" + string(resizeFrame(size)) + "e\x00\x00", "[a]24x300 end ", io.EOF},
		"input too long":  {"i\x40\x01" + long + "x", "", ErrStream},
		"empty input":     {"i\x00\x00", "", ErrStream},
		"size too short":  {"r\x00\x03\x00\x01\x00", "", ErrStream},
		"size too long":   {"r\x00\x05\x00\x01\x00\x01\x00", "", ErrStream},
		"end with more":   {"e\x00\x01x", "", ErrStream},
		"unknown":         {"x\x00\x01x", "", ErrStream},
		"unframed text":   {"hello", "", ErrStream},
		"cut in the head": {"i\x00", "", io.ErrUnexpectedEOF},
		"cut in the body": {"i\x00\x03ab", "", io.ErrUnexpectedEOF},
		"no body":         {"r\x00\x04", "", io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := say(newDecoder(strings.NewReader(tt.stream)))
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("%.80q, %v; want %.80q, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

// say tells all frames of a stream.
func say(d *decoder) (string, error) {
	var b strings.Builder
	for {
		e, err := d.next()
		switch {
		case err != nil:
			return b.String(), err
		case e.size != nil:
			b.WriteString(fmt.Sprintf("%dx%d ", e.size.Rows, e.size.Cols))
		case e.end:
			b.WriteString("end ")
		default:
			b.WriteString("[" + string(e.input) + "]")
		}
	}
}

// FuzzDecoder feeds hostile bytes: no panic, and what is accepted is exactly
// what its frames say, so that both halves agree on where each one ends.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte("i\x00\x03abcr\x00\x04\x00\x18\x00\x50e\x00\x00"))
	f.Add([]byte("i\xff\xffabc"))
	f.Add([]byte("r\x00\x04\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := newDecoder(bytes.NewReader(data))
		var again []byte
		for {
			e, err := d.next()
			if err != nil {
				break
			}
			switch {
			case e.size != nil:
				again = append(again, resizeFrame(*e.size)...)
			case e.end:
				again = frame(again, kindEnd, nil)
			default:
				again = frame(again, kindInput, e.input)
			}
		}
		if !bytes.HasPrefix(data, again) {
			t.Fatalf("%x is read as %x", data, again)
		}
		if rest := len(data) - len(again); rest > headSize+maxInput && fits(data[len(again)], int(data[len(again)+1])<<8|int(data[len(again)+2])) {
			t.Fatalf("a whole frame at %d is refused", len(again))
		}
	})
}

func TestInput(t *testing.T) {
	sizes := make(chan backend.WindowSize)
	keys, typed := io.Pipe()
	in := NewInput(backend.Streams{Stdin: keys, Resize: sizes})
	d := newDecoder(in)
	next := func() event {
		t.Helper()
		e, err := d.next()
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	text := strings.Repeat("0123456789abcdef", 3000)
	go func() {
		_, _ = io.WriteString(typed, text)
		_ = typed.Close()
	}()
	got := ""
	for {
		e := next()
		if e.end {
			break
		}
		got += string(e.input)
	}
	if got != text {
		t.Errorf("%d bytes of %d arrive, or others", len(got), len(text))
	}
	// The window goes on living after the input.
	go func() { sizes <- backend.WindowSize{Rows: 7, Cols: 8} }()
	if e := next(); e.size == nil || *e.size != (backend.WindowSize{Rows: 7, Cols: 8}) {
		t.Errorf("after the input: %+v", e)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.next(); err == nil {
		t.Error("a closed stream goes on")
	}
}

// TestInputEndsWithItsCommand shows that nothing waits for a window once the
// stream is closed.
func TestInputEndsWithItsCommand(t *testing.T) {
	sizes := make(chan backend.WindowSize)
	in := NewInput(backend.Streams{Resize: sizes})
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case sizes <- backend.WindowSize{}:
		// One that was under way is dropped; a second one is taken by nobody.
		select {
		case sizes <- backend.WindowSize{}:
			t.Error("sizes are still taken")
		case <-time.After(100 * time.Millisecond):
		}
	case <-time.After(100 * time.Millisecond):
	}
	if err := in.Close(); err != nil {
		t.Errorf("a second close: %v", err)
	}
}
