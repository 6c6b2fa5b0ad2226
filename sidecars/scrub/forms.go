package scrub

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"html"
	"net/url"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars/encoded"
)

// form is one text that a secret can stand in, and what to write over it: a
// character that is valid where the text is.
type form struct {
	text   string
	filler byte
}

// longFrom is the length from which a secret is looked for in the usual forms
// only: all of them take some hundred times its length.
const longFrom = 256

const (
	starFiller  = '*'
	digitFiller = '0' // in base64, base32, hex and escapes
)

// formsOf lists the texts of a secret, without repetition.
func formsOf(secret string) []form {
	var all []form
	add := func(filler byte, texts ...string) {
		for _, text := range texts {
			if len(text) >= Least && !slices.ContainsFunc(all, func(f form) bool { return f.text == text }) {
				all = append(all, form{text, filler})
			}
		}
	}
	add(starFiller, secret, strings.ToLower(secret), strings.ToUpper(secret), encoded.Reversed(secret))
	add(starFiller, escaped(secret)...)
	digits := hex.EncodeToString([]byte(secret))
	add(digitFiller, digits, strings.ToUpper(digits))
	add(digitFiller, encoded.Each(secret, "%%%02X"), encoded.Each(secret, `\u%04x`))
	for _, encode := range base64Encodings() {
		add(digitFiller, encoded.Shifted(secret, encode, 3, 6)...)
	}
	if len(secret) >= longFrom {
		return all
	}
	for _, format := range []string{"%%%02x", `\u%04X`, `\x%02x`, `\x%02X`, "&#%d;", "&#x%x;", "&#x%X;", `\%03o`} {
		add(digitFiller, encoded.Each(secret, format))
	}
	for _, encode := range base64Encodings() {
		add(digitFiller, encoded.Shifted(encoded.Reversed(secret), encode, 3, 6)...)
	}
	// A header that was echoed whole, once more encoded.
	for _, text := range encoded.Shifted(secret, base64.RawStdEncoding.EncodeToString, 3, 6) {
		add(digitFiller, encoded.Shifted(text, base64.RawStdEncoding.EncodeToString, 3, 6)...)
	}
	add(digitFiller, encoded.Shifted(secret, base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString, 5, 5)...)
	return all
}

func base64Encodings() []func([]byte) string {
	return []func([]byte) string{base64.RawStdEncoding.EncodeToString, base64.RawURLEncoding.EncodeToString}
}

// escaped are the texts in which only the characters that need it are escaped.
func escaped(secret string) []string {
	query, path := url.QueryEscape(secret), url.PathEscape(secret)
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(secret)
	return []string{
		query, path, lowerEscapes(query), lowerEscapes(path), url.QueryEscape(query),
		quoted, strings.ReplaceAll(quoted, "/", `\/`),
		strings.NewReplacer("<", `\u003c`, ">", `\u003e`, "&", `\u0026`).Replace(quoted),
		html.EscapeString(secret), strings.NewReplacer("+", "&#43;", "/", "&#47;", "=", "&#61;").Replace(html.EscapeString(secret)),
		strings.NewReplacer("+", "&#x2B;", "/", "&#x2F;", "=", "&#x3D;", "&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#x27;").Replace(secret),
	}
}

// lowerEscapes writes the digits of percent escapes in lower case.
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], strings.ToLower(string(b[i+1:i+3])))
		}
	}
	return string(b)
}
