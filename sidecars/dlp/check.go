package dlp

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"strings"
)

// always is for matches that are no accident.
func always(match) confidence { return sure }

// crcBase62 is the checksum of GitHub and npm: the last six characters are the
// CRC-32 of those before, in base 62. A match without it is still one: vendors
// change what they sum up.
func crcBase62(m match) confidence {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	body := m.secret()
	sum := crc32.ChecksumIEEE(body[:len(body)-6])
	for i := len(body) - 1; i >= len(body)-6; i-- {
		if body[i] != digits[sum%62] {
			return likely
		}
		sum /= 62
	}
	return sure
}

// crcHexTail is the checksum of Grafana: the CRC-32 of what stands before the
// last underscore, in hexadecimal.
func crcHexTail(m match) confidence {
	text := m.buf[m.start:m.end]
	cut := bytes.LastIndexByte(text, '_')
	want, err := hex.DecodeString(string(text[cut+1:]))
	if err != nil || len(want) != 4 {
		return likely
	}
	if binary.BigEndian.Uint32(want) == crc32.ChecksumIEEE(text[:cut]) {
		return sure
	}
	return likely
}

// bech32 is the checksum of BIP 173, over the part before the last "1" and all
// that follows it.
func bech32(m match) confidence {
	const charset = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	text := strings.ToLower(string(m.buf[m.start:m.end]))
	cut := strings.LastIndexByte(text, '1')
	if cut < 1 {
		return likely
	}
	sum := uint32(1)
	step := func(v byte) {
		top := sum >> 25
		sum = (sum&0x1ffffff)<<5 ^ uint32(v)
		for i, generator := range []uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3} {
			if top>>i&1 == 1 {
				sum ^= generator
			}
		}
	}
	for i := range cut {
		step(text[i] >> 5)
	}
	step(0)
	for i := range cut {
		step(text[i] & 31)
	}
	for i := cut + 1; i < len(text); i++ {
		v := strings.IndexByte(charset, text[i])
		if v < 0 {
			return likely
		}
		step(byte(v)) // #nosec G115 -- below 32
	}
	if sum == 1 {
		return sure
	}
	return likely
}

// notExample excuses the keys that vendors print in their documentation.
func notExample(m match) confidence {
	text := m.buf[m.start:m.end]
	if bytes.HasSuffix(text, []byte("EXAMPLE")) || bytes.HasSuffix(text, []byte("EXAMPLEKEY")) ||
		bytes.HasSuffix(text, []byte("_4eC39HqLyjWDarjtT1zdp7dc")) {
		return no
	}
	return likely
}

// pemHeader demands the beginning of a PEM block on the same line. Its dashes
// may be escaped.
func pemHeader(m match) confidence {
	line := m.buf[max(0, m.start-48):m.start]
	if i := bytes.LastIndexByte(line, '\n'); i >= 0 {
		line = line[i:]
	}
	if bytes.Contains(line, []byte("BEGIN ")) {
		return sure
	}
	return no
}

// jwtHeader demands that the first part is a JOSE header.
func jwtHeader(m match) confidence {
	head, _, _ := bytes.Cut(m.buf[m.start:m.end], []byte("."))
	head = head[:min(len(head), 512)&^3]
	var plain [384]byte
	n, err := base64.RawURLEncoding.Decode(plain[:], head)
	if err != nil {
		return no
	}
	for _, name := range []string{`"alg"`, `"typ"`, `"kid"`, `"enc"`} {
		if bytes.Contains(plain[:n], []byte(name)) {
			return likely
		}
	}
	return no
}

// urlPassword excuses passwords that are references to one, as in
// "postgres://user:$PASSWORD@host" or "user:<password>@".
func urlPassword(m match) confidence {
	text := m.buf[m.start : m.end-1]
	password := text[3+bytes.IndexByte(text[3:], ':')+1:]
	if bytes.HasPrefix(password, []byte("$")) || bytes.HasPrefix(password, []byte("%(")) || shannon(password) < 2 {
		return no
	}
	for _, word := range []string{"password", "passwd", "secret", "token", "pass"} {
		if strings.EqualFold(string(password), word) {
			return no
		}
	}
	return likely
}

// mixed demands what random values have and names do not: letters with digits
// in more than one place, and no word that says that the value is none. It is
// for rules that only warn.
func mixed(m match) confidence {
	digits, letters, changes := 0, 0, 0
	last := byte(0)
	for _, b := range m.secret() {
		kind := byte(0)
		switch {
		case b >= '0' && b <= '9':
			digits++
			kind = 1
		case b >= 'a' && b <= 'z':
			letters++
			kind = 2
		case b >= 'A' && b <= 'Z':
			letters++
			kind = 3
		}
		if kind != last {
			changes++
		}
		last = kind
	}
	if digits < 2 || letters < 4 || changes < 5 {
		return no
	}
	text := strings.ToLower(string(m.secret()))
	for _, word := range []string{"your", "example", "placeholder", "change", "dummy"} {
		if strings.Contains(text, word) {
			return no
		}
	}
	return likely
}

// userAndPassword demands what RFC 7617 puts into basic credentials.
func userAndPassword(m match) confidence {
	text := bytes.TrimRight(m.buf[m.start+len("Basic "):m.end], "=")
	plain := make([]byte, base64.RawStdEncoding.DecodedLen(len(text)))
	n, err := base64.RawStdEncoding.Decode(plain, text)
	user, password, ok := bytes.Cut(plain[:n], []byte(":"))
	if err != nil || !ok || len(user)+len(password) < leastLogin || len(password) == 0 {
		return no
	}
	if strings.EqualFold(string(user), "aladdin") && bytes.HasPrefix(password, []byte("open")) {
		return no // the example of RFC 7617
	}
	for _, b := range plain[:n] {
		if b < ' ' || b == 0x7f {
			return no
		}
	}
	return likely
}

// leastLogin is how long a user's name and password are together.
const leastLogin = 8
