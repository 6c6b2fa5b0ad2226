package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// endMark is how many bytes of zeros end an archive.
const endMark = 2 * blockSize

// maxPAX bounds a PAX header that is read by hand.
const maxPAX = 8 << 10

// decoder reads tar entries. Blocks of exactly the shape that encoder writes
// are read by hand; with the first that differs in anything, the rest of the
// stream goes to archive/tar, which knows all dialects.
type decoder struct {
	in   counter
	left int64 // content still to be read
	pad  int64
	// raw holds what was read of an entry's headers, to be read again by std.
	raw []byte
	std *tar.Reader
}

func newDecoder(r io.Reader) *decoder {
	return &decoder{in: counter{r: bufio.NewReaderSize(r, bufferSize/4)}}
}

// counter counts what archive/tar takes, to tell an end mark from the mere end
// of the stream: it takes either for the end.
type counter struct {
	r *bufio.Reader
	n int64
}

// Read implements io.Reader.
func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// next returns the next entry, io.EOF after the end mark, or ErrTruncated where
// the stream ends without one.
func (d *decoder) next() (*tar.Header, error) {
	if d.std != nil {
		return d.nextStd(d.in.n)
	}
	if _, err := io.CopyN(io.Discard, d.in.r, d.left+d.pad); err != nil {
		return nil, cutShort(err)
	}
	d.left, d.pad, d.raw = 0, 0, d.raw[:0]
	hdr, err := d.headers()
	if err != nil || hdr != nil {
		return hdr, err
	}
	d.std = tar.NewReader(io.MultiReader(bytes.NewReader(d.raw), &d.in))
	return d.nextStd(d.in.n - int64(len(d.raw)))
}

// nextStd asks archive/tar for the next entry; before is where it starts.
func (d *decoder) nextStd(before int64) (*tar.Header, error) {
	hdr, err := d.std.Next()
	if errors.Is(err, io.EOF) && d.in.n-before < endMark {
		return nil, ErrTruncated
	}
	return hdr, err
}

// Read reads content of the current entry.
func (d *decoder) Read(p []byte) (int, error) {
	if d.std != nil {
		return d.std.Read(p)
	}
	if d.left == 0 {
		return 0, io.EOF
	}
	n, err := d.in.r.Read(p[:min(int64(len(p)), d.left)])
	if d.left -= int64(n); errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// rest takes the padding that other programs write behind the end mark, so
// that they can finish.
func (d *decoder) rest() error {
	_, err := io.CopyN(io.Discard, d.in.r, 64<<10)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrTruncated
	}
	return err
}

// headers reads an entry's one or two headers; nil without an error means that
// they are not of the plain shape.
func (d *decoder) headers() (*tar.Header, error) {
	block, err := d.take(blockSize)
	if err != nil {
		return nil, err
	}
	if isZero(block) {
		return nil, d.endMark()
	}
	hdr, ok := parseBlock(block)
	if !ok || hdr.Typeflag != typePAX {
		return d.plain(hdr, ok), nil
	}
	if hdr.Size > maxPAX {
		return nil, nil
	}
	payload, err := d.take(int(hdr.Size + padding(hdr.Size)))
	if err != nil {
		return nil, err
	}
	payload = payload[:hdr.Size:hdr.Size]
	// The payload moves when raw grows.
	records := string(payload)
	if block, err = d.take(blockSize); err != nil {
		return nil, err
	}
	hdr, ok = parseBlock(block)
	ok = ok && hdr.Typeflag != typePAX && mergePAX(hdr, records)
	return d.plain(hdr, ok), nil
}

// plain accepts a header that was read by hand, or returns nil.
func (d *decoder) plain(hdr *tar.Header, ok bool) *tar.Header {
	if !ok || (hdr.Size > 0 && hdr.Typeflag != tar.TypeReg) {
		return nil
	}
	d.left, d.pad = hdr.Size, padding(hdr.Size)
	return hdr
}

// take reads n bytes more of an entry's headers.
func (d *decoder) take(n int) ([]byte, error) {
	at := len(d.raw)
	d.raw = append(d.raw, make([]byte, n)...)
	_, err := io.ReadFull(&d.in, d.raw[at:])
	return d.raw[at:], cutShort(err)
}

// endMark reads the second half of the end mark.
func (d *decoder) endMark() error {
	block, err := d.take(blockSize)
	if err != nil {
		return err
	}
	if !isZero(block) {
		return tar.ErrHeader
	}
	return io.EOF
}

func isZero(p []byte) bool { return bytes.Equal(p, zeroBlock[:len(p)]) }

// parseBlock reads a header block of exactly encoder's shape.
func parseBlock(b []byte) (*tar.Header, bool) {
	kind := b[offType]
	switch kind {
	case tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink, typePAX:
	default:
		return nil, false
	}
	sum, ok := parseOctal(b[offSum : offSum+lenSum-1])
	if !ok || sum != checksum(b) || b[offSum+lenSum-1] != ' ' ||
		string(b[offMagic:offMagic+lenMagic]) != magic || !isZero(b[offRest:offMajor]) || !isZero(b[offPrefix:offNanos]) {
		return nil, false
	}
	hdr := &tar.Header{Typeflag: kind, Format: tar.FormatPAX}
	var numbers [7]int64
	for i, f := range [7][2]int{
		{offMode, lenMode}, {offSize, lenSize}, {offTime, lenTime}, {offUID, lenID}, {offGID, lenID}, {offMajor, lenID}, {offMinor, lenID},
	} {
		if numbers[i], ok = parseOctal(b[f[0] : f[0]+f[1]]); !ok {
			return nil, false
		}
	}
	if numbers[3]|numbers[4]|numbers[5]|numbers[6] != 0 {
		return nil, false
	}
	var nsec int64
	if field := b[offNanos : offNanos+lenNanos]; !isZero(field) {
		if nsec, ok = parseOctal(field); !ok || nsec == 0 || nsec >= 1e9 {
			return nil, false
		}
	}
	hdr.Mode, hdr.Size, hdr.ModTime = numbers[0], numbers[1], time.Unix(numbers[2], nsec)
	var ok2 bool
	hdr.Name, ok = parseName(b[offName : offName+lenName])
	hdr.Linkname, ok2 = parseName(b[offLink : offLink+lenLink])
	return hdr, ok && ok2
}

// parseOctal reads a field full of digits with one closing NUL.
func parseOctal(field []byte) (v int64, ok bool) {
	last := len(field) - 1
	for _, c := range field[:last] {
		if c < '0' || c > '7' {
			return 0, false
		}
		v = v<<3 | int64(c-'0')
	}
	return v, field[last] == 0
}

// parseName reads an ASCII name with nothing but NULs behind it.
func parseName(field []byte) (string, bool) {
	n := bytes.IndexByte(field, 0)
	if n < 0 {
		n = len(field)
	}
	name := string(field[:n])
	return name, fits(name, n) && isZero(field[n:])
}

// mergePAX puts PAX records into hdr; false when there is one that encoder
// does not write, or that needs care (sizes, times before 1970).
func mergePAX(hdr *tar.Header, records string) bool {
	for records != "" {
		digits, rest, ok := strings.Cut(records, " ")
		size, err := strconv.ParseUint(digits, 10, 16)
		if !ok || err != nil || int(size) > len(records) || int(size) < len(digits)+2 || records[size-1] != '\n' {
			return false
		}
		key, value, _ := strings.Cut(rest[:int(size)-len(digits)-2], "=")
		records = records[size:]
		switch {
		case value == "" || strings.ContainsRune(value, 0):
			return false
		case key == paxPath:
			hdr.Name = value
		case key == paxLink:
			hdr.Linkname = value
		case key == paxTime:
			if hdr.ModTime, ok = parseSeconds(value); !ok {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// parseSeconds reads "SECONDS.NNNNNNNNN" or "SECONDS".
func parseSeconds(s string) (time.Time, bool) {
	whole, fraction, dotted := strings.Cut(s, ".")
	if dotted && len(fraction) != 9 {
		return time.Time{}, false
	}
	sec, err := strconv.ParseUint(whole, 10, 40)
	if err != nil || !dotted {
		return time.Unix(int64(sec), 0), err == nil
	}
	nsec, err := strconv.ParseUint(fraction, 10, 32)
	return time.Unix(int64(sec), int64(nsec)), err == nil
}
