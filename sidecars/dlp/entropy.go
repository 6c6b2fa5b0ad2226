package dlp

import "math"

const (
	// leastRandom is the entropy, in bits a character, from which a run of
	// characters counts as random: base64 of anything random has it, words and
	// hexadecimal digits have not.
	leastRandom = 5.5
	// randomLength is how many characters are needed to tell.
	randomLength = 128
)

// shannon is the entropy of b's distribution of bytes, in bits a byte.
func shannon(b []byte) float64 {
	var h histogram
	h.add(b)
	return h.entropy()
}

// histogram counts bytes.
type histogram struct {
	count [256]uint32
	total uint32
}

func (h *histogram) add(b []byte) {
	for _, c := range b {
		h.count[c]++
	}
	h.total += uint32(len(b)) // #nosec G115 -- a block
}

func (h *histogram) entropy() float64 {
	sum, n := 0.0, float64(h.total)
	for _, c := range h.count {
		if c > 0 {
			p := float64(c) / n
			sum -= p * math.Log2(p)
		}
	}
	return sum
}

func (h *histogram) random() bool {
	return h.total >= randomLength && h.entropy() >= leastRandom
}
