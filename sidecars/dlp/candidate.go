package dlp

// candidate is a keyword that was found, on its way through the rest of its
// pattern. It is a value and holds no text: offsets are those of the view.
type candidate struct {
	v     *variant
	start int64 // where the match begins
	value int64 // where its secret part begins
	at    int64 // the next byte to read
	run   uint8
	count int32
}

// progress is how far a candidate came.
type progress uint8

const (
	unfinished progress = iota
	failed
	matched
)

// advance reads on in buf, whose first byte is at base. With last set, buf is
// all there will be.
func (c *candidate) advance(buf []byte, base int64, last bool) progress {
	i := int(c.at - base)
	for int(c.run) < len(c.v.seq) {
		r := &c.v.seq[c.run]
		if c.run == c.v.value && c.count == 0 {
			c.value = base + int64(i)
		}
		from, of := i, r.set
		for limit := min(len(buf), i+int(r.max-c.count)); i < limit && of[buf[i]]; {
			i++
		}
		n := c.count + int32(i-from) // #nosec G115 -- at most r.max
		c.at, c.count = base+int64(i), n
		switch {
		case n < r.max && i == len(buf) && !last:
			return unfinished
		case n < r.min:
			return failed
		}
		c.run++
		c.count = 0
	}
	if i == len(buf) && !last && !c.v.loose {
		return unfinished // what follows decides whether it is a whole word
	}
	return matched
}

// newCandidate begins a match at a keyword that ends before buf[end].
func newCandidate(v *variant, buf []byte, base int64, end int) (candidate, bool) {
	start := end - int(v.anchor)
	if v.back != nil {
		from := max(0, start-lookback)
		begin, ok := v.back.back(buf[from:], start-from)
		if !ok {
			return candidate{}, false
		}
		start = from + begin
	}
	if v.strict && !wordBegins(buf, start) {
		return candidate{}, false
	}
	return candidate{v: v, start: base + int64(start), value: base + int64(start), at: base + int64(end), run: v.first}, true
}
