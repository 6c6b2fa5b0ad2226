package provision

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

const (
	defaultMode = 0o644
	// maxInline bounds the content that one WriteFile or ReadFile moves.
	maxInline = 16 << 20
	// maxLinks is how many symbolic links ReadFile follows.
	maxLinks = 8
)

// guestFile is one file to be written.
type guestFile struct {
	path    string
	content []byte
	mode    uint32
	user    string
}

// WriteFile puts content into one guest file; its directory is made when it is
// missing.
func (m *Manager) WriteFile(ctx context.Context, who Principal, id backend.ID, guest string, content []byte, opts CopyOptions) (CopyResult, error) {
	engine, err := m.usable(who, id)
	if err != nil {
		return CopyResult{}, err
	}
	if guest, err = guestPath(guest); err != nil {
		return CopyResult{}, err
	}
	switch {
	case guest == "/":
		return CopyResult{}, &InvalidError{Field: "guest path", Problem: "it must name a file"}
	case len(content) > maxInline:
		return CopyResult{}, &InvalidError{Field: "content", Problem: fmt.Sprintf("it is larger than %d bytes; copy a host file instead", maxInline)}
	case opts.Mode > 0o777:
		return CopyResult{}, &InvalidError{Field: "mode", Problem: fmt.Sprintf("%o has more than the nine permission bits", opts.Mode)}
	}
	f := guestFile{path: guest, content: content, mode: opts.Mode, user: opts.User}
	if f.mode == 0 {
		f.mode = defaultMode
	}
	result, err := writeFile(ctx, engine, id, f)
	if err != nil {
		return result, fmt.Errorf("write %s in bottle %s: %w", guest, id, err)
	}
	return result, nil
}

// writeFile sends an archive of one entry.
func writeFile(ctx context.Context, engine backend.Backend, id backend.ID, f guestFile) (CopyResult, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	header := &tar.Header{
		Typeflag: tar.TypeReg, Name: path.Base(f.path), Size: int64(len(f.content)), Mode: int64(f.mode),
		ModTime: time.Now(), Format: tar.FormatPAX,
	}
	err := w.WriteHeader(header)
	if err == nil {
		_, err = w.Write(f.content)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return CopyResult{}, err
	}
	report, err := engine.Copy(ctx, id, backend.CopySpec{
		Direction: backend.CopyIn, Path: path.Dir(f.path), User: f.user, Reader: &buf,
	})
	if err != nil {
		return outcome(report, ""), err
	}
	if report.Files != 1 {
		reason := "the guest wrote no file"
		if len(report.Skipped) > 0 {
			reason = report.Skipped[0].Reason
		}
		return outcome(report, ""), fmt.Errorf("nothing was written: %s", reason)
	}
	sum := sha256.Sum256(f.content)
	return outcome(report, hex.EncodeToString(sum[:])), nil
}

// ReadFile returns at most limit bytes of one guest file and its whole size. A
// symbolic link is followed inside the guest.
func (m *Manager) ReadFile(ctx context.Context, who Principal, id backend.ID, guest string, limit int64) (content []byte, size int64, err error) {
	engine, err := m.usable(who, id)
	if err != nil {
		return nil, 0, err
	}
	if guest, err = guestPath(guest); err != nil {
		return nil, 0, err
	}
	limit = max(0, min(limit, maxInline))
	at := guest
	for range maxLinks {
		var target string
		content, size, target, err = readFile(ctx, engine, id, at, limit)
		if err != nil {
			return nil, 0, fmt.Errorf("read %s in bottle %s: %w", guest, id, err)
		}
		if target == "" {
			return content, size, nil
		}
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(at), target)
		}
		if at, err = guestPath(target); err != nil {
			return nil, 0, err
		}
	}
	return nil, 0, fmt.Errorf("read %s in bottle %s: more than %d symbolic links", guest, id, maxLinks)
}

// errEnough ends a stream of which enough was read.
var errEnough = errors.New("enough was read")

// readFile reads the only entry of an archive; target is set when it is a link.
func readFile(ctx context.Context, engine backend.Backend, id backend.ID, guest string, limit int64) (content []byte, size int64, target string, err error) {
	_, err = stream(ctx, engine, id, guest, func(_ context.Context, r io.Reader) error {
		t := tar.NewReader(r)
		h, err := t.Next()
		if err != nil {
			return fmt.Errorf("read the entry: %w", truncated(err))
		}
		switch h.Typeflag {
		case tar.TypeReg:
		case tar.TypeSymlink:
			target = h.Linkname
			return errEnough
		case tar.TypeDir:
			return &fs.PathError{Op: "read", Path: guest, Err: errors.New("it is a directory; copy it, or list it with a command")}
		default:
			return &fs.PathError{Op: "read", Path: guest, Err: errors.New("it is not a regular file")}
		}
		size = h.Size
		if content, err = io.ReadAll(io.LimitReader(t, limit)); err != nil {
			return fmt.Errorf("read the content: %w", truncated(err))
		}
		return errEnough
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return content, size, target, err
}
