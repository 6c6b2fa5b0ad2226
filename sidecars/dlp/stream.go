package dlp

import (
	"bytes"
	"slices"
)

// mostFindings bounds what one text reports. What is beyond is found again when
// a redacted text is scanned once more.
const mostFindings = 64

// StreamOptions say what a text is and what to look for.
type StreamOptions struct {
	// Detectors are by name; nil means TokenPatterns and KnownSecrets, empty none.
	// For answers it is InjectionDetection alone, on types that are Textual.
	Detectors []string
	// Field is where the text comes from; "" means Body.
	Field Field
}

// detectors returns a set of bits.
func (o StreamOptions) detectors() detectors {
	var d detectors
	if o.Detectors == nil {
		return tokenBit | knownBit | canaryBit
	}
	for _, name := range o.Detectors {
		if d |= bit(name); d&outbound != 0 {
			d |= canaryBit
		}
	}
	return d
}

type detectors uint8

const (
	tokenBit detectors = 1 << iota
	knownBit
	canaryBit
	entropyBit
	injectionBit
)

// outbound are the detectors that read with the views.
const outbound = tokenBit | knownBit | canaryBit | entropyBit

func bit(name string) detectors {
	switch name {
	case TokenPatterns:
		return tokenBit
	case KnownSecrets:
		return knownBit
	case Canary:
		return canaryBit
	case Entropy:
		return entropyBit
	case InjectionDetection:
		return injectionBit
	}
	return 0
}

// job is what the views of one text share.
type job struct {
	detectors detectors
	field     Field
	findings  []Finding
	length    int64
	safe      int64
	given     int // findings that a caller has
	gaveUp    bool
	inflated  int64 // bytes decompressed
	opened    int   // decompressors started, by effort
	root      view
	injection injectionReader
}

func (j *job) on(name string) bool { return j.detectors&bit(name) != 0 }

// found implements sink for the outermost view.
func (j *job) found(f Finding) {
	f.Field = j.field
	if len(j.findings) < mostFindings && !slices.Contains(j.findings, f) {
		j.findings = append(j.findings, f)
	}
}

// unscannable reports, once, that something could not be looked at.
func (j *job) unscannable(to sink, why string, at int64) {
	if !j.gaveUp {
		j.gaveUp = true
		to.found(Finding{Detector: Unscannable, Kind: why, Start: at, End: at, Level: Act})
	}
}

// Stream reads one text in chunks. It belongs to one goroutine at a time.
type Stream struct {
	s *Scanner
	j *job
}

// Stream begins a text. The caller must Close it.
func (s *Scanner) Stream(o StreamOptions) *Stream {
	j, ok := s.jobs.Get().(*job)
	if !ok {
		j = &job{}
	}
	j.detectors, j.field = o.detectors(), o.Field
	if j.field == "" {
		j.field = Body
	}
	j.begin(s)
	return &Stream{s: s, j: j}
}

// begin forgets the text before.
func (j *job) begin(s *Scanner) {
	j.given, j.gaveUp = 0, false
	j.inflated, j.opened, j.length, j.safe = 0, 0, 0, 0
	j.findings = j.findings[:0]
	j.root.reset(s, j, j)
	if j.detectors&injectionBit != 0 {
		j.injection.reset(s.injection())
	}
}

// Write reads on and returns what has been found since the last call. The
// result is valid until the next one.
func (st *Stream) Write(p []byte) []Finding {
	st.j.length += int64(len(p))
	if st.j.detectors&outbound != 0 {
		st.j.root.write(p)
	}
	if st.j.detectors&injectionBit != 0 {
		st.j.injection.write(p, st.j)
	}
	return st.news()
}

// Safe is the offset before which everything is decided: what lies before it
// can be sent on, what lies behind may be part of something to be found.
//
// Injection is not held back for: its report is not about single bytes.
func (st *Stream) Safe() int64 {
	if st.j.detectors&outbound == 0 {
		return st.j.length
	}
	st.j.safe = max(st.j.safe, st.j.root.safe())
	return st.j.safe
}

// Close ends the text and returns what has been found since the last Write. The
// Stream cannot be used afterwards.
func (st *Stream) Close() []Finding { return st.finish(nil) }

// Next ends the text and begins another one of the same kind. It returns what
// Close would.
func (st *Stream) Next() []Finding {
	last := st.last(nil)
	st.j.begin(st.s)
	return last
}

// finish reads the last bytes and closes.
func (st *Stream) finish(p []byte) []Finding {
	last := st.last(p)
	st.s.jobs.Put(st.j)
	st.j = nil
	return last
}

// last reads the last bytes and decides what is open.
func (st *Stream) last(p []byte) []Finding {
	if st.j.detectors&outbound != 0 {
		st.j.root.close(p)
	}
	if st.j.detectors&injectionBit != 0 {
		st.j.injection.write(p, st.j)
	}
	return slices.Clone(st.news())
}

func (st *Stream) news() []Finding {
	all := st.j.findings[st.j.given:]
	st.j.given = len(st.j.findings)
	return all
}

// Flush reports what would be found if the text ended here, and goes on. It is
// for borders at which bytes must be sent on without waiting for more: the end
// of a message inside a body, or a pause. What Flush lets go and what follows
// later are still read as one text.
func (st *Stream) Flush() []Finding {
	st.j.root.flush()
	return st.news()
}

// Scan reads a whole text with the default detectors.
func (s *Scanner) Scan(field Field, text []byte) []Finding {
	return s.ScanWith(StreamOptions{Field: field}, text)
}

// ScanWith reads a whole text. A Host is read without its dots too, for what is
// cut into labels.
func (s *Scanner) ScanWith(o StreamOptions, text []byte) []Finding {
	found := s.scanOnce(o, text)
	if o.Field != Host || len(found) > 0 || bytes.IndexByte(text, '.') < 0 {
		return found
	}
	found = s.scanOnce(o, bytes.ReplaceAll(text, []byte("."), nil))
	for i := range found {
		found[i].Via, found[i].Start, found[i].End = "labels", 0, 0
	}
	return found
}

func (s *Scanner) scanOnce(o StreamOptions, text []byte) []Finding {
	return s.Stream(o).finish(text)
}

// Text is one of several texts of a request.
type Text struct {
	Field Field
	Value []byte
}

// ScanAll reads several texts, each by itself and then, for known secrets, one
// after the other as one: a secret can be cut over headers or parameters. A
// finding of the second kind has the field of its last part and no offsets.
func (s *Scanner) ScanAll(o StreamOptions, texts []Text) []Finding {
	var all []Finding
	on := o.detectors()
	state := uint32(0)
	for _, t := range texts {
		o.Field = t.Field
		all = append(all, s.ScanWith(o, t.Value)...)
		var cut []Finding
		state, cut = s.joined(state, t.Value, on)
		for _, f := range cut {
			f.Field, f.Via = t.Field, joinedFields
			if !slices.ContainsFunc(all, func(g Finding) bool { return g.Detector == f.Detector && g.Name == f.Name }) {
				all = append(all, f)
			}
		}
	}
	return all
}

// Joined reads texts, one after the other, as one. It finds known secrets that
// are cut over them; the findings have no offsets.
type Joined struct {
	s     *Scanner
	on    detectors
	field Field
	state uint32
}

// Join begins with the first of several texts.
func (s *Scanner) Join(o StreamOptions) *Joined {
	return &Joined{s: s, on: o.detectors(), field: o.Field}
}

// Write reads on. It keeps nothing of the text.
func (j *Joined) Write(text []byte) []Finding {
	var found []Finding
	j.state, found = j.s.joined(j.state, text, j.on)
	for i := range found {
		found[i].Field, found[i].Via = j.field, joinedFields
	}
	return found
}

// joined reads a text on from the state that the ones before it left.
func (s *Scanner) joined(state uint32, text []byte, on detectors) (uint32, []Finding) {
	var found []Finding
	for _, c := range text {
		class := s.b.class[c]
		state = s.b.next[state+uint32(class)]
		if state < s.b.accept || class == 0 {
			continue
		}
		for _, id := range s.b.found(state) {
			if f, ok := s.targets[id].finding(on); ok {
				found = append(found, f)
			}
		}
	}
	return state, found
}

// finding is what a known secret's form says, without offsets.
func (t *target) finding(on detectors) (Finding, bool) {
	k := t.known
	if k == nil {
		return Finding{}, false
	}
	f := Finding{Detector: KnownSecrets, Kind: k.kind, Name: k.name, Level: Act}
	if k.canary {
		f.Detector, f.Level = Canary, Block
	}
	return f, on&bit(f.Detector) != 0
}
