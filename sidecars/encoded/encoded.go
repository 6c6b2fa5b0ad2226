// Package encoded says how a secret looks inside of encodings.
//
// Lives here: what encodings by blocks of bits and by bytes, and the reversal,
// make of a text, for whoever searches for it. Does not live here: which
// encodings are searched (sidecars/dlp, sidecars/scrub), and decoding.
package encoded

import (
	"fmt"
	"slices"
	"strings"
)

// Shifted is what an encoding makes of the secret inside of a longer text, for
// each place that it can have in a group of bytes. A digit stands for so many
// bits; digits that the secret shares with its neighbours are left out.
func Shifted(secret string, encode func([]byte) string, group, bits int) []string {
	var all []string
	for shift := range group {
		text := encode([]byte(strings.Repeat("\x00", shift) + secret))
		from := (shift*8 + bits - 1) / bits
		to := (shift + len(secret)) * 8 / bits
		if from < to {
			all = append(all, text[from:to])
		}
	}
	return all
}

// Reversed is s with its bytes from the last to the first.
func Reversed(s string) string {
	b := []byte(s)
	slices.Reverse(b)
	return string(b)
}

// Each is every byte of s in a format of package fmt, such as "%%%02x".
func Each(s, format string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, format, s[i])
	}
	return b.String()
}
