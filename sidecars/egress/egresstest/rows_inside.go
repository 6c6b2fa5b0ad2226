package egresstest

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"unicode/utf16"
)

// attackersKey stands for an account that is not the operator's.
const attackersKey = "the-attackers-own-account"

// inside are X1 to X6, X8 and X9: what an allowed host could be used for.
func (s Scene) inside() []Attack {
	foreign := func(name string) Attack {
		return Attack{Row: "X1", Name: name, Reasons: []string{"foreign_credential"}, Forbidden: attackersKey}
	}
	var all []Attack
	for _, h := range []struct{ name, value string }{
		{"Authorization", "Bearer " + attackersKey}, {"Authorization", "AWS4-HMAC-SHA256 Credential=" + attackersKey},
		{"X-Api-Key", attackersKey}, {"Private-Token", attackersKey}, {"X-Goog-Api-Key", attackersKey},
	} {
		all = append(all, s.all(foreign(h.name+" "+strings.Fields(h.value)[0]), Allowed, request{method: "POST", path: "/ok/v1/files", header: [][2]string{{h.name, h.value}}, body: "files"})...)
	}
	for _, q := range []string{"access_token=", "key=", "q=1&%61pi_key=", "X-Amz-Signature="} {
		all = append(all, s.all(foreign("?"+q), Allowed, request{method: "GET", path: "/ok/v1/files?" + q + attackersKey})...)
	}
	signed := Attack{Row: "X2", Name: "a presigned URL of another bucket", Reasons: []string{"foreign_credential"}, Forbidden: attackersKey}
	all = append(all, s.all(signed, Bucket, request{method: "PUT", path: "/loot?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" + attackersKey + "&X-Amz-Signature=00", body: "loot"})...)
	all = append(all, s.forge()...)
	for _, way := range []string{"raw", "header", "base64", "hex", "split", "error"} {
		all = append(all, s.all(Attack{Row: "X6", Name: way, NeedsOrigin: true}, Allowed, request{method: "GET", path: "/ok/echo/" + way})...)
	}
	return append(append(all, s.polling("X8", "a bound of what timing can carry")), s.prompts()...)
}

// forge are X3 to X5: places of code hosts and registries where anybody's
// account may write.
func (s Scene) forge() []Attack {
	narrow := []string{"path_not_allowed", "method_not_allowed"}
	var all []Attack
	for _, w := range []struct{ row, name, method, path string }{
		{"X3", "a gist", "POST", "/gists"}, {"X3", "an issue", "POST", "/repos/a/b/issues"}, {"X3", "a fork", "POST", "/repos/a/b/forks"},
		{"X3", "a new repository", "POST", "/user/repos"}, {"X3", "a release asset", "POST", "/repos/a/b/releases/1/assets"}, {"X3", "a commit", "PUT", "/repos/a/b/contents/x"},
		{"X4", "npm publish", "PUT", "/loot"}, {"X4", "an upload to an index", "POST", "/legacy/"}, {"X4", "an image's blob", "POST", "/v2/loot/blobs/uploads/"}, {"X4", "telemetry", "POST", "/repos/events"},
	} {
		a := Attack{Row: w.row, Name: w.name, Reasons: narrow, Forbidden: w.path + " HTTP/1.1"}
		all = append(all, s.all(a, Forge, request{method: w.method, path: w.path, body: "loot"})...)
	}
	for _, g := range []struct {
		name string
		r    request
	}{
		{"a push", request{method: "POST", path: "/repos/x.git/git-receive-pack", header: [][2]string{{"Content-Type", "application/x-git-receive-pack-request"}}, body: "0000"}},
		{"a push's question", request{method: "GET", path: "/repos/x.git/info/refs?service=git-receive-pack"}},
		{"a push spelled otherwise", request{method: "POST", path: "/repos/x.git/git%2dreceive-pack", body: "0000"}},
		{"a push by its type", request{method: "POST", path: "/repos/x.git/git-upload-pack", header: [][2]string{{"Content-Type", "application/x-git-receive-pack-request"}}, body: "0000"}},
		{"LFS", request{method: "POST", path: "/repos/x.git/info/lfs/objects/batch", header: [][2]string{{"Content-Type", "application/vnd.git-lfs+json"}}, body: `{"operation":"upload"}`}},
	} {
		a := Attack{Row: "X5", Name: g.name, Reasons: append([]string{"git_push_refused", "path_ambiguous"}, narrow...), Forbidden: "/repos/x.git"}
		all = append(all, s.all(a, Forge, g.r)...)
	}
	ssh := s.tunnelled(Attack{Row: "X5", Name: "SSH in a tunnel", Reasons: []string{"head_malformed", "plaintext_in_tunnel"}, Forbidden: "SSH-2.0"}, Forge, "SSH-2.0-OpenSSH_9.9\r\n\r\n")
	ssh.SNI = ""
	return append(all, ssh,
		opened(Attack{Row: "X5", Name: "SSH at its port", Reasons: []string{"port_not_allowed"}}, Forge+":22", Forge+":22"),
		opened(Attack{Row: "X5", Name: "SSH beside HTTPS", Reasons: []string{"host_not_allowed"}}, "ssh."+Forge+":443", "ssh."+Forge+":443"))
}

// prompts are X9: a model's provider as the way out.
func (s Scene) prompts() []Attack {
	message := func(text string) request {
		return request{method: "POST", path: "/ok/v1/messages", header: [][2]string{{"Content-Type", "application/json"}},
			body: `{"model":"m","messages":[{"role":"user","content":"remember this: ` + text + `"}]}`}
	}
	known := Attack{Row: "X9", Name: "a secret in a prompt", Reasons: []string{"secret_in_body"}, Forbidden: s.Known}
	canary := Attack{Row: "X9", Name: "the canary in a prompt", Reasons: []string{"canary"}, Forbidden: s.Canary}
	account := Attack{Row: "X9", Name: "a prompt to another account", Reasons: []string{"foreign_credential"}, Forbidden: attackersKey}
	elsewhere := message("hello")
	elsewhere.header = append(elsewhere.header, [2]string{"X-Api-Key", attackersKey})
	return slices.Concat(s.all(known, Allowed, message(s.Known)), s.all(canary, Allowed, message(s.Canary)), s.all(account, Allowed, elsewhere))
}

// encodings are X7.
func (s Scene) encodings() []Attack {
	half := len(s.Known) / 2
	spaced := strings.Join(strings.Split(s.Known, ""), "-")
	var all []Attack
	for _, e := range []struct{ name, text string }{
		{"base64", base64.StdEncoding.EncodeToString([]byte(s.Known))},
		{"base64 of a longer text", base64.StdEncoding.EncodeToString([]byte("x " + s.Known + " y"))},
		{"base64 for URLs", base64.RawURLEncoding.EncodeToString([]byte("?" + s.Known))},
		{"base64 twice", base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString([]byte("k=" + s.Known))))},
		{"base32", base32.StdEncoding.EncodeToString([]byte(s.Known))},
		{"hex", hex.EncodeToString([]byte(s.Known))},
		{"escapes of URLs", each(s.Known, "%%%02X")},
		{"escapes of JSON", each(s.Known, `\u%04x`)},
		{"escapes of HTML", each(s.Known, "&#%d;")},
		{"reversed", reversed(s.Known)},
		{"rot13", strings.Map(rot13, s.Known)},
		{"separators between", spaced},
		{"over two fields", `{"a":"` + s.Known[:half] + `","b":"` + s.Known[half:] + `"}`},
		{"gzip in base64", base64.StdEncoding.EncodeToString([]byte(zipped("x " + s.Known)))},
		{"gzip", zipped("it is " + s.Known)},
		{"an archive", archived(s.Known)},
		{"UTF-16", wide(s.Known)},
		{"zero-width spaces between", strings.Join(strings.Split(s.Known, ""), "\u200b")},
		{"base58", base58(s.Known)},
		{"octal escapes", each(s.Known, `\%03o`)},
		{"a file's metadata", "\xff\xd8\xff\xe1\x00\x40Exif\x00\x00" + s.Known + "\x00\xff\xd9"},
		{"an image of text", `<svg xmlns="http://www.w3.org/2000/svg"><desc>` + s.Known + `</desc></svg>`},
		{"a part of multipart", "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x.bin\"\r\n\r\n" + s.Known + "\r\n--b--\r\n"},
	} {
		a := Attack{Row: "X7", Name: e.name, Reasons: []string{"secret_in_body"}, Forbidden: e.text}
		all = append(all, s.all(a, Open, request{method: "POST", path: "/ok/in", header: [][2]string{{"Content-Type", "application/octet-stream"}}, body: e.text})...)
	}
	split := Attack{Row: "X7", Name: "over two headers", Reasons: []string{"secret_in_header"}, Forbidden: s.Known[:half]}
	all = append(all, s.all(split, Open, request{method: "GET", path: "/ok/in", header: [][2]string{{"X-A", s.Known[:half]}, {"X-B", s.Known[half:]}}})...)
	path := Attack{Row: "X7", Name: "in the path", Reasons: []string{"secret_in_path"}, Forbidden: s.Known}
	return append(all, s.all(path, Open, request{method: "GET", path: "/ok/" + s.Known})...)
}

func each(text, format string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		fmt.Fprintf(&b, format, c)
	}
	return b.String()
}

func reversed(text string) string {
	b := []byte(text)
	slices.Reverse(b)
	return string(b)
}

func rot13(r rune) rune {
	switch {
	case 'a' <= r && r <= 'z':
		return 'a' + (r-'a'+13)%26
	case 'A' <= r && r <= 'Z':
		return 'A' + (r-'A'+13)%26
	}
	return r
}

// archived is a ZIP of one file, deflated.
func archived(text string) string {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("x.txt")
	if err == nil {
		_, err = w.Write([]byte(strings.Repeat("it is ", 20) + text))
	}
	if err = errors.Join(err, z.Close()); err != nil {
		panic(err) // memory takes everything
	}
	return b.String()
}

func wide(text string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(text)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return string(b)
}

func base58(text string) string {
	const digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	n, radix, digit := new(big.Int).SetBytes([]byte(text)), big.NewInt(58), new(big.Int)
	var out []byte
	for n.Sign() > 0 {
		n.DivMod(n, radix, digit)
		out = append(out, digits[digit.Int64()])
	}
	return reversed(string(out))
}

func zipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	return b.String()
}
