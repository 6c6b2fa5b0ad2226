package archive

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"time"
)

// The ustar header block: offset and length of each field used here. Packing
// and unpacking 20 000 small files spends more time in archive/tar than in the
// kernel, so the plain cases are done by hand, here and in decode.go.
const (
	blockSize = 512

	offName, lenName   = 0, 100
	offMode, lenMode   = 100, 8
	offUID, lenID      = 108, 8
	offGID             = 116
	offSize, lenSize   = 124, 12
	offTime, lenTime   = 136, 12
	offSum, lenSum     = 148, 8
	offType            = 156
	offLink, lenLink   = 157, 100
	offMagic, lenMagic = 257, 8
	offRest            = 265 // user and group names
	offMajor, offMinor = 329, 337
	offPrefix          = 345
	// Behind the prefix stand twelve bytes that mean nothing to anybody. Ours hold
	// a time's nanoseconds, or nothing: a PAX header for each file would be a fifth
	// of a tree of small ones, and a third of the time it takes.
	offNanos, lenNanos      = 500, 12
	maxOctalSize            = 1<<33 - 1
	magic                   = "ustar\x0000"
	paxName                 = "PaxHeaders.0/entry"
	paxPath, paxLink        = "path", "linkpath"
	paxTime, paxSize        = "mtime", "size"
	typePAX            byte = tar.TypeXHeader
)

// encoder writes POSIX tar entries: ustar, with a PAX header before it where
// ustar cannot tell a name, a size or a time.
type encoder struct {
	w     io.Writer
	block [blockSize]byte
	pax   bytes.Buffer
	left  int64 // content still to come
	pad   int64 // and the zeros behind it
	// wordy is true behind an entry that the decoder leaves to archive/tar, with
	// all that follow: those have no word about time that only we understand.
	wordy bool
}

// header writes hdr; its content follows by Write.
func (e *encoder) header(hdr *tar.Header) error {
	if e.left != 0 {
		return fmt.Errorf("%d bytes of the entry before are missing", e.left)
	}
	if err := e.fill(e.pad); err != nil {
		return err
	}
	e.left, e.pad = hdr.Size, padding(hdr.Size)
	sec, nsec := hdr.ModTime.Unix(), int64(hdr.ModTime.Nanosecond())
	inRange := sec >= 0 && sec <= maxOctalSize
	e.wordy = e.wordy || !inRange || hdr.Size > maxOctalSize || len(hdr.Name)+len(hdr.Linkname) > maxPAX/2
	if !inRange {
		sec = 0
	}
	if e.wordy {
		nsec = 0
	}
	if err := e.extended(hdr, time.Unix(sec, nsec)); err != nil {
		return err
	}
	return e.plain(hdr.Typeflag, fields{
		name: hdr.Name, link: hdr.Linkname, mode: hdr.Mode, size: min(hdr.Size, maxOctalSize), sec: sec, nsec: nsec,
	})
}

// extended writes a PAX header when one is needed; told is the time that the
// plain one tells.
func (e *encoder) extended(hdr *tar.Header, told time.Time) error {
	e.pax.Reset()
	if !fits(hdr.Name, lenName) {
		e.record(paxPath, hdr.Name)
	}
	if !fits(hdr.Linkname, lenLink) {
		e.record(paxLink, hdr.Linkname)
	}
	if !hdr.ModTime.Equal(told) {
		e.record(paxTime, paxSeconds(hdr.ModTime))
	}
	if hdr.Size > maxOctalSize {
		e.record(paxSize, strconv.FormatInt(hdr.Size, 10))
	}
	n := int64(e.pax.Len())
	if n == 0 {
		return nil
	}
	if err := e.plain(typePAX, fields{name: paxName, mode: 0o644, size: n}); err != nil {
		return err
	}
	if _, err := e.pax.WriteTo(e.w); err != nil {
		return err
	}
	return e.fill(padding(n))
}

// fits reports whether a name stands in a header field as it is.
func fits(s string, room int) bool {
	if len(s) > room {
		return false
	}
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// record appends "LENGTH KEY=VALUE\n", where LENGTH counts itself.
func (e *encoder) record(key, value string) {
	rest := len(key) + len(value) + 3
	size := rest + len(strconv.Itoa(rest))
	size = rest + len(strconv.Itoa(size))
	e.pax.WriteString(strconv.Itoa(size))
	e.pax.WriteByte(' ')
	e.pax.WriteString(key)
	e.pax.WriteByte('=')
	e.pax.WriteString(value)
	e.pax.WriteByte('\n')
}

// paxSeconds writes a time as a decimal fraction, which before 1970 is
// negative as a whole.
func paxSeconds(t time.Time) string {
	sec, nsec := t.Unix(), int64(t.Nanosecond())
	sign := ""
	if sec < 0 {
		sign = "-"
		sec = -sec
		if nsec > 0 {
			sec, nsec = sec-1, 1e9-nsec
		}
	}
	if nsec == 0 {
		return sign + strconv.FormatInt(sec, 10)
	}
	return fmt.Sprintf("%s%d.%09d", sign, sec, nsec)
}

// fields are those of a header block.
type fields struct {
	name, link            string
	mode, size, sec, nsec int64
}

func (e *encoder) plain(kind byte, f fields) error {
	b := e.block[:]
	clear(b)
	// A name that does not fit is cut: the PAX header has the whole of it.
	copyASCII(b[offName:offName+lenName], f.name)
	copyASCII(b[offLink:offLink+lenLink], f.link)
	octal(b[offMode:offMode+lenMode], f.mode)
	octal(b[offUID:offUID+lenID], 0)
	octal(b[offGID:offGID+lenID], 0)
	octal(b[offSize:offSize+lenSize], f.size)
	octal(b[offTime:offTime+lenTime], f.sec)
	octal(b[offMajor:offMajor+lenID], 0)
	octal(b[offMinor:offMinor+lenID], 0)
	b[offType] = kind
	copy(b[offMagic:], magic)
	if f.nsec != 0 {
		octal(b[offNanos:offNanos+lenNanos], f.nsec)
	}
	octal(b[offSum:offSum+lenSum-1], checksum(b))
	b[offSum+lenSum-1] = ' '
	_, err := e.w.Write(b)
	return err
}

func copyASCII(field []byte, s string) {
	for i := range min(len(field), len(s)) {
		if field[i] = s[i]; s[i] >= 0x80 {
			field[i] = '_'
		}
	}
}

// octal fills a field with digits and a closing NUL.
func octal(field []byte, v int64) {
	for i := len(field) - 2; i >= 0; i-- {
		field[i] = byte('0' + v&7)
		v >>= 3
	}
	field[len(field)-1] = 0
}

// checksum adds the bytes of a header block, its own field taken as blanks.
func checksum(b []byte) int64 {
	// Eight bytes at once, in four lanes of sixteen bits, which do not overflow.
	const even = 0x00ff00ff00ff00ff
	var lanes uint64
	for i := 0; i < blockSize; i += 8 {
		word := binary.LittleEndian.Uint64(b[i:])
		lanes += word&even + word>>8&even
	}
	sum := int64(lanes&0xffff + lanes>>16&0xffff + lanes>>32&0xffff + lanes>>48)
	for _, c := range b[offSum : offSum+lenSum] {
		sum += ' ' - int64(c)
	}
	return sum
}

// padding is how many zeros fill the last block of n bytes.
func padding(n int64) int64 { return -n & (blockSize - 1) }

func (e *encoder) fill(n int64) error {
	_, err := e.w.Write(zeroBlock[:n])
	return err
}

// Write takes content of the entry whose header was written last.
func (e *encoder) Write(p []byte) (int, error) {
	if int64(len(p)) > e.left {
		return 0, tar.ErrWriteTooLong
	}
	n, err := e.w.Write(p)
	e.left -= int64(n)
	return n, err
}

// close writes the end mark.
func (e *encoder) close() error {
	if e.left != 0 {
		return fmt.Errorf("%d bytes of the last entry are missing", e.left)
	}
	return e.fill(e.pad + endMark)
}
