package dlp

import (
	"cmp"
	"slices"
)

// automaton finds all of its words in one pass over a stream of bytes and
// carries everything it knows from chunk to chunk in one number, its state.
// It is a complete Aho-Corasick automaton over classes of bytes: one table
// look-up a byte, whatever the text is.
//
// A state is the index of its row in next, already multiplied by the row's
// length, so that a step is an addition and a load. States that accept come
// last, so that "has something been found" is a comparison.
type automaton struct {
	class  [256]uint8
	stride uint32
	next   []uint32
	accept uint32   // the first accepting state
	depth  []uint16 // by row: how many bytes of a word a state stands for
	// What accepting states found: words[from[i]:from[i+1]] for the i-th.
	from  []uint32
	words []uint32
}

// classes says how an automaton reads bytes.
type classes struct {
	of    [256]uint8
	count int
	// skip makes class 0 invisible: its bytes leave the state as it is.
	skip bool
}

// exactClasses tells apart every byte that occurs in words.
func exactClasses(words [][]byte) classes {
	c := classes{count: 1}
	for _, w := range words {
		for _, b := range w {
			if c.of[b] == 0 {
				c.of[b] = uint8(c.count) // #nosec G115 -- fewer than 256 keywords' bytes: keywords are ASCII and magic numbers
				c.count++
			}
		}
	}
	return c
}

// alnumClasses sees letters without their case and digits, and nothing else:
// separators, quotes, line ends, NULs and zero-width characters do not exist
// for it.
func alnumClasses() classes {
	c := classes{count: 1, skip: true}
	for b := byte('0'); b <= '9'; b++ {
		c.of[b] = uint8(c.count) // #nosec G115 -- 36 classes
		c.count++
	}
	for b := byte('a'); b <= 'z'; b++ {
		c.of[b], c.of[b-'a'+'A'] = uint8(c.count), uint8(c.count) // #nosec G115 -- 36 classes
		c.count++
	}
	return c
}

// trie is an automaton under construction. Rows are in order of insertion.
type trie struct {
	classes
	next  []uint32 // row*count + class; 0 = none, as no word leads to the root
	depth []uint16
	found [][]uint32
}

func newTrie(c classes) *trie {
	t := &trie{classes: c}
	t.row(0)
	return t
}

func (t *trie) row(depth uint16) uint32 {
	t.next = append(t.next, make([]uint32, t.count)...)
	t.depth = append(t.depth, depth)
	t.found = append(t.found, nil)
	return uint32(len(t.depth) - 1) // #nosec G115 -- rows are bounded by maxRows
}

// add inserts a word's visible bytes under an id.
func (t *trie) add(word []byte, id uint32) {
	at := uint32(0)
	for _, b := range word {
		c := t.of[b]
		if c == 0 {
			continue
		}
		edge := at*uint32(t.count) + uint32(c) // #nosec G115 -- at most 256 classes
		if t.next[edge] == 0 {
			t.next[edge] = t.row(t.depth[at] + 1)
		}
		at = t.next[edge]
	}
	if at != 0 && !slices.Contains(t.found[at], id) {
		t.found[at] = append(t.found[at], id)
	}
}

// build completes the trie: missing edges become those of the longest suffix.
// The trie is used up.
func (t *trie) build() *automaton {
	n := uint32(t.count) // #nosec G115 -- at most 256 classes
	fail := make([]uint32, len(t.depth))
	queue := make([]uint32, 0, len(t.depth))
	for _, child := range t.next[:n] {
		if child != 0 {
			queue = append(queue, child)
		}
	}
	for i := 0; i < len(queue); i++ {
		at := queue[i]
		t.found[at] = append(t.found[at], t.found[fail[at]]...)
		row, suffix := t.next[at*n:at*n+n], t.next[fail[at]*n:fail[at]*n+n]
		for c := range row {
			if child := row[c]; child != 0 {
				fail[child] = suffix[c]
				queue = append(queue, child)
			} else {
				row[c] = suffix[c]
			}
		}
	}
	return t.renumber()
}

// renumber puts accepting rows last and multiplies.
func (t *trie) renumber() *automaton {
	n := uint32(t.count) // #nosec G115 -- at most 256 classes
	order := make([]uint32, len(t.depth))
	for i := range order {
		order[i] = uint32(i) // #nosec G115 -- rows are bounded by maxRows
	}
	slices.SortStableFunc(order, func(a, b uint32) int {
		return cmp.Compare(min(len(t.found[a]), 1), min(len(t.found[b]), 1))
	})
	state := make([]uint32, len(order))
	for i, row := range order {
		state[row] = uint32(i) * n // #nosec G115 -- rows are bounded by maxRows
	}
	a := &automaton{
		class: t.of, stride: n, next: make([]uint32, len(t.next)),
		accept: uint32(len(t.next)), // #nosec G115 -- rows are bounded by maxRows
		depth:  make([]uint16, len(order)),
	}
	for i, row := range order {
		a.depth[i] = t.depth[row]
		to := a.next[uint32(i)*n:] // #nosec G115 -- rows are bounded by maxRows
		for c := range n {
			to[c] = state[t.next[row*n+c]]
		}
		if t.skip {
			to[0] = uint32(i) * n // #nosec G115 -- rows are bounded by maxRows
		}
		if len(t.found[row]) > 0 {
			a.accept = min(a.accept, uint32(i)*n)         // #nosec G115 -- rows are bounded by maxRows
			a.from = append(a.from, uint32(len(a.words))) // #nosec G115 -- bounded by maxRows
			a.words = append(a.words, t.found[row]...)
		}
	}
	a.from = append(a.from, uint32(len(a.words))) // #nosec G115 -- as many as words
	return a
}

// found returns the ids of the words that end in an accepting state.
func (a *automaton) found(state uint32) []uint32 {
	i := (state - a.accept) / a.stride
	return a.words[a.from[i]:a.from[i+1]]
}

// pending is how many visible bytes at the end of the text may be the
// beginning of a word.
func (a *automaton) pending(state uint32) int { return int(a.depth[state/a.stride]) }
