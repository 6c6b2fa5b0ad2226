package egresstest

import "encoding/binary"

// extension is one of a ClientHello.
type extension struct {
	id   uint16
	body []byte
}

const (
	sniExtension  = 0
	alpnExtension = 16
	echExtension  = 0xfe0d
)

// helloMark is what a handshake offers as a protocol, in the clear.
const helloMark = "leak-of-a-handshake"

// clientHello makes the first record of a handshake that TLS 1.2 can answer.
func clientHello(more ...extension) []byte {
	protocols := append([]byte{byte(len(helloMark))}, helloMark...)
	all := append(more,
		extension{alpnExtension, sized(protocols)},
		extension{10, sized([]byte{0, 29, 0, 23})},                       // groups: X25519, P-256
		extension{11, []byte{1, 0}},                                      // point formats
		extension{13, sized([]byte{4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1})}, // signatures
	)
	var extensions []byte
	for _, e := range all {
		extensions = append(binary.BigEndian.AppendUint16(extensions, e.id), sized(e.body)...)
	}
	body := append([]byte{3, 3}, make([]byte, 32)...)             // version, random
	body = append(body, 0)                                        // no session
	body = append(body, sized([]byte{0xc0, 0x2b, 0xc0, 0x2f})...) // ECDHE with AES-128-GCM
	body = append(body, 1, 0)                                     // no compression
	body = append(body, sized(extensions)...)
	handshake := append([]byte{1, 0}, sized(body)...)
	return append([]byte{22, 3, 1}, sized(handshake)...)
}

// serverNames is an SNI with any number of names.
func serverNames(names ...string) extension {
	var list []byte
	for _, n := range names {
		list = append(append(list, 0), sized([]byte(n))...)
	}
	return extension{sniExtension, sized(list)}
}

// sized puts two bytes of length before b.
func sized(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) //nolint:gosec // all of them are short
}
