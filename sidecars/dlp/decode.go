package dlp

// maxDepth is how many encodings inside each other are undone.
const maxDepth = 3

// layer is a view of what another view's text decodes to. It passes on what is
// found there, in the outer view's terms.
type layer struct {
	name   string
	outer  *view
	inner  *view
	start  int64 // where the encoded text begins
	at     int64 // how far it has been read
	active bool
}

// found implements sink.
func (l *layer) found(f Finding) {
	if f.Via == "" {
		f.Via = l.name
	} else {
		f.Via = l.name + ">" + f.Via
	}
	f.Start, f.End = l.start, l.start
	l.outer.sink.found(f)
}

// begin starts a text that begins at an offset of the outer view.
func (l *layer) begin(outer *view, start int64) {
	l.outer, l.start, l.at, l.active = outer, start, start, true
	if l.inner == nil {
		l.inner = &view{}
	}
	l.inner.reset(outer.s, outer.job, l)
	l.inner.depth = outer.depth + 1
}

// end closes it with the last of its text.
func (l *layer) end(rest []byte) {
	l.inner.close(rest)
	l.active = false
}

// undecided is how many bytes of the inner text are not decided.
func (l *layer) undecided() int64 {
	return l.inner.base + int64(len(l.inner.buf)) - l.inner.safe()
}

// decoders are what a view hands its text to besides the automata.
type decoders struct {
	spans    spanFinder
	runs     [runKinds]runReader
	escapes  escapeReader
	wide     wideReader
	fields   fieldReader
	inflated []*inflater
	// begun tells that the first bytes have been looked at for compression that
	// has no unmistakable mark.
	begun bool
}

func (d *decoders) reset() {
	d.spans.reset()
	for i := range d.runs {
		d.runs[i].reset(runKind(i))
	}
	d.escapes.reset()
	d.wide.reset()
	d.fields.reset()
	d.begun = false
}

// decode hands on what is new. With last set it is all there will be.
func (v *view) decode(last bool) {
	if v.depth >= maxDepth {
		return
	}
	d := &v.decoders
	if len(v.buf) >= shortestRun {
		d.readRuns(v, last)
	}
	d.escapes.read(v)
	d.wide.read(v, last)
	if v.s.hides {
		d.fields.read(v, last)
	}
	v.head(last)
	v.readInflated(v.base+int64(len(v.buf)), last)
	if last {
		d.escapes.close()
	}
}

// readRuns lets the readers of runs read.
func (d *decoders) readRuns(v *view, last bool) {
	d.spans.find(v)
	for i := range d.runs {
		r := &d.runs[i]
		if r.kind != base64InPath || v.job.field.short() {
			r.read(v, last)
		}
	}
}

// safeDecoded is the offset before which everything decoded is decided too.
func (v *view) safeDecoded() int64 {
	end := v.base + int64(len(v.buf))
	at := end
	if v.depth >= maxDepth {
		return at
	}
	d := &v.decoders
	for i := range d.runs {
		at = min(at, d.runs[i].safe())
	}
	if d.escapes.active {
		at = min(at, max(d.escapes.start, end-escapeSize*(1+d.escapes.undecided())))
	}
	if d.wide.active {
		at = min(at, max(d.wide.start, end-2*(1+d.wide.undecided())))
	}
	for _, f := range d.inflated {
		at = min(at, max(f.start, end-maxHold))
	}
	return at
}

// maxHold is the most that a caller is asked to hold back.
const maxHold = 64 << 10

// short reports whether a field is of the kind where every way to read a run of
// characters is tried: it is short, and separators of all kinds stand in it.
func (f Field) short() bool { return f != Body && f != Message }
