package ledger

import (
	"bufio"
	"cmp"
	"errors"
	"io"
	"io/fs"
	"slices"
)

// ReadFile is a file of a ledger, opened for reading.
type ReadFile interface {
	io.ReaderAt
	Name() string
	Stat() (fs.FileInfo, error)
}

// Reader reads the files of a ledger as one. Places in it are offsets in the
// bytes that were ever written, so that they stay valid while files rotate. It
// sees the ledger as it was when the reader was made.
type Reader struct {
	parts []part
	// odd are files that hold something and do not begin as they should.
	odd []part
}

// part is one file of a ledger.
type part struct {
	file ReadFile
	seq  uint64
	base int64
	size int64
}

// NewReader looks at the files, which may be in any order. A single file that
// does not begin as a ledger does is read nevertheless: lines are checked by
// who wants that.
func NewReader[F ReadFile](all []F) (*Reader, error) {
	r := &Reader{}
	for _, f := range all {
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		p := part{file: f, size: info.Size()}
		if p.size == 0 {
			continue
		}
		if e, ok := first(f); ok {
			p.seq, p.base = e.Seq, e.Base
			r.parts = append(r.parts, p)
		} else {
			r.odd = append(r.odd, p)
		}
	}
	slices.SortStableFunc(r.parts, func(a, b part) int { return cmp.Compare(a.seq, b.seq) })
	if len(r.parts) == 0 && len(r.odd) > 0 {
		r.parts, r.odd = r.odd[:1], r.odd[1:]
	}
	return r, nil
}

// End is the place behind the last byte.
func (r *Reader) End() int64 {
	if len(r.parts) == 0 {
		return 0
	}
	last := r.parts[len(r.parts)-1]
	return last.base + last.size
}

// From returns what follows a place, at most limit bytes, and where it really
// begins: later, when what was there has been dropped.
func (r *Reader) From(offset, limit int64) (io.Reader, int64) {
	var out []io.Reader
	start := int64(-1)
	for _, p := range r.parts {
		skip := min(max(offset-p.base, 0), p.size)
		n := min(p.size-skip, limit)
		if n <= 0 {
			continue
		}
		if start < 0 {
			start = p.base + skip
		}
		out = append(out, io.NewSectionReader(p.file, skip, n))
		limit -= n
	}
	if start < 0 {
		start = offset
	}
	return io.MultiReader(out...), start
}

// Lines calls each for every line of in that ends, with its line feed, and
// returns how many bytes those were. Lines that are too long are left out. It
// stops when each returns an error.
func Lines(in io.Reader, each func(line []byte) error) (int64, error) {
	return LinesAt(in, func(_ int64, line []byte) error { return each(line) })
}

// LinesAt is Lines, and tells of each line where it begins.
func LinesAt(in io.Reader, each func(at int64, line []byte) error) (int64, error) {
	buf := bufio.NewReaderSize(in, MaxLine)
	var end, pending int64
	for {
		line, err := buf.ReadSlice('\n')
		pending += int64(len(line))
		switch {
		case errors.Is(err, io.EOF):
			return end, nil // what is left over is half a line
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return end, err
		}
		if pending == int64(len(line)) {
			if err := each(end, line); err != nil {
				return end, err
			}
		}
		end, pending = end+pending, 0
	}
}
