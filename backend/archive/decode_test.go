package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// next is what both decoders have.
type next func() (*tar.Header, error)

// describe renders a stream as a decoder sees it, up to its end or error.
func describe(next next, content io.Reader) (string, error) {
	var out strings.Builder
	for {
		hdr, err := next()
		if errors.Is(err, io.EOF) {
			return out.String(), nil
		}
		if err != nil {
			return out.String(), err
		}
		body, err := io.ReadAll(io.LimitReader(content, 1<<20))
		fmt.Fprintf(&out, "%c %q %q %o %d %s %x\n", hdr.Typeflag, hdr.Name, hdr.Linkname, hdr.Mode, hdr.Size, hdr.ModTime.UTC(), body)
		if err != nil {
			return out.String(), err
		}
	}
}

// ownNanos reports whether an entry's headers tell nanoseconds in the place that
// only this package knows.
func ownNanos(headers []byte) bool {
	return len(headers) >= blockSize && !isZero(headers[len(headers)-lenNanos:]) && !bytes.Contains(headers, []byte(paxTime+"="))
}

// agree checks that the decoder sees what archive/tar sees.
func agree(t *testing.T, data []byte) {
	t.Helper()
	d := newDecoder(bytes.NewReader(data))
	got, gotErr := describe(func() (*tar.Header, error) {
		hdr, err := d.next()
		if err == nil && d.std == nil && ownNanos(d.raw) {
			hdr.ModTime = hdr.ModTime.Truncate(time.Second)
		}
		return hdr, err
	}, d)
	std := tar.NewReader(bytes.NewReader(data))
	want, wantErr := describe(std.Next, std)
	if got != want {
		t.Errorf("decoder sees:\n%.2000s\narchive/tar sees:\n%.2000s", got, want)
	}
	if errors.Is(gotErr, ErrTruncated) && (wantErr == nil || errors.Is(wantErr, io.ErrUnexpectedEOF)) {
		return // archive/tar takes the end of the stream for the end mark
	}
	if (gotErr == nil) != (wantErr == nil) {
		t.Errorf("decoder ends with %v, archive/tar with %v", gotErr, wantErr)
	}
}

var codecTimes = []time.Time{
	time.Unix(0, 0), epoch, time.Unix(1, 1), time.Unix(-1, 0), time.Unix(-1, 5e8), time.Unix(-5, 1),
	time.Unix(maxOctalSize, 0), time.Unix(maxOctalSize+1, 7), time.Unix(1_700_000_000, 100),
}

var codecNames = []string{
	"a", "dir/", strings.Repeat("n", 100), strings.Repeat("n", 101), strings.Repeat("d/", 900) + "f",
	"ümläut", "bad\xff", "new\nline", " = 12 path=x\n", "\x80", strings.Repeat("ü", 60),
}

// TestCodec writes what is hard to write and reads it with both decoders.
func TestCodec(t *testing.T) {
	for _, when := range codecTimes {
		for _, name := range codecNames {
			var buf bytes.Buffer
			e := &encoder{w: &buf}
			for _, h := range []tar.Header{
				{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: 5, ModTime: when},
				{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: when},
				{Typeflag: tar.TypeSymlink, Name: "l", Linkname: name, Mode: 0o777, ModTime: when},
				{Typeflag: tar.TypeReg, Name: "empty", ModTime: when},
				{Typeflag: tar.TypeReg, Name: "block", Size: 512, ModTime: when},
			} {
				must(t, e.header(&h))
				_, err := e.Write(bytes.Repeat([]byte("y"), int(h.Size)))
				must(t, err)
			}
			must(t, e.close())
			agree(t, buf.Bytes())
			hdr, err := newDecoder(&buf).next()
			must(t, err)
			if hdr.Name != name || !hdr.ModTime.Equal(when) {
				t.Errorf("wrote %q at %v, read %q at %v", name, when, hdr.Name, hdr.ModTime)
			}
		}
	}
}

// TestCodecSize writes a size that ustar cannot tell.
func TestCodecSize(t *testing.T) {
	var buf bytes.Buffer
	must(t, (&encoder{w: &buf}).header(&tar.Header{Typeflag: tar.TypeReg, Name: "huge", Size: 1 << 40}))
	for name, next := range map[string]next{"decoder": newDecoder(bytes.NewReader(buf.Bytes())).next, "archive/tar": tar.NewReader(&buf).Next} {
		if hdr, err := next(); err != nil || hdr.Size != 1<<40 {
			t.Errorf("%s reads %+v, %v", name, hdr, err)
		}
	}
}

// TestPlainEntriesAreReadByHand keeps the fast path fast: a stream of Pack's
// must never need archive/tar.
func TestPlainEntriesAreReadByHand(t *testing.T) {
	data, _ := packed(t, ".", ".", PackOptions{})
	d := newDecoder(bytes.NewReader(data))
	if _, err := describe(d.next, d); err != nil || d.std != nil {
		t.Errorf("error %v, fell back %v", err, d.std != nil)
	}
}

// TestNanosAfterSurprise has an entry that the decoder leaves to archive/tar: the
// times of those behind it are whole all the same.
func TestNanosAfterSurprise(t *testing.T) {
	fine := time.Unix(1_700_000_000, 123_456_789)
	for name, odd := range map[string]tar.Header{
		"time":  {Typeflag: tar.TypeReg, Name: "odd", ModTime: time.Unix(-1, 5)},
		"names": {Typeflag: tar.TypeSymlink, Name: strings.Repeat("n", 4096), Linkname: strings.Repeat("l", 4096), ModTime: fine},
	} {
		t.Run(name, func(t *testing.T) {
			var buf bytes.Buffer
			e := &encoder{w: &buf}
			first := tar.Header{Typeflag: tar.TypeReg, Name: "first", ModTime: fine}
			for _, h := range []tar.Header{first, odd, first} {
				must(t, e.header(&h))
			}
			must(t, e.close())
			agree(t, buf.Bytes())
			d := newDecoder(&buf)
			for _, want := range []time.Time{fine, odd.ModTime, fine} {
				if hdr, err := d.next(); err != nil || !hdr.ModTime.Equal(want) {
					t.Fatalf("read %v, %v, want %v", hdr.ModTime, err, want)
				}
			}
		})
	}
}

func TestEncoderMisuse(t *testing.T) {
	e := &encoder{w: io.Discard}
	must(t, e.header(&tar.Header{Typeflag: tar.TypeReg, Name: "a", Size: 3}))
	if _, err := e.Write([]byte("1234")); err == nil {
		t.Error("more than the header's size was taken")
	}
	if e.close() == nil || e.header(&tar.Header{Name: "b"}) == nil {
		t.Error("an entry without its content was closed")
	}
}

func FuzzDecode(f *testing.F) {
	plain := stream(f, file("a", "x"), dir("d"), symlink("l", "a"), hardLink("h", "a"), special("n", tar.TypeChar))
	f.Add(plain)
	f.Add(plain[:1536])
	var buf bytes.Buffer
	e := &encoder{w: &buf}
	for _, name := range codecNames {
		must(f, e.header(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: 2, ModTime: epoch}))
		_, _ = e.Write([]byte("xy"))
	}
	must(f, e.close())
	f.Add(buf.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) { agree(t, data) })
}
