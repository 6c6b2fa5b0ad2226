package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func names(t testing.TB, data []byte) []string {
	t.Helper()
	var out []string
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		hdr, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		must(t, err)
		out = append(out, hdr.Name)
	}
}

// TestTruncated cuts a stream at every block and in between: each cut is an
// error, whole files before it are there, and no part of a file is.
func TestTruncated(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 300)
	zeros := strings.Repeat("\x00", 2048) // looks like an end mark
	whole := stream(t, dir("d"), file("d/one", big), file("d/zeros", zeros), symlink("l", "d"), file("two", big))
	step := 256
	for cut := 0; cut < len(whole); cut += step {
		a := newArena(t)
		must(t, os.WriteFile(filepath.Join(a.dst, "two"), []byte("before"), 0o644))
		_, err := a.unpack(whole[:cut], UnpackOptions{})
		if !errors.Is(err, ErrTruncated) {
			t.Errorf("cut at %d of %d: %v, want ErrTruncated", cut, len(whole), err)
		}
		a.intact()
		for name, want := range map[string]string{"d/one": big, "d/zeros": zeros, "two": big} {
			got, err := os.ReadFile(filepath.Join(a.dst, name))
			if err == nil && string(got) != want && string(got) != "before" {
				t.Errorf("cut at %d: %s has %d bytes", cut, name, len(got))
			}
		}
	}
	a := newArena(t)
	_, err := a.unpack(whole, UnpackOptions{})
	must(t, err)
}

// TestTruncatedLargeFile cuts inside a file that is streamed: neither a part of
// it nor a temporary file is left, and the file it would replace stays.
func TestTruncatedLargeFile(t *testing.T) {
	for name, before := range map[string]string{"new": "", "replacing": "before"} {
		t.Run(name, func(t *testing.T) {
			a := newArena(t)
			if before != "" {
				must(t, os.WriteFile(filepath.Join(a.dst, "big"), []byte(before), 0o644))
			}
			whole := stream(t, file("big", strings.Repeat("x", 3*bufferSize)))
			_, err := a.unpack(whole[:2*bufferSize], UnpackOptions{})
			if !errors.Is(err, ErrTruncated) {
				t.Errorf("error %v, want ErrTruncated", err)
			}
			left, _ := os.ReadDir(a.dst)
			got, _ := os.ReadFile(filepath.Join(a.dst, "big"))
			if string(got) != before || len(left) > 1 || (before == "" && len(left) > 0) {
				t.Errorf("%d entries are left, big is %.20q", len(left), got)
			}
		})
	}
}

func TestUnpackLimits(t *testing.T) {
	data := stream(t, file("a", "12345"), file("b", "12345"), file("c", "12345"))
	tests := map[string]struct {
		opts  UnpackOptions
		files int
		limit bool
	}{
		"exactly the bytes":   {UnpackOptions{MaxBytes: 15}, 3, false},
		"one byte too many":   {UnpackOptions{MaxBytes: 14}, 2, true},
		"exactly the entries": {UnpackOptions{MaxEntries: 3}, 3, false},
		"an entry too many":   {UnpackOptions{MaxEntries: 2}, 2, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := newArena(t)
			report, err := a.unpack(data, tt.opts)
			if errors.Is(err, ErrLimit) != tt.limit || report.Files != tt.files {
				t.Errorf("%d files, error %v; want %d, limit %v", report.Files, err, tt.files, tt.limit)
			}
		})
	}
}

// TestSizeBomb claims more content than there is room for: a header alone must
// not cost disk or memory.
func TestSizeBomb(t *testing.T) {
	var buf bytes.Buffer
	must(t, tar.NewWriter(&buf).WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "bomb", Size: 1 << 50, Format: tar.FormatGNU}))
	a := newArena(t)
	_, err := a.unpack(buf.Bytes(), UnpackOptions{})
	if !errors.Is(err, ErrLimit) {
		t.Errorf("error %v, want ErrLimit", err)
	}
}

func TestSkipsAreBounded(t *testing.T) {
	var all []entry
	for range 250 {
		all = append(all, file("../"+strings.Repeat("\xff", 2000), ""))
	}
	a := newArena(t)
	report, err := a.unpack(stream(t, all...), UnpackOptions{})
	must(t, err)
	if len(report.Skipped) != maxSkips || report.SkippedMore != 150 {
		t.Errorf("%d listed, %d more; want %d and 150", len(report.Skipped), report.SkippedMore, maxSkips)
	}
	if got := report.Skipped[0].Path; len(got) > 3*maxSkipBytes || strings.Contains(got, "\xff") {
		t.Errorf("path of %d bytes is not bounded or not UTF-8", len(got))
	}
}

func TestGarbage(t *testing.T) {
	for name, data := range map[string]string{
		"empty": "", "text": strings.Repeat("this is no archive\n", 100), "one zero block": strings.Repeat("\x00", 512),
	} {
		t.Run(name, func(t *testing.T) {
			a := newArena(t)
			if _, err := a.unpack([]byte(data), UnpackOptions{}); err == nil {
				t.Error("no error")
			}
			a.intact()
		})
	}
	a := newArena(t)
	report, err := a.unpack(make([]byte, 10240), UnpackOptions{}) // what tar writes for nothing
	if err != nil || report.Files != 0 {
		t.Errorf("an empty archive gives %+v, %v", report, err)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := newArena(t)
	if _, err := Unpack(ctx, bytes.NewReader(stream(t, file("a", "x"))), openRoot(t, a.dst), UnpackOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("unpack gives %v", err)
	}
	if _, err := Pack(ctx, io.Discard, Source{Root: openRoot(t, a.outside), Name: "."}, PackOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("pack gives %v", err)
	}
}

// failAfter is a writer whose disk is full, or a reader whose line breaks.
type failAfter struct {
	r    io.Reader
	left int
	err  error
}

func (f *failAfter) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, f.err
	}
	return len(p), nil
}

func (f *failAfter) Read(p []byte) (int, error) {
	n, err := f.r.Read(p[:min(len(p), f.left)])
	if f.left -= n; n == 0 {
		return 0, f.err
	}
	return n, err
}

// TestStreamErrors shows that an errno of the stream ends the run although the
// same errno on one file would be a skip.
func TestStreamErrors(t *testing.T) {
	broken := &os.PathError{Op: "read", Path: "pipe", Err: os.ErrPermission}
	a := newArena(t)
	data := stream(t, file("a", strings.Repeat("x", 4096)))
	_, err := Unpack(t.Context(), &failAfter{r: bytes.NewReader(data), left: 1024, err: broken}, openRoot(t, a.dst), UnpackOptions{})
	if !errors.Is(err, os.ErrPermission) {
		t.Errorf("unpack gives %v", err)
	}
	must(t, os.WriteFile(filepath.Join(a.outside, "big"), make([]byte, 4*bufferSize), 0o644))
	_, err = Pack(t.Context(), &failAfter{left: 2 * bufferSize, err: broken}, Source{Root: openRoot(t, a.outside), Name: "."}, PackOptions{})
	if !errors.Is(err, os.ErrPermission) {
		t.Errorf("pack gives %v", err)
	}
}
