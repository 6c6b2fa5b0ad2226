package dlp

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"html"
	"math/big"
	"net/url"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars/encoded"
)

// form is one dress of a known secret.
type form struct {
	name   string // of the secret
	kind   string // "raw", "base64", …
	canary bool
	length int // visible bytes
}

const (
	// LeastKnown is the length in bytes below which a secret is not searched for:
	// anything shorter occurs by accident.
	LeastKnown = 8
	// leastVisible is how many letters and digits a form needs: the search does
	// not see anything else.
	leastVisible = 8
	// pieceSize is how much of a form is compared, and how much of a long secret
	// gives it away.
	pieceSize = 32
	// mostPieces bounds the pieces of one secret.
	mostPieces = 8
)

// dress is a text that stands for a secret.
type dress struct{ kind, text string }

// dresses are the forms a secret is searched in. Letters' case and everything
// but letters and digits is not compared, so that line breaks, separators, the
// two alphabets of base64 and both cases of hexadecimal need no forms of their
// own.
func dresses(secret string) []dress {
	all := []dress{
		{"raw", secret},
		{"reversed", encoded.Reversed(secret)},
		{"hex", hex.EncodeToString([]byte(secret))},
		{"rot13", strings.Map(rot13, secret)},
		{"base58", base58(secret)},
		{"url", url.QueryEscape(secret)},
		{"url", encoded.Each(secret, "%%%02x")},
		{"json", encoded.Each(secret, `\u%04x`)},
		{"json", encoded.Each(secret, `\x%02x`)},
		{"html", html.EscapeString(secret)},
		{"html", encoded.Each(secret, "&#%d;")},
		{"html", encoded.Each(secret, "&#x%x;")},
		{"octal", encoded.Each(secret, `\%03o`)},
	}
	all = append(all, shifted(secret, "base64", base64.RawStdEncoding.EncodeToString, 3, 6)...)
	all = append(all, shifted(encoded.Reversed(secret), "base64 of reversed", base64.RawStdEncoding.EncodeToString, 3, 6)...)
	return append(all, shifted(secret, "base32", base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString, 5, 5)...)
}

// shifted are the forms that an encoding has of the secret inside of a longer text.
func shifted(secret, kind string, encode func([]byte) string, group, bits int) []dress {
	var all []dress
	for _, text := range encoded.Shifted(secret, encode, group, bits) {
		all = append(all, dress{kind, text})
	}
	return all
}

func rot13(r rune) rune {
	switch {
	case r >= 'a' && r <= 'z':
		return 'a' + (r-'a'+13)%26
	case r >= 'A' && r <= 'Z':
		return 'A' + (r-'A'+13)%26
	}
	return r
}

// base58 is Bitcoin's; it has no alignment, so that only the whole secret is
// found in it.
func base58(s string) string {
	const digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	n, radix, digit := new(big.Int).SetBytes([]byte(s)), big.NewInt(58), new(big.Int)
	var out []byte
	for n.Sign() > 0 {
		n.DivMod(n, radix, digit)
		out = append(out, digits[digit.Int64()])
	}
	slices.Reverse(out)
	return string(out)
}

// pieces cuts a long secret, so that a part of it gives it away too.
func pieces(secret string) []string {
	if len(secret) <= 2*pieceSize {
		return []string{secret}
	}
	step := max(pieceSize, len(secret)/mostPieces)
	var all []string
	for at := 0; at+pieceSize <= len(secret); at += step {
		if piece := secret[at : at+pieceSize]; !boilerplate(piece) {
			all = append(all, piece)
		}
	}
	return append(all, secret[len(secret)-pieceSize:])
}

// boilerplate reports whether a piece of a long secret is public: keys and
// account files have lines that are the same in all of them.
func boilerplate(piece string) bool {
	for _, text := range []string{"PRIVATE KEY", "googleapis.com", "gserviceaccount", `"type"`, "PuTTY-User-Key", "Comment:", "b3BlbnNzaC1rZXktdjEAAAAA"} {
		if strings.Contains(piece, text) {
			return true
		}
	}
	return false
}

// visible is a form as the search sees it, cut to what is compared.
func (c *classes) visible(text string) []byte {
	out := make([]byte, 0, pieceSize)
	for i := 0; i < len(text) && len(out) < pieceSize; i++ {
		if c.of[text[i]] != 0 {
			out = append(out, text[i])
		}
	}
	return out
}
