package dlp

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// Known is a secret to search for.
type Known struct {
	// Name is shown in findings, as that of the variable or slot.
	Name  string
	Value secret.Value
}

// Options are what a Scanner searches for beyond token formats.
type Options struct {
	// Known are secrets that must not leave. Values shorter than LeastKnown
	// bytes are not searched for: Scanner.Short names them.
	Known []Known
	// Canaries are values that nobody has a right use for.
	Canaries []Known
	// Placeholders are values that the guest holds in place of secrets. They look
	// like tokens and are never findings.
	Placeholders []string
}

// maxRows bounds an automaton, and so its memory: a secret takes some 700 rows of
// 150 bytes, a key of many lines ten times as many.
const maxRows = 120_000

// Scanner finds credentials. It is compiled once and used by any number of
// goroutines.
type Scanner struct {
	a, b         *automaton
	targets      []target
	alphabets    [runKinds]*alphabet
	placeholders [][]byte
	short        []string
	hides        bool // there are known secrets
	jobs         sync.Pool
	injection    func() *injectionRules
}

// target is what a word of an automaton stands for: one of the two is set.
type target struct {
	variant *variant
	known   *form
}

// New compiles the rules and what is known. It takes some milliseconds.
func New(o Options) (*Scanner, error) {
	s := &Scanner{alphabets: alphabets(), injection: sync.OnceValue(newInjectionRules)}
	exact, folded := [][]byte{}, alnumClasses()
	var exactID []uint32
	names := newTrie(folded)
	var kept sets
	add := func(word []byte, v *variant) {
		id := uint32(len(s.targets)) // #nosec G115 -- a few hundred variants
		s.targets = append(s.targets, target{variant: v})
		if v.rule.key != "" {
			names.add(word, id)
			return
		}
		exact, exactID = append(exact, word), append(exactID, id)
	}
	for _, r := range rules() {
		if err := r.compile(&kept, add); err != nil {
			return nil, fmt.Errorf("compile the rules for tokens: %w", err)
		}
	}
	words := newTrie(exactClasses(exact))
	for i, w := range exact {
		words.add(w, exactID[i])
	}
	if err := s.addKnown(names, o); err != nil {
		return nil, err
	}
	for _, p := range o.Placeholders {
		s.placeholders = append(s.placeholders, []byte(p))
	}
	s.a, s.b = words.build(), names.build()
	return s, nil
}

// ErrTooManySecrets is returned by New when the secrets to search for would
// take too much memory.
var ErrTooManySecrets = errors.New("too many or too long secrets to search for")

func (s *Scanner) addKnown(t *trie, o Options) error {
	held := map[string]bool{}
	for _, p := range o.Placeholders {
		held[p] = true
	}
	for i, k := range append(append([]Known{}, o.Known...), o.Canaries...) {
		value := k.Value.Reveal()
		if held[value] {
			continue
		}
		if len(value) < LeastKnown {
			s.short = append(s.short, k.Name)
			continue
		}
		s.addForms(t, k.Name, value, i >= len(o.Known))
		if len(t.depth) > maxRows {
			return fmt.Errorf("%w: give the sidecar fewer than %d", ErrTooManySecrets, i+1)
		}
	}
	return nil
}

func (s *Scanner) addForms(t *trie, name, value string, canary bool) {
	s.hides = true
	for _, piece := range pieces(value) {
		for _, d := range dresses(piece) {
			text := t.visible(d.text)
			if len(text) < leastVisible {
				continue
			}
			t.add(text, uint32(len(s.targets))) // #nosec G115 -- bounded by maxRows
			s.targets = append(s.targets, target{known: &form{name: name, kind: d.kind, canary: canary, length: len(text)}})
		}
	}
}

// Short names the secrets that are too short to be searched for.
func (s *Scanner) Short() []string { return s.short }

// placeholder reports whether text is one, or a part of one.
func (s *Scanner) placeholder(text []byte) bool {
	for _, p := range s.placeholders {
		if bytes.Contains(p, text) {
			return true
		}
	}
	return false
}
