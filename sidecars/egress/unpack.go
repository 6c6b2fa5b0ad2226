package egress

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/bottle-mcp/bottle-mcp/sidecars/dlp"
)

const (
	// mostUnpacked and unpackRatio bound what a body may decompress to.
	mostUnpacked = 64 << 20
	unpackRatio  = 100
	freeUnpacked = 1 << 20
	zstdWindow   = 8 << 20
)

// contentFormat reads Content-Encoding: "" is none. One that is unknown, and
// more than one, cannot be undone here.
func contentFormat(values []string) (format string, known bool) {
	joined := strings.ToLower(strings.Trim(strings.Join(values, ","), " \t"))
	switch joined {
	case "", "identity":
		return "", true
	case "gzip", "x-gzip":
		return "gzip", true
	case "deflate", "br", "zstd":
		return joined, true
	}
	return "", false
}

// scanUnpacked scans what a compressed body decompresses to. What cannot be
// decompressed to its last byte is refused: a server might read on where this
// proxy could not.
func (ex *exchange) scanUnpacked(format string, data []byte) ([]dlp.Finding, *refusal) {
	in := bytes.NewReader(data)
	out, err := unpacker(format, in, data)
	if err != nil {
		return nil, unscannable("The body is not what its Content-Encoding says.")
	}
	if c, ok := out.(io.Closer); ok {
		defer func() { _ = c.Close() }()
	}
	stream := ex.gen.scanner.Stream(dlp.StreamOptions{Detectors: ex.route.scans.outbound})
	all, err := readUnpacked(stream, out, int64(len(data)))
	all = append(all, stream.Close()...)
	for i := range all {
		all[i].Via = strings.TrimSuffix(format+">"+all[i].Via, ">")
	}
	switch {
	case errors.Is(err, errTooMuch):
		return nil, unscannable("The body decompresses to more than what can be scanned.")
	case err != nil || in.Len() > 0:
		return nil, unscannable("The body is not what its Content-Encoding says, or something follows it.")
	}
	return all, nil
}

var errTooMuch = errors.New("it decompresses to too much")

func readUnpacked(stream *dlp.Stream, out io.Reader, size int64) ([]dlp.Finding, error) {
	var all []dlp.Finding
	buf := make([]byte, copyBuffer)
	for total := int64(0); ; {
		n, err := out.Read(buf)
		all = append(all, stream.Write(buf[:n])...)
		total += int64(n)
		if total > mostUnpacked || total > freeUnpacked && total > unpackRatio*size {
			return all, errTooMuch
		}
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

func unpacker(format string, in *bytes.Reader, data []byte) (io.Reader, error) {
	switch format {
	case "gzip":
		return gzip.NewReader(in)
	case "br":
		return brotli.NewReader(in), nil
	case "zstd":
		d, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	// What HTTP calls deflate has a head; some send it without.
	if len(data) >= 2 && data[0]&0x0f == 8 && (int(data[0])<<8|int(data[1]))%31 == 0 {
		return zlib.NewReader(in)
	}
	return flate.NewReader(in), nil
}
