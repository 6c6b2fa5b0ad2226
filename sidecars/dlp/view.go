package dlp

import "slices"

const (
	// blockSize is how much a view takes in at once. A view's memory is bounded
	// by it, by lookback, and by the longest match that is under way.
	blockSize = 16 << 10
	// mostAlive bounds how many matches may be under way at one byte, and so the
	// work for a byte, whatever the text is.
	mostAlive = 24
)

// view is one reading of a text: as it stands, or decoded in some way. What it
// knows of the text so far is the states of two automata, the matches under
// way, and the last few hundred bytes.
type view struct {
	s    *Scanner
	job  *job
	base int64  // offset of buf[0]
	buf  []byte // what has been read and may still be needed
	a, b uint32
	// scanned is how much of buf the automata have read.
	scanned int
	open    []candidate
	// ends are the ends of finished matches that lie ahead of what the automata
	// have read.
	ends  []int64
	sink  sink
	depth int // how many encodings it is inside of
	decoders
}

// sink takes what a view found: a view that decodes for another one tells it in
// the other's offsets.
type sink interface {
	found(f Finding)
}

func (v *view) reset(s *Scanner, j *job, to sink) {
	v.s, v.job, v.sink = s, j, to
	v.base, v.buf, v.a, v.b, v.scanned = 0, v.buf[:0], 0, 0, 0
	v.open, v.ends = v.open[:0], v.ends[:0]
	v.depth = 0
	v.decoders.reset()
}

// write reads on.
func (v *view) write(p []byte) {
	if p = v.blocks(p); len(p) > 0 {
		v.take(p)
		v.decode(false)
	}
}

// close reads the end of the text and decides what is still open.
func (v *view) close(p []byte) {
	if p = v.blocks(p); len(p) > 0 {
		v.take(p)
	}
	v.advance(true)
	v.decode(true)
}

// blocks reads all but the last block and returns that.
func (v *view) blocks(p []byte) []byte {
	for len(p) > blockSize {
		v.take(p[:blockSize])
		v.decode(false)
		p = p[blockSize:]
	}
	return p
}

// take reads a block.
func (v *view) take(p []byte) {
	v.slide()
	v.buf = append(v.buf, p...)
	v.advance(false)
	v.scan()
}

// slide forgets what is not needed any more.
func (v *view) slide() {
	keep := len(v.buf) - lookback
	for i := range v.open {
		keep = min(keep, int(v.open[i].start-v.base)-lookback)
	}
	if keep < blockSize/2 {
		return
	}
	n := copy(v.buf, v.buf[keep:])
	v.buf = v.buf[:n]
	v.base += int64(keep)
	v.scanned -= keep
}

// scan runs both automata over what is new. They do not depend on each other,
// so that the processor does both in hardly more than the time of one.
func (v *view) scan() {
	sa, sb := v.a, v.b
	ma, mb := v.s.a, v.s.b
	na, nb := ma.next, mb.next
	ca, cb := &ma.class, &mb.class
	oa, ob := ma.accept, mb.accept
	buf := v.buf
	for i := v.scanned; i < len(buf); i++ {
		c := buf[i]
		sa = na[sa+uint32(ca[c])]
		sb = nb[sb+uint32(cb[c])]
		if sa >= oa {
			v.hit(ma.found(sa), i+1)
		}
		if sb >= ob && cb[c] != 0 {
			v.hit(mb.found(sb), i+1)
		}
	}
	v.a, v.b = sa, sb
	v.scanned = len(buf)
}

// hit begins matches at words that end before buf[end].
func (v *view) hit(words []uint32, end int) {
	for _, id := range words {
		t := &v.s.targets[id]
		switch {
		case t.known != nil:
			v.known(t, end)
			continue
		case t.variant.escape && (v.depth >= maxDepth || v.escapes.reading(v, v.base+int64(end)-int64(t.variant.anchor))):
			continue
		}
		c, ok := newCandidate(t.variant, v.buf, v.base, end)
		if !ok {
			continue
		}
		switch c.advance(v.buf, v.base, false) {
		case unfinished:
			if v.tooMany(end) {
				return
			}
			v.open = append(v.open, c)
		case matched:
			v.match(&c)
			fallthrough
		case failed:
			if c.at > v.base+int64(end)+1 {
				if v.tooMany(end) {
					return
				}
				v.ends = append(v.ends, c.at)
			}
		}
	}
}

// tooMany reports whether another match may not be under way after buf[:end].
// It counts what a reader of single bytes would have open there, so that the
// answer does not depend on chunks.
func (v *view) tooMany(end int) bool {
	if len(v.open)+len(v.ends) < mostAlive {
		return false
	}
	at := v.base + int64(end)
	v.ends = slices.DeleteFunc(v.ends, func(e int64) bool { return e <= at })
	if len(v.open)+len(v.ends) < mostAlive {
		return false
	}
	v.job.unscannable(v.sink, "too many candidates", at)
	return true
}

// advance reads on in the matches under way.
func (v *view) advance(last bool) {
	kept := v.open[:0]
	for i := range v.open {
		c := v.open[i]
		switch c.advance(v.buf, v.base, last) {
		case unfinished:
			kept = append(kept, c)
			continue
		case matched:
			v.match(&c)
		case failed:
		}
		v.ends = append(v.ends, c.at)
	}
	v.open = kept
}

// match applies the checks to a match that is complete.
func (v *view) match(c *candidate) {
	r := c.v.rule
	switch {
	case r.do == unescape:
		v.escapes.around(v, c.start)
		return
	case r.do == inflate:
		v.inflate(r.kind, c.start)
		return
	}
	if r.key != "" {
		c.start = c.value
	}
	m := match{buf: v.buf, start: int(c.start - v.base), value: int(c.value - v.base), end: int(c.at - v.base)}
	if !c.v.accept(m) || v.s.placeholder(m.buf[m.start:m.end]) || !v.job.on(TokenPatterns) {
		return
	}
	f := Finding{Detector: TokenPatterns, Kind: r.kind, Start: c.start, End: c.at, Level: Act}
	if r.weak {
		f.Level = Warn
	}
	v.sink.found(f)
}

// known reports a known secret whose form ends before buf[end].
func (v *view) known(t *target, end int) {
	f, on := t.finding(v.job.detectors)
	if on {
		f.Start, f.End = v.back(end, t.known.length), v.base+int64(end)
		v.sink.found(f)
	}
}

// flush decides what is open as if the text ended here, and keeps it open.
func (v *view) flush() {
	for _, c := range v.open {
		if c.advance(v.buf, v.base, true) == matched {
			v.match(&c)
		}
	}
	if v.depth >= maxDepth {
		return
	}
	for i := range v.runs {
		if r := &v.runs[i]; r.active {
			r.flush()
			r.inner.flush()
		}
	}
	if e := &v.escapes; e.active {
		e.flush()
		e.inner.flush()
	}
	if w := &v.wide; w.active {
		w.flush()
		w.inner.flush()
	}
	for _, f := range v.inflated {
		f.inner.flush()
	}
}

// back returns where the last n visible bytes before buf[end] begin, as far
// back as the view remembers.
func (v *view) back(end, n int) int64 {
	i := end
	for i > 0 && n > 0 {
		i--
		if v.s.b.class[v.buf[i]] != 0 {
			n--
		}
	}
	return v.base + int64(i)
}

// safe is the offset before which everything is decided.
func (v *view) safe() int64 {
	end := v.base + int64(len(v.buf))
	at := min(end-int64(v.s.a.pending(v.a)), v.back(len(v.buf), v.s.b.pending(v.b)))
	for i := range v.open {
		at = min(at, v.open[i].start)
	}
	return max(min(at, v.safeDecoded()), end-maxHold, 0)
}
