package egress

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

const (
	// maxCodings is how often a body may be encoded.
	maxCodings = 2
	// maxExpansion bounds how much larger than what was received a body may
	// become, once it is larger than freeExpansion.
	maxExpansion  = 100
	freeExpansion = 1 << 20
	// maxWindow bounds the memory of one decoder.
	maxWindow = 8 << 20
)

// readableCodings is what of an Accept-Encoding this proxy can read. Where it
// has to read an answer, a server is not offered anything else.
func readableCodings(accept []string) string {
	var kept []string
	for entry := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		name, _, _ := strings.Cut(entry, ";")
		if name = strings.ToLower(strings.Trim(name, " \t")); name == "identity" || isReadable(name) {
			kept = append(kept, strings.Trim(entry, " \t"))
		}
	}
	if len(kept) == 0 {
		return "identity"
	}
	return strings.Join(kept, ", ")
}

// askReadable changes a request so that its answer can be read: in whole, in
// codings that are known.
func askReadable(h http.Header) {
	h["Accept-Encoding"] = []string{readableCodings(h["Accept-Encoding"])}
	delete(h, "Range") // a part could hold half of a secret
	delete(h, "If-Range")
	delete(h, "Sec-Websocket-Extensions") // they compress
	if _, grpc := h["Grpc-Accept-Encoding"]; grpc {
		h["Grpc-Accept-Encoding"] = []string{"identity"}
	}
}

// decode makes an answer one that can be read: its body is decoded while it
// flows, and the head says so. What cannot be read is refused: nobody would know
// what is in it.
func decode(resp *http.Response, method string) *refusal {
	codings := codingsOf(resp.Header)
	if c := resp.Header.Get("Grpc-Encoding"); c != "" && c != "identity" {
		return unreadable("Its messages are compressed.")
	}
	if resp.StatusCode == http.StatusPartialContent {
		return unreadable("It is a part, and no part was asked for.")
	}
	if len(codings) == 0 {
		return nil
	}
	if len(codings) > maxCodings {
		return unreadable("It is encoded too often.")
	}
	for _, c := range codings {
		if !isReadable(c) {
			return unreadable("It is encoded in a way that the proxy does not know.")
		}
	}
	for _, name := range []string{"Content-Encoding", "Content-Length", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest", "Accept-Ranges"} {
		delete(resp.Header, name)
	}
	if tag := resp.Header.Get("Etag"); strings.HasPrefix(tag, `"`) {
		resp.Header.Set("Etag", "W/"+tag) // it named the encoded form
	}
	if bodyless(resp, method) {
		return nil
	}
	resp.ContentLength = -1
	in := &counted{from: resp.Body}
	var out io.Reader = in
	for i := len(codings) - 1; i >= 0; i-- {
		out = &decoded{coding: codings[i], from: out}
	}
	resp.Body = &inflated{out: out, in: in, body: resp.Body}
	return nil
}

// codingsOf lists the codings in the order in which they were applied.
func codingsOf(h http.Header) []string {
	var all []string
	for word := range strings.SplitSeq(strings.Join(h["Content-Encoding"], ","), ",") {
		if word = strings.ToLower(strings.Trim(word, " \t")); word != "" && word != "identity" {
			all = append(all, word)
		}
	}
	return all
}

func isReadable(coding string) bool {
	switch coding {
	case "gzip", "x-gzip", "deflate", "br", "zstd":
		return true
	}
	return false
}

func unreadable(message string) *refusal {
	return &refusal{Status: http.StatusBadGateway, Layer: layerResponse, Reason: reasonUnreadable,
		Message: "The answer cannot be looked through for this bottle's credentials. " + message, Ask: "Ask for it without Accept-Encoding and Range."}
}

// counted counts what a decoder has read.
type counted struct {
	from io.Reader
	n    int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += int64(n)
	return n, err
}

// inflated is a decoded body that does not become absurdly large.
type inflated struct {
	out  io.Reader
	in   *counted
	body io.Closer
	n    int64
}

// Read implements io.Reader.
func (b *inflated) Read(p []byte) (int, error) {
	n, err := b.out.Read(p)
	if b.n += int64(n); b.n > freeExpansion && b.n > maxExpansion*b.in.n {
		return 0, &refusal{Status: http.StatusBadGateway, Layer: layerResponse, Reason: reasonBomb,
			Message: "The answer is compressed so much that it is taken for an attack.", Ask: askWait}
	}
	return n, err
}

// Close implements io.Closer.
func (b *inflated) Close() error {
	if d, ok := b.out.(*decoded); ok {
		d.close()
	}
	return b.body.Close()
}

// decoded decodes one coding. It begins with the first Read, since decoders want
// to see the beginning of a body at once, and a head does not wait for that.
type decoded struct {
	coding  string
	from    io.Reader
	decoder io.Reader
	err     error
}

// Read implements io.Reader.
func (d *decoded) Read(p []byte) (int, error) {
	if d.decoder == nil && d.err == nil {
		d.decoder, d.err = newDecoder(d.coding, d.from)
	}
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.decoder.Read(p)
	if err != nil {
		d.err = err
	}
	return n, err
}

func (d *decoded) close() {
	if z, ok := d.decoder.(*zstd.Decoder); ok {
		z.Close()
	}
	if inner, ok := d.from.(*decoded); ok {
		inner.close()
	}
}

func newDecoder(coding string, from io.Reader) (io.Reader, error) {
	switch coding {
	case "gzip", "x-gzip":
		return gzip.NewReader(from)
	case "br":
		return brotli.NewReader(from), nil
	case "zstd":
		return zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	case "deflate":
		return newDeflate(from)
	}
	return nil, fmt.Errorf("the coding %.40q is not known", coding)
}

// newDeflate reads both formats that servers call deflate.
func newDeflate(from io.Reader) (io.Reader, error) {
	b := bufio.NewReader(from)
	head, err := b.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(head) == 2 && head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
		return zlib.NewReader(b)
	}
	return flate.NewReader(b), nil
}
