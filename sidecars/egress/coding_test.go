package egress

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// encoder compresses and can be flushed.
type encoder interface {
	io.WriteCloser
	Flush() error
}

// codings are what an answer can be compressed with.
func encoders() map[string]func(io.Writer) encoder {
	return map[string]func(io.Writer) encoder{
		"identity": func(w io.Writer) encoder { return plainEncoder{w} },
		"gzip":     func(w io.Writer) encoder { return gzip.NewWriter(w) },
		"br":       func(w io.Writer) encoder { return brotli.NewWriter(w) },
		"deflate":  func(w io.Writer) encoder { return zlib.NewWriter(w) },
		"raw deflate": func(w io.Writer) encoder {
			f, _ := flate.NewWriter(w, flate.DefaultCompression)
			return f
		},
		"zstd": func(w io.Writer) encoder {
			z, _ := zstd.NewWriter(w)
			return z
		},
		"gzip, br": func(w io.Writer) encoder {
			outer := brotli.NewWriter(w)
			return nested{gzip.NewWriter(outer), outer}
		},
	}
}

type plainEncoder struct{ io.Writer }

func (plainEncoder) Flush() error { return nil }
func (plainEncoder) Close() error { return nil }

type nested struct{ inner, outer encoder }

func (n nested) Write(p []byte) (int, error) { return n.inner.Write(p) }

func (n nested) Flush() error {
	if err := n.inner.Flush(); err != nil {
		return err
	}
	return n.outer.Flush()
}

func (n nested) Close() error {
	if err := n.inner.Close(); err != nil {
		return err
	}
	return n.outer.Close()
}

// What the proxy cannot read does not pass.
func TestUnreadableAnswers(t *testing.T) {
	b := withHandler(t, func(w http.ResponseWriter, r *http.Request) {
		for name, values := range r.URL.Query() {
			if name != "status" && name != "body" {
				w.Header()[name] = values
			}
		}
		status, _ := strconv.Atoi(r.URL.Query().Get("status"))
		if status != 0 {
			w.WriteHeader(status)
		}
		_, _ = io.WriteString(w, r.URL.Query().Get("body"))
	})
	for _, tt := range []struct{ name, query, reason string }{
		{"an unknown coding", "Content-Encoding=exotic&body=x", reasonUnreadable},
		{"a dictionary", "Content-Encoding=dcb&body=x", reasonUnreadable},
		{"one of two", "Content-Encoding=gzip,compress&body=x", reasonUnreadable},
		{"too many", "Content-Encoding=gzip,gzip,gzip&body=x", reasonUnreadable},
		{"a part", "status=206&Content-Range=bytes+0-0/10&body=x", reasonUnreadable},
		{"compressed messages", "Grpc-Encoding=gzip&body=x", reasonUnreadable},
		{"identity", "Content-Encoding=identity&body=x", ""},
		{"uncompressed messages", "Grpc-Encoding=identity&body=x", ""},
		{"nothing in a coding", "Content-Encoding=gzip&status=304", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ask := func(host string) *http.Response {
				resp, err := b.client(false).Get(b.secureURL(host, "/?"+tt.query))
				check(t, err)
				t.Cleanup(func() { _ = resp.Body.Close() })
				return resp
			}
			resp := ask("auth.test")
			if tt.reason == "" {
				if resp.Header.Get(headerRefused) != "" {
					t.Errorf("refused: %s", body(t, resp))
				}
				return
			}
			refused(t, resp, http.StatusBadGateway, tt.reason)
			if resp := ask("allowed.test"); resp.Header.Get(headerRefused) != "" {
				t.Errorf("control: %s", resp.Status)
			}
		})
	}
	t.Run("no gzip at all", func(t *testing.T) {
		resp, err := b.client(false).Get(b.secureURL("auth.test", "/?Content-Encoding=gzip&body=this+is+not+gzip"))
		check(t, err)
		if text, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("a clean end after %q", text)
		}
	})
	t.Run("ranges", func(t *testing.T) {
		req := get(t, b.secureURL("auth.test", "/?body=x"))
		req.Header.Set("Range", "bytes=0-0")
		req.Header.Set("If-Range", `"x"`)
		if resp, err := b.client(false).Do(req); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("%v, %v", resp, err)
		}
		if h := b.arrived().Header; h.Get("Range") != "" || h.Get("If-Range") != "" {
			t.Errorf("the server saw %v", h)
		}
	})
}

// TestDecompressionBomb answers with little that becomes much.
func TestDecompressionBomb(t *testing.T) {
	for coding, encode := range encoders() {
		if coding == "identity" {
			continue
		}
		t.Run(coding, func(t *testing.T) {
			var bomb bytes.Buffer
			enc := encode(&bomb)
			for range 32 {
				_, _ = enc.Write(make([]byte, 1<<20))
			}
			check(t, enc.Close())
			most := int64(max(freeExpansion, maxExpansion*bomb.Len()))
			if most > 16<<20 {
				t.Fatalf("%d bytes: no bomb", bomb.Len())
			}
			b := withHandler(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", strings.TrimPrefix(coding, "raw "))
				_, _ = w.Write(bomb.Bytes())
			})
			resp, err := b.client(false).Get(b.secureURL("auth.test", "/"))
			check(t, err)
			defer resp.Body.Close()
			n, err := io.Copy(io.Discard, resp.Body)
			if err == nil || n > most {
				t.Errorf("%d bytes and the end %v", n, err)
			}
			if d := b.loggedReason(reasonBomb); d.Layer != layerResponse || d.Verdict != sidecars.Deny {
				t.Errorf("decision = %+v", d)
			}
		})
	}
}

// FuzzDecode reads what hostile servers call compressed: it ends, and gives no
// more than the bound.
func FuzzDecode(f *testing.F) {
	names := []string{"gzip", "br", "deflate", "zstd", "gzip, br", "br, zstd"}
	for i, name := range names {
		if encode, ok := encoders()[name]; ok {
			var b bytes.Buffer
			enc := encode(&b)
			_, _ = enc.Write([]byte("some text that is compressed"))
			check(f, enc.Close())
			f.Add(b.Bytes(), uint8(i))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, which uint8) {
		resp := &http.Response{StatusCode: http.StatusOK, ContentLength: int64(len(data)), Body: io.NopCloser(bytes.NewReader(data)),
			Header: http.Header{"Content-Encoding": {names[int(which)%len(names)]}, "Content-Length": {strconv.Itoa(len(data))}}}
		if no := decode(resp, http.MethodGet); no != nil {
			t.Fatal(no)
		}
		n, _ := io.Copy(io.Discard, resp.Body) // most of it is broken
		if n > int64(max(freeExpansion, maxExpansion*len(data))) {
			t.Fatalf("%d bytes became %d", len(data), n)
		}
		check(t, resp.Body.Close())
		if len(data) > 0 && (resp.Header.Get("Content-Encoding") != "" || resp.Header.Get("Content-Length") != "" || resp.ContentLength >= 0) {
			t.Fatalf("the head says %v", resp.Header)
		}
	})
}
