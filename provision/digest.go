package provision

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"sync/atomic"
)

// digester reads along with an archive and digests its file, as long as there
// is only one. From the second on it costs nothing. It works on a copy of the
// bytes beside the transfer, which it slows down only when it falls behind.
type digester struct {
	chunks chan []byte
	free   chan []byte
	off    atomic.Bool
	done   chan struct{}
	hash   string
}

// digestChunks bounds how far the digest may fall behind: chunks of what one
// Write brings, 256 KiB with archive's buffers.
const digestChunks = 16

func newDigester() *digester {
	d := &digester{chunks: make(chan []byte, digestChunks), free: make(chan []byte, digestChunks), done: make(chan struct{})}
	go func() {
		defer close(d.done)
		d.hash = oneFile(&chunkReader{d: d})
		// Whatever was not understood, the archive itself must go on.
		d.off.Store(true)
		for range d.chunks {
		}
	}()
	return d
}

// Write implements io.Writer and never fails.
func (d *digester) Write(p []byte) (int, error) {
	if d.off.Load() {
		return len(p), nil
	}
	var buf []byte
	select {
	case buf = <-d.free:
	default:
	}
	d.chunks <- append(buf[:0], p...)
	return len(p), nil
}

// sum ends the archive and returns the digest, or "".
func (d *digester) sum() string {
	close(d.chunks)
	<-d.done
	return d.hash
}

// chunkReader reads what was written, in order.
type chunkReader struct {
	d         *digester
	buf, rest []byte
}

func (c *chunkReader) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		if c.buf != nil {
			select {
			case c.d.free <- c.buf:
			default:
			}
		}
		buf, ok := <-c.d.chunks
		if !ok {
			return 0, io.EOF
		}
		c.buf, c.rest = buf, buf
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// oneFile digests the only regular file of an archive.
func oneFile(r io.Reader) string {
	t := tar.NewReader(r)
	found := ""
	buf := make([]byte, 128<<10)
	for {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF):
			return found
		case err != nil:
			return ""
		case h.Typeflag != tar.TypeReg:
			continue
		case found != "":
			return ""
		}
		sum := sha256.New()
		if _, err := io.CopyBuffer(sum, t, buf); err != nil { //nolint:gosec // it is only counted
			return ""
		}
		found = hex.EncodeToString(sum.Sum(nil))
	}
}
