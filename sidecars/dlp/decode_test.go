package dlp

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/bottle-mcp/bottle-mcp/sidecars/encoded"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// encoding is one way to dress a text.
type encoding struct {
	name   string
	encode func(string) string
	// binary tells that the result is no text.
	binary bool
}

func compressed(open func(io.Writer) io.WriteCloser) func(string) string {
	return func(s string) string {
		var b bytes.Buffer
		w := open(&b)
		_, _ = io.WriteString(w, s)
		_ = w.Close()
		return b.String()
	}
}

func encodings() []encoding {
	return []encoding{
		{"base64", func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }, false},
		{"base64 without padding", func(s string) string { return base64.RawStdEncoding.EncodeToString([]byte(s)) }, false},
		{"base64url", func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }, false},
		{"base64 in lines", func(s string) string { return lines(base64.StdEncoding.EncodeToString([]byte(s)), "\r\n") }, false},
		{"base64 in lines of JSON", func(s string) string { return lines(base64.StdEncoding.EncodeToString([]byte(s)), `\n`) }, false},
		{"base32", func(s string) string { return base32.StdEncoding.EncodeToString([]byte(s)) }, false},
		{"base32 lower", func(s string) string { return strings.ToLower(base32.StdEncoding.EncodeToString([]byte(s))) }, false},
		{"hex", func(s string) string { return hex.EncodeToString([]byte(s)) }, false},
		{"hex upper", func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) }, false},
		{"percent", func(s string) string { return encoded.Each(s, "%%%02X") }, false},
		{"query", url.QueryEscape, false},
		{"json", func(s string) string { return encoded.Each(s, `\u%04x`) }, false},
		{"one character in json", func(s string) string { return fmt.Sprintf(`%s\u%04x%s`, s[:3], s[3], s[4:]) }, false},
		{"hex escapes", func(s string) string { return encoded.Each(s, `\x%02x`) }, false},
		{"octal", func(s string) string { return encoded.Each(s, `\%03o`) }, false},
		{"html", func(s string) string { return encoded.Each(s, "&#%d;") }, false},
		{"html hex", func(s string) string { return encoded.Each(s, "&#x%X;") }, false},
		{"utf-16 little endian", func(s string) string { return encoded.Each(s, "%c\x00") }, true},
		{"utf-16 big endian", func(s string) string { return encoded.Each(s, "\x00%c") }, true},
		{"gzip", compressed(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }), true},
		{"zlib", compressed(func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }), true},
		{"brotli", compressed(func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) }), true},
		{"zstd", compressed(func(w io.Writer) io.WriteCloser {
			z, _ := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
			return z
		}), true},
		{"zip", zipped, true},
	}
}

func lines(s, end string) string {
	var b strings.Builder
	for len(s) > 76 {
		b.WriteString(s[:76] + end)
		s = s[76:]
	}
	return b.String() + s
}

func zipped(s string) string {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, _ := w.Create("notes.txt")
	_, _ = io.WriteString(f, s)
	_ = w.Close()
	return b.String()
}

// found reports whether anything is that weighs.
func foundAny(found []Finding) bool {
	for _, f := range found {
		if f.Level >= Act && f.Detector != Unscannable {
			return true
		}
	}
	return false
}

func TestEncodingsAreUndone(t *testing.T) {
	g := newGenerator(10)
	known := "P" + g.alnum(23)
	s := newScanner(t, Options{Known: []Known{{Name: "DEPLOY", Value: secret.New(known)}}})
	for _, r := range tokenRules() {
		if r.kind != "github_pat" && r.kind != "anthropic_key" && r.kind != "aws_access_key_id" {
			continue
		}
		for _, e := range encodings() {
			t.Run(r.kind+"/"+e.name, func(t *testing.T) {
				for _, dress := range []string{"%s", "x=%s&y=1", `{"a": "%s"}`, "before\n%s\nafter"} {
					if (e.name == "zlib" || e.name == "brotli") && dress != "%s" {
						continue // nothing marks them inside a text
					}
					text := fmt.Sprintf(dress, e.encode(g.credential(t, r)))
					if e.name == "brotli" {
						text = base64.StdEncoding.EncodeToString([]byte(text)) // a body says that it is Brotli, or is encoded
					}
					if !hasKind(s.Scan(Body, []byte(text)), r.kind) {
						t.Errorf("not found in %q", text)
					}
				}
			})
		}
	}
	for _, e := range encodings() {
		if e.name == "zlib" || e.name == "brotli" {
			continue
		}
		t.Run("known/"+e.name, func(t *testing.T) {
			for shift := range 5 {
				text := "begin " + e.encode("0123456789"[:3+shift]+known+"tail") + " end"
				if !hasDetector(s.Scan(Body, []byte(text)), KnownSecrets) {
					t.Errorf("not found in %q", text)
				}
			}
		})
	}
}

func hasDetector(found []Finding, name string) bool {
	for _, f := range found {
		if f.Detector == name {
			return true
		}
	}
	return false
}

// Three encodings inside each other are undone, in any order that makes sense.
func TestEncodingsInEncodings(t *testing.T) {
	s, g := newScanner(t, Options{}), newGenerator(11)
	all := encodings()
	for range 200 {
		text, path := g.credential(t, ruleOf(t, "github_pat")), ""
		binary := false
		for range maxDepth {
			e := all[g.IntN(len(all))]
			if binary && (e.name == "query" || e.name == "html" || strings.HasPrefix(e.name, "json") || strings.HasPrefix(e.name, "utf-16") || strings.HasPrefix(e.name, "one ")) {
				e = all[0] // characters are what these encode
			}
			text, path, binary = e.encode(text), path+">"+e.name, e.binary
		}
		if strings.HasSuffix(path, "brotli") {
			continue
		}
		if found := s.Scan(Body, []byte(text)); !hasKind(found, "github_pat") {
			t.Errorf("%s: not found: %v", path, found)
		}
	}
}

func ruleOf(t testing.TB, kind string) rule {
	t.Helper()
	for _, r := range tokenRules() {
		if r.kind == kind {
			return r
		}
	}
	t.Fatalf("no rule %s", kind)
	return rule{}
}

func TestSplitsOfEncodedTextDoNotMatter(t *testing.T) {
	g := newGenerator(12)
	known := g.alnum(24)
	s := newScanner(t, Options{Known: []Known{{Name: "DEPLOY", Value: secret.New(known)}}})
	all := encodings()
	for round := range 100 {
		var b strings.Builder
		for range 1 + g.IntN(4) {
			text := g.document(t, known)
			for range g.IntN(3) {
				if text != "" {
					text = all[g.IntN(len(all))].encode(text + "....")
				}
			}
			b.WriteString(text[:len(text)-g.IntN(1+len(text)/4)])
		}
		text := []byte(b.String())
		want := s.Scan(Body, text)
		for _, size := range []int{1, 2, 5, 64, 1 + g.IntN(3000)} {
			if got := scanIn(s, text, size); !sameFindings(got, want) {
				t.Fatalf("round %d, chunks of %d: %v, whole: %v, text %.300q", round, size, got, want, text)
			}
		}
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	s := newScanner(t, Options{})
	bomb := compressed(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
	deep := "x"
	for range maxDepth + 1 {
		deep = bomb(deep)
	}
	for _, c := range []struct{ name, text string }{
		{"a bomb", bomb(strings.Repeat("\x00", 66<<20))},
		{"a bomb of one kind of byte", bomb(strings.Repeat("a", 3<<20))},
		{"too deep", deep},
		{"xz", "\xfd7zXZ\x00\x00\x04"},
		{"an encrypted archive", "PK\x03\x04\x14\x00\x01\x00\x08\x00" + strings.Repeat("\x00", 60)},
		{"an archive with a strange compression", "PK\x03\x04\x14\x00\x00\x00\x5f\x00" + strings.Repeat("\x00", 60)},
		{"thousands of false beginnings", strings.Repeat("BZh91AY&SY", 4000)},
		{"too many candidates", strings.Repeat("glpat-", 4000)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if found := s.Scan(Body, []byte(c.text)); !hasDetector(found, Unscannable) {
				t.Errorf("passes: %v", found)
			}
		})
	}
	if found := s.Scan(Body, []byte(bomb("just text"))); len(found) > 0 {
		t.Errorf("a plain file: %v", found)
	}
}
