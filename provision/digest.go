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
// is only one. From the second on it costs nothing.
type digester struct {
	w    *io.PipeWriter
	off  atomic.Bool
	done chan struct{}
	hash string
}

func newDigester() *digester {
	r, w := io.Pipe()
	d := &digester{w: w, done: make(chan struct{})}
	go func() {
		defer close(d.done)
		d.hash = oneFile(r)
		// Whatever was not understood, the archive itself must go on.
		d.off.Store(true)
		_ = r.CloseWithError(errGone)
	}()
	return d
}

// Write implements io.Writer and never fails.
func (d *digester) Write(p []byte) (int, error) {
	if !d.off.Load() {
		if _, err := d.w.Write(p); err != nil {
			d.off.Store(true)
		}
	}
	return len(p), nil
}

// sum ends the archive and returns the digest, or "".
func (d *digester) sum() string {
	_ = d.w.Close()
	<-d.done
	return d.hash
}

// oneFile digests the only regular file of an archive.
func oneFile(r io.Reader) string {
	t := tar.NewReader(r)
	found := ""
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
		if _, err := io.Copy(sum, t); err != nil { //nolint:gosec // it is only counted
			return ""
		}
		found = hex.EncodeToString(sum.Sum(nil))
	}
}
