package policy

import (
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"
)

func TestNormalizePath(t *testing.T) {
	tests := []struct{ in, want, fault string }{
		{"", "/", ""},
		{"/", "/", ""},
		{"/a/b/", "/a/b/", ""},
		{"/A/b", "/A/b", ""},
		{"/v1/messages:batch@x,y=z+1!$&'()*~", "/v1/messages:batch@x,y=z+1!$&'()*~", ""},
		{"/%61%2D%2e%5F%7e", "/a-._~", ""},
		{"/%3a%40%2C%3d%2b%21", "/:@,=+!", ""},
		{"/caf%c3%a9", "/caf%C3%A9", ""},
		{"/a%20b%22%3C%5b", "/a%20b%22%3C%5B", ""},
		{"/100%25", "/100%25", ""},
		{"/100%25/x", "/100%25/x", ""},
		{"/.git/...a", "/.git/...a", ""},
		{"/a..b/c.", "/a..b/c.", ""},
		{"/a" + strings.Repeat("b", maxPath-2), "/a" + strings.Repeat("b", maxPath-2), ""},
		{"/a" + strings.Repeat("b", maxPath-1), "", "too_long"},
		{"a", "", "not_absolute"},
		{"*", "", "not_absolute"},
		{"http://x/", "", "not_absolute"},
		{"//a", "", "empty_segment"},
		{"/a//b", "", "empty_segment"},
		{"/a//", "", "empty_segment"},
		{"/.", "", "dot_segment"},
		{"/..", "", "dot_segment"},
		{"/a/./b", "", "dot_segment"},
		{"/a/../b", "", "dot_segment"},
		{"/a/%2e%2E/b", "", "dot_segment"},
		{"/a/.%2e", "", "dot_segment"},
		{"/a/.../b", "", "dot_segment"},
		{"/a/..%20/b", "", "dot_segment"},
		{"/a/%20", "", "dot_segment"},
		{"/a%2fb", "", "encoded_slash"},
		{"/a%2F..%2Fb", "", "encoded_slash"},
		{`/a\b`, "", "backslash"},
		{"/a%5cb", "", "backslash"},
		{"/a;v=1", "", "parameter"},
		{"/a%3Bv", "", "parameter"},
		{"/..;/b", "", "parameter"},
		{"/a%3fb", "", "encoded_delimiter"},
		{"/a%23b", "", "encoded_delimiter"},
		{"/a%252fb", "", "double_encoding"},
		{"/a%25%32%66b", "", "double_encoding"},
		{"/a%2525", "", "double_encoding"},
		{"/a%25u002fb", "", "double_encoding"},
		{"/a%00", "", "nul"},
		{"/a%0d%0aX:y", "", "control"},
		{"/a%7f", "", "control"},
		{"/a%c2%85", "", "control"},
		{"/a%", "", "escape"},
		{"/a%2", "", "escape"},
		{"/a%zz", "", "escape"},
		{"/a%u002f", "", "escape"},
		{"/a%2%66", "", "escape"},
		{"/a%c0%af", "", "utf8"},
		{"/a%e0%80%af", "", "utf8"},
		{"/a%ed%a0%80", "", "utf8"},
		{"/a%c3", "", "utf8"},
		{"/a%c3/%a9", "", "utf8"},
		{"/a%ff", "", "utf8"},
		{"/%ef%bc%8e%ef%bc%8e/b", "", "lookalike"},
		{"/a%ef%bc%8fb", "", "lookalike"},
		{"/a b", "", "character"},
		{"/a\tb", "", "character"},
		{"/a\x00", "", "character"},
		{"/caf\xc3\xa9", "", "character"},
		{"/a?b", "", "character"},
		{"/a#b", "", "character"},
		{"/[id]", "", "character"},
		{"/a|b", "", "character"},
	}
	for _, tt := range tests {
		t.Run(tt.in[:min(len(tt.in), 40)], func(t *testing.T) {
			got, err := NormalizePath(tt.in)
			var fault *PathError
			if errors.As(err, &fault) != (tt.fault != "") || fault != nil && fault.Fault != tt.fault {
				t.Fatalf("error = %v, want fault %q", err, tt.fault)
			}
			if got != tt.want {
				t.Errorf("NormalizePath(%q) = %q, want %q", tt.in, got, tt.want)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "the path ") {
				t.Errorf("error reads %q", err)
			}
		})
	}
}

// FuzzNormalizePath checks what a path rule relies on: the normal form is the
// only spelling of what it decodes to, net/url reads the same from both, and
// neither net/http nor a server that cleans paths goes anywhere else.
func FuzzNormalizePath(f *testing.F) {
	for _, s := range []string{"/a/b", "/%61", "/a%2fb", "/a/../b", "/a%252e", "/caf%c3%a9/", "/a;b", "/%25%34%31", "//x", "/..%20", "/a%EF%BC%8F", "/+", "/%2B", "/:a@b"} {
		f.Add(s)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) {})
	f.Fuzz(func(t *testing.T, raw string) {
		normal, err := NormalizePath(raw)
		if err != nil {
			if normal != "" {
				t.Fatalf("%q is refused, and gave %q", raw, normal)
			}
			return
		}
		if again, err := NormalizePath(normal); err != nil || again != normal {
			t.Fatalf("%q gave %q, which gives %q, %v", raw, normal, again, err)
		}
		if raw == "" {
			return
		}
		ours, err := url.ParseRequestURI(raw)
		if err != nil {
			t.Fatalf("net/url refuses %q: %v", raw, err)
		}
		theirs, err := url.ParseRequestURI(normal)
		if err != nil || theirs.Path != ours.Path || theirs.RawQuery+theirs.Fragment+theirs.Host != "" {
			t.Fatalf("%q is read as %+v, %q as %+v, %v", raw, ours, normal, theirs, err)
		}
		if ours.EscapedPath() != raw {
			t.Fatalf("net/url would send %q for %q", ours.EscapedPath(), raw)
		}
		decoded := ours.Path
		if canonical := canonical(decoded); canonical != normal {
			t.Fatalf("%q gave %q, but what it decodes to is spelled %q", raw, normal, canonical)
		}
		if strings.ContainsAny(decoded, "\\;?#\x00") || strings.ContainsFunc(decoded, func(r rune) bool { return r < ' ' }) {
			t.Fatalf("%q decodes to %q", raw, decoded)
		}
		if twice, err := url.PathUnescape(decoded); err == nil && twice != decoded {
			t.Fatalf("%q decodes twice, to %q and %q", raw, decoded, twice)
		}
		if clean := path.Clean(decoded); clean != decoded && clean+"/" != decoded {
			t.Fatalf("%q decodes to %q, which is cleaned to %q", raw, decoded, clean)
		}
		r := &http.Request{Method: http.MethodGet, Host: "a.test", URL: ours, RequestURI: raw}
		if _, pattern := mux.Handler(r); pattern != "/" || r.URL.Path != decoded {
			t.Fatalf("net/http would redirect %q (%q, %q)", raw, pattern, r.URL.Path)
		}
	})
}

// canonical escapes what cannot stand for itself, naively.
func canonical(decoded string) string {
	var b strings.Builder
	for _, c := range []byte(decoded) {
		if strings.IndexByte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,=:@/", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteString("%" + strings.ToUpper(string([]byte{"0123456789abcdef"[c>>4], "0123456789abcdef"[c&15]})))
	}
	return b.String()
}
