package egress

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"
)

// rawFrame writes a frame with whatever first byte and length.
func rawFrame(first byte, masked bool, payload string) []byte {
	b := []byte{first, 0}
	switch n := len(payload); {
	case n < length16:
		b[1] = byte(n)
	case n <= 0xffff:
		b[1] = length16
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b[1] = length64
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	if !masked {
		return append(b, payload...)
	}
	key := [maskLen]byte{0x37, 0xfa, 0x21, 0x3d}
	b[1] |= maskBit
	b = append(b, key[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i%maskLen])
	}
	return b
}

func maskedFrame(op byte, payload string) []byte { return rawFrame(finBit|op, true, payload) }
func plainFrame(op byte, payload string) []byte  { return rawFrame(finBit|op, false, payload) }

// fragments cuts a message into frames of a size.
func fragments(masked bool, size int, payload string) []byte {
	var out []byte
	for op := byte(opText); ; op = opContinue {
		n := min(size, len(payload))
		first := op
		if n == len(payload) {
			first |= finBit
		}
		out = append(out, rawFrame(first, masked, payload[:n])...)
		if payload = payload[n:]; payload == "" {
			return out
		}
	}
}

// readFrame reads a frame and its payload without mask.
func readFrame(t testing.TB, r io.Reader) (op byte, payload string) {
	t.Helper()
	fr := frameReader{}
	one := make([]byte, 1)
	for done := false; !done; {
		if _, err := io.ReadFull(r, one); err != nil {
			t.Fatalf("read a frame: %v", err)
		}
		fr.fromClient = fr.have >= 1 && (fr.have == 1 && one[0]&maskBit != 0 || fr.have > 1 && fr.fromClient)
		fr.open = fr.have == 0 && one[0]&0xf == opContinue || fr.have == 1 && fr.head[0]&0xf == opContinue
		var no *refusal
		if _, done, no = fr.readHead(one); no != nil {
			t.Fatalf("read a frame: %v", no)
		}
	}
	body := make([]byte, fr.left)
	if _, err := io.ReadFull(r, body); err != nil {
		t.Fatalf("read a frame: %v", err)
	}
	if fr.fromClient {
		fr.unmask(body)
	}
	return fr.op, string(body)
}

// through sends bytes through a direction in pieces of a size and returns what
// came out.
func through(f *frames, in []byte, size int) ([]byte, *refusal) {
	var out []byte
	for piece := range chunks(in, size) {
		b, no := f.pass(bytes.Clone(piece))
		if no != nil {
			return out, no
		}
		out = append(out, b...)
	}
	rest, no := f.end()
	return append(out, rest...), no
}

func chunks(in []byte, size int) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(in) > 0 {
			n := min(size, len(in))
			if !yield(in[:n]) {
				return
			}
			in = in[n:]
		}
	}
}

// badFrames are what a client may not send, by what is wrong with it.
func badFrames() map[string][]byte {
	first := func(b byte) []byte { return rawFrame(b, true, "x") }
	text := func(fin byte) []byte { return rawFrame(fin|opText, true, "x") }
	all := map[string][]byte{
		"RSV1":                       first(finBit | 0x40 | opText),
		"RSV2":                       first(finBit | 0x20 | opText),
		"RSV3":                       first(finBit | 0x10 | opText),
		"RSV1 of a control frame":    first(finBit | 0x40 | opPing),
		"not masked":                 rawFrame(finBit|opText, false, "x"),
		"a fragmented ping":          first(opPing),
		"a long ping":                rawFrame(finBit|opPing, true, strings.Repeat("x", maxControl+1)),
		"a long close":               rawFrame(finBit|opClose, true, strings.Repeat("x", 70000)),
		"half a close code":          first(finBit | opClose),
		"a continuation of nothing":  first(finBit | opContinue),
		"a continuation of a whole":  append(text(finBit), first(finBit|opContinue)...),
		"a message within a message": append(text(0), text(finBit)...),
		"two bytes for a length":     {finBit | opText, maskBit | length16, 0, 125, 1, 2, 3, 4},
		"eight bytes for a length":   {finBit | opText, maskBit | length64, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4},
		"a length of 64 bits":        {finBit | opText, maskBit | length64, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4},
		"a request":                  []byte("GET / HTTP/1.1\r\nHost: allowed.test\r\n\r\n"),
		"zeros":                      make([]byte, 16),
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf} {
		all["opcode "+string("0123456789abcdef"[op])] = first(finBit | op)
	}
	return all
}

func TestFramesAreStrict(t *testing.T) {
	for name, in := range badFrames() {
		t.Run(name, func(t *testing.T) {
			for _, before := range [][]byte{nil, maskedFrame(opText, "hello"), maskedFrame(opPing, "")} {
				for _, size := range []int{1, 3, 1 << 20} {
					f := &frames{reader: frameReader{fromClient: true}}
					out, no := through(f, append(bytes.Clone(before), in...), size)
					if no == nil || no.Reason != reasonFrame {
						t.Fatalf("in pieces of %d: %v after %q", size, no, out)
					}
					if n := len(out); n > len(before)+len(in)/2 && n > len(before)+7 { // the good beginning of two frames
						t.Errorf("in pieces of %d: %q passed", size, out)
					}
				}
			}
		})
	}
	t.Run("a server's mask", func(t *testing.T) {
		f := &frames{}
		if out, no := through(f, maskedFrame(opText, "x"), 1); no == nil || no.Layer != layerUpstream || len(out) > 0 {
			t.Errorf("%q, %v", out, no)
		}
	})
	t.Run("an extension's bits", func(t *testing.T) {
		in := rawFrame(finBit|0x40|opText, true, "x")
		f := &frames{reader: frameReader{fromClient: true, extended: true}}
		if out, no := through(f, in, 1); no != nil || !bytes.Equal(out, in) {
			t.Errorf("%q, %v", out, no)
		}
	})
}

// What is good passes as it stands, at once, and nothing follows a close frame.
func TestFramesPass(t *testing.T) {
	for _, masked := range []bool{true, false} {
		var good []byte
		for _, n := range []int{0, 1, 125, 126, 127, 0xffff, 0x10000, 300_000} {
			good = append(good, rawFrame(finBit|opBinary, masked, strings.Repeat("x", n))...)
		}
		good = append(good, fragments(masked, 3, "a message in parts")...)
		good = append(good, rawFrame(opText, masked, "one ")...)
		good = append(good, rawFrame(finBit|opPing, masked, "between")...)
		good = append(good, rawFrame(opContinue, masked, "")...)
		good = append(good, rawFrame(finBit|opContinue, masked, "two")...)
		good = append(good, rawFrame(finBit|opClose, masked, "\x03\xe8bye")...)
		for _, size := range []int{1, 7, 4096, 1 << 20} {
			f := &frames{reader: frameReader{fromClient: masked}}
			out, no := through(f, append(bytes.Clone(good), "anything at all"...), size)
			if no != nil || !bytes.Equal(out, good) {
				t.Errorf("masked %v, in pieces of %d: %d bytes of %d, %v", masked, size, len(out), len(good), no)
			}
		}
	}
	f := &frames{reader: frameReader{fromClient: true}}
	frame := maskedFrame(opText, "hello")
	if n := testing.AllocsPerRun(100, func() { _, _ = f.pass(frame) }); n > 0 {
		t.Errorf("%v allocations for a frame", n)
	}
	whole := maskedFrame(opText, "hello")
	for i := range whole {
		b, no := f.pass(whole[i : i+1])
		if headLen := 6; no != nil || i+1 < headLen && len(b) > 0 || i+1 == headLen && len(b) != headLen || i+1 > headLen && len(b) != 1 {
			t.Errorf("byte %d let %q go, %v", i, b, no)
		}
	}
}

func TestCloseFrame(t *testing.T) {
	for _, masked := range []bool{true, false} {
		for reason, code := range map[string]uint16{reasonFrame: 1002, reasonIdle: 1001, reasonSecretMessage: 1008, reasonBudgetOut: 1008} {
			raw := closeFrame(&refusal{Reason: reason}, masked)
			f := &frames{reader: frameReader{fromClient: masked}}
			if _, no := through(f, raw, 1); no != nil || !f.reader.ended {
				t.Errorf("%s: %q is no close frame: %v", reason, raw, no)
			}
			op, payload := readFrame(t, bytes.NewReader(raw))
			if op != opClose || binary.BigEndian.Uint16([]byte(payload)) != code || payload[2:] != reason {
				t.Errorf("%s: %d %q", reason, op, payload)
			}
		}
	}
}
