package egress

import (
	"encoding/binary"
	"net/http"
)

// Opcodes of WebSocket frames (RFC 6455, 5.2).
const (
	opContinue   = 0x0
	opText       = 0x1
	opBinary     = 0x2
	opClose      = 0x8
	opPing       = 0x9
	opPong       = 0xa
	controlBit   = 0x8
	finBit       = 0x80
	reservedBits = 0x70
	maskBit      = 0x80
)

const (
	longestFrameHead = 14
	maxControl       = 125 // bytes of a control frame's payload
	length16         = 126 // two bytes of length follow
	length64         = 127 // eight do
	maskLen          = 4
)

// frameReader follows the frames of one direction of a WebSocket. It holds no
// more of them than a head, and takes nothing that two readers could take for
// different things.
type frameReader struct {
	fromClient bool // its frames are masked, a server's are not
	// extended has reserved bits pass: what they mean is between the two ends.
	extended bool

	head   [longestFrameHead]byte
	have   int // bytes of head
	op     byte
	fin    bool
	inBody bool
	left   uint64 // bytes of the frame's payload to come
	key    [maskLen]byte
	keyAt  int  // of the mask, for the next byte
	open   bool // a message has begun and not ended
	text   bool // and is text
	ended  bool // a close frame was read: nothing can follow
}

func (r *frameReader) control() bool { return r.op&controlBit != 0 }

// readHead takes bytes of a frame's head and reports how many, and whether the
// head is complete. If it is, the payload is next.
func (r *frameReader) readHead(b []byte) (n int, done bool, no *refusal) {
	for {
		need := r.headLen()
		took := copy(r.head[r.have:need], b[n:])
		n, r.have = n+took, r.have+took
		if r.have < need {
			return n, false, nil
		}
		if need == 2 {
			if why := r.checkStart(); why != "" {
				return n, false, r.malformed(why)
			}
		}
		if r.have == r.headLen() {
			if why := r.begin(); why != "" {
				return n, false, r.malformed(why)
			}
			return n, true, nil
		}
	}
}

// headLen is how long the head is, by what is known of it.
func (r *frameReader) headLen() int {
	n := 2
	if r.have < n {
		return n
	}
	switch r.head[1] &^ maskBit {
	case length16:
		n += 2
	case length64:
		n += 8
	}
	if r.head[1]&maskBit != 0 {
		n += maskLen
	}
	return n
}

// checkStart judges the first two bytes.
func (r *frameReader) checkStart() (why string) {
	op, length := r.head[0]&0xf, r.head[1]&^maskBit
	switch {
	case (r.head[1]&maskBit != 0) != r.fromClient && r.fromClient:
		return "A client's frame is not masked."
	case (r.head[1]&maskBit != 0) != r.fromClient:
		return "A server's frame is masked."
	case r.head[0]&reservedBits != 0 && (!r.extended || op&controlBit != 0):
		return "A reserved bit is set."
	case op > opPong, op > opBinary && op < opClose:
		return "The opcode is not known."
	case op&controlBit != 0 && (length > maxControl || r.head[0]&finBit == 0):
		return "A control frame is too long or fragmented."
	case op == opClose && length == 1:
		return "A close frame holds half a code."
	case op == opContinue && !r.open:
		return "A frame continues no message."
	case (op == opText || op == opBinary) && r.open:
		return "A message begins within another one."
	}
	return ""
}

// begin reads the complete head of a frame.
func (r *frameReader) begin() (why string) {
	rest := r.head[2:r.have]
	switch length := r.head[1] &^ maskBit; length {
	case length16:
		r.left = uint64(binary.BigEndian.Uint16(rest))
		if r.left < length16 {
			return "A length is written longer than it needs to be."
		}
	case length64:
		r.left = binary.BigEndian.Uint64(rest)
		if r.left <= 0xffff {
			return "A length is written longer than it needs to be."
		}
		if r.left>>63 != 0 {
			return "A length is too large."
		}
	default:
		r.left = uint64(length)
	}
	if r.fromClient {
		copy(r.key[:], rest[len(rest)-maskLen:])
	}
	r.op, r.fin, r.keyAt, r.inBody = r.head[0]&0xf, r.head[0]&finBit != 0, 0, true
	if r.op == opText || r.op == opBinary {
		r.open, r.text = true, r.op == opText
	}
	return ""
}

// finish ends a frame whose payload was read.
func (r *frameReader) finish() {
	r.inBody, r.have = false, 0
	switch {
	case r.op == opClose:
		r.ended = true
	case !r.control() && r.fin:
		r.open = false
	}
}

// unmask removes the mask from the next bytes of the payload.
func (r *frameReader) unmask(b []byte) {
	var wide [8]byte
	for i := range wide {
		wide[i] = r.key[(r.keyAt+i)%maskLen]
	}
	key := binary.LittleEndian.Uint64(wide[:])
	rest := b
	for ; len(rest) >= len(wide); rest = rest[len(wide):] {
		binary.LittleEndian.PutUint64(rest, binary.LittleEndian.Uint64(rest)^key)
	}
	for i := range rest {
		rest[i] ^= wide[i]
	}
	r.keyAt = (r.keyAt + len(b)) % maskLen
}

// malformed is the refusal of what is no frame.
func (r *frameReader) malformed(why string) *refusal {
	if !r.fromClient {
		return upstreamRefusal(http.StatusBadGateway, reasonFrame, "The server sent what is no WebSocket frame. "+why)
	}
	no := protocolRefusal(reasonFrame, "What followed the WebSocket handshake is no WebSocket frame. "+why, askFix)
	no.Status = http.StatusBadRequest
	return no
}

// Close codes (RFC 6455, 7.4.1).
const (
	closeGoingAway = 1001
	closeProtocol  = 1002
	closePolicy    = 1008
)

// closeFrame says goodbye with the code of a refusal and its reason. A client's
// frame has to be masked; that the key is known does no harm to what is no secret.
func closeFrame(no *refusal, masked bool) []byte {
	code := uint16(closePolicy)
	switch no.Reason {
	case reasonFrame:
		code = closeProtocol
	case reasonIdle, reasonStopping:
		code = closeGoingAway
	}
	payload := append(binary.BigEndian.AppendUint16(nil, code), no.Reason...)
	frame := []byte{finBit | opClose, byte(len(payload))} // #nosec G115 -- reasons are short words
	if masked {
		frame[1] |= maskBit
		frame = append(frame, make([]byte, maskLen)...) // a key of zeros changes nothing
	}
	return append(frame, payload...)
}
