package dlp

import (
	"bytes"
	"compress/bzip2"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

const (
	// maxInflated bounds what one text may decompress to, in all.
	maxInflated = 64 << 20
	// maxRatio bounds how much larger a decompressed text may be, once it is
	// larger than freeInflated.
	maxRatio     = 100
	freeInflated = 1 << 20
	// smallRatio is the same for a text that is as short as a secret, and the way
	// to tell Brotli from anything else.
	smallRatio = 10
	// mostInflaters bounds the compressed texts that are read at a time.
	mostInflaters = 4
	// maxWindow bounds the memory of one.
	maxWindow = 8 << 20
)

// inflater decompresses what follows in a view while the view is read. The
// decompressors pull, so that one runs as a coroutine: it is resumed with each
// new chunk and stops when it has used it up.
type inflater struct {
	layer
	format string
	chunk  []byte // what the decompressor may read
	ended  bool   // there will be no more
	fed    int64
	got    int64
	next   func() (struct{}, bool)
	stop   func()
}

// inflate begins to decompress at an offset.
func (v *view) inflate(format string, start int64) {
	v.readInflated(start, false)
	if v.depth >= maxDepth || len(v.decoders.inflated) == mostInflaters {
		v.job.unscannable(v.sink, "compressed in too many ways", start)
		return
	}
	if unreadable(format) {
		v.job.unscannable(v.sink, format, start)
		return
	}
	if v.job.opened += effort(format); v.job.opened > maxEffort {
		v.job.unscannable(v.sink, "too many compressed texts", start)
		return
	}
	f := &inflater{format: format}
	f.name = format
	f.begin(v, start)
	f.next, f.stop = iter.Pull(iter.Seq[struct{}](f.run))
	v.decoders.inflated = append(v.decoders.inflated, f)
}

// unreadable reports formats that are known and not read.
func unreadable(format string) bool {
	return format == "7z" || format == "xz" || format == "rar"
}

// maxEffort bounds how many decompressors one text may start, in units of the
// cheapest. Archives have thousands of members; a text of nothing but false
// beginnings must not cost more than its length is worth.
const maxEffort = 10_000

// effort is what it takes to start a decompressor.
func effort(format string) int {
	switch format {
	case "bzip2":
		return 100
	case "zstd":
		return 20
	case "brotli":
		return 5
	}
	return 1
}

// readInflated feeds the decompressors up to an offset of the view and forgets
// those that are done.
func (v *view) readInflated(to int64, last bool) {
	kept := v.inflated[:0]
	for _, f := range v.inflated {
		if f.read(v, to, last) {
			kept = append(kept, f)
		}
	}
	clear(v.inflated[len(kept):])
	v.inflated = kept
}

// read feeds what is new up to an offset of the view and reports whether there
// is more to come.
func (f *inflater) read(v *view, to int64, last bool) bool {
	if to <= f.at && !last {
		return true
	}
	f.chunk, f.ended = v.buf[f.at-v.base:to-v.base], last
	f.at = to
	f.fed += int64(len(f.chunk))
	_, more := f.next()
	if more && !last {
		return true
	}
	f.stop()
	f.end(nil)
	return false
}

// run is the coroutine.
func (f *inflater) run(yield func(struct{}) bool) {
	in := &feed{f: f, wait: func() bool { return yield(struct{}{}) }}
	out, err := open(f.format, in)
	if err == nil {
		err = f.copy(out)
	}
	var bound *boundError
	if errors.As(err, &bound) {
		f.outer.job.unscannable(f.outer.sink, bound.what, f.start)
	}
}

// boundError is why a compressed text is not read to its end.
type boundError struct{ what string }

// Error implements error.
func (e *boundError) Error() string { return "stopped to decompress: " + e.what }

// copy hands the decompressed text on.
func (f *inflater) copy(r io.Reader) error {
	buf := make([]byte, 4096)
	job := f.outer.job
	for {
		n, err := r.Read(buf)
		f.inner.write(buf[:n])
		f.got += int64(n)
		job.inflated += int64(n)
		switch {
		case job.inflated > maxInflated:
			return &boundError{"decompresses to too much"}
		case f.got > freeInflated && f.got > maxRatio*f.fed:
			return &boundError{"decompresses to too many times its size"}
		case err != nil:
			return err
		}
	}
}

// feed is what the decompressor reads.
type feed struct {
	f    *inflater
	wait func() bool
}

// Read implements io.Reader.
func (r *feed) Read(p []byte) (int, error) {
	for len(r.f.chunk) == 0 {
		if r.f.ended || !r.wait() {
			return 0, io.ErrUnexpectedEOF
		}
	}
	n := copy(p, r.f.chunk)
	r.f.chunk = r.f.chunk[n:]
	return n, nil
}

// open starts the decompressor of a format.
func open(format string, in io.Reader) (io.Reader, error) {
	switch format {
	case "gzip":
		return gzip.NewReader(in)
	case "zlib":
		return zlib.NewReader(in)
	case "bzip2":
		return bzip2.NewReader(in), nil
	case "brotli":
		return brotli.NewReader(in), nil
	case "zstd":
		return zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	case "zip":
		return openZip(in)
	}
	return nil, fmt.Errorf("no decompressor for %s", format)
}

// openZip reads the header of one member of a ZIP archive.
func openZip(in io.Reader) (io.Reader, error) {
	const (
		encrypted = 1
		stored    = 0
		deflated  = 8
	)
	var head [30]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	names := int64(binary.LittleEndian.Uint16(head[26:])) + int64(binary.LittleEndian.Uint16(head[28:]))
	if _, err := io.CopyN(io.Discard, in, names); err != nil {
		return nil, err
	}
	switch method := binary.LittleEndian.Uint16(head[8:]); {
	case head[6]&encrypted != 0:
		return nil, &boundError{"an encrypted archive"}
	case method == stored:
		return bytes.NewReader(nil), nil // it is read where it stands
	case method == deflated:
		return flate.NewReader(in), nil
	}
	return nil, &boundError{"an archive with an unusual compression"}
}

// head looks for compression without an unmistakable mark, at the beginning of
// a text: zlib by its checked header, and Brotli, which has none, where its
// first numbers make sense.
func (v *view) head(last bool) {
	d := &v.decoders
	if d.begun || !last && len(v.buf) < headSize || len(v.buf) < 2 {
		return
	}
	d.begun = true
	if v.base != 0 || textual(v.buf[:min(len(v.buf), headSize)]) {
		return
	}
	switch {
	case v.buf[0]&0x0f == 8 && v.buf[0]>>4 <= 7 && (int(v.buf[0])<<8|int(v.buf[1]))%31 == 0:
		v.inflate("zlib", 0)
	case v.depth > 0 && brotliHead(v.buf, last):
		v.inflate("brotli", 0)
	}
}

// headSize is how much of a text is looked at to tell whether it is compressed.
const headSize = 4096

// headShort is how long a compressed text is that an encoder does not divide
// into types of blocks.
const headShort = 256

// textual reports whether there are only characters in b.
func textual(b []byte) bool {
	for _, c := range b[:min(len(b), 16)] {
		if !printable(c) && c < 0x80 {
			return false
		}
	}
	return printable(b[0]) && printable(b[1])
}

// brotliHead reads the first header of RFC 7932: the window's size and whether
// the length of the first block is believable. whole says that b is everything.
func brotliHead(b []byte, whole bool) bool {
	if len(b) < 5 {
		return false
	}
	bits := uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 | uint64(b[4])<<32
	take := func(n int) uint64 {
		v := bits & (1<<n - 1)
		bits >>= n
		return v
	}
	if take(1) == 1 && take(3) == 0 && take(3) == 1 {
		return false // reserved for large windows
	}
	last := take(1)
	if last == 1 && take(1) == 1 {
		return false // empty
	}
	nibbles := take(2)
	if nibbles == 3 {
		return false // metadata
	}
	length := take(int(4*(4+nibbles))) + 1 // #nosec G115 -- at most 6
	if !whole {
		return true
	}
	if length > uint64(len(b))*smallRatio {
		return false
	}
	// Not compressed, or, being short, of one type of block in each category.
	return last == 0 && take(1) == 1 || len(b) > headShort || take(3) == 0
}
