package scrub

// node is a state of the automaton: a text that begins at least one form. Most
// nodes have one child, so that children are a list and not a table; the root,
// where most of every text passes, has a table.
type node struct {
	fail    int32 // the longest proper suffix that is a node too
	child   int32 // the first child, 0 = none
	sibling int32
	depth   int32 // length of the text
	// held is the length of the longest suffix that can still become a form.
	held int32
	// found is the length of the longest form that ends here, 0 = none.
	found  int32
	char   byte
	filler byte
}

// automaton finds every occurrence of every form (Aho and Corasick).
type automaton struct {
	nodes []node
	first [256]int32 // children of the root
	// pairs has a bit for each two bytes that begin a form: most of every text is
	// passed over by it alone.
	pairs [1 << 16 / 8]byte
}

const root = 0

func newAutomaton(forms []form) *automaton {
	a := &automaton{nodes: make([]node, 1)}
	for _, f := range forms {
		a.insert(f)
	}
	a.link()
	return a
}

func (a *automaton) insert(f form) {
	at := int32(root)
	for _, c := range []byte(f.text) {
		next := a.childOf(at, c)
		if next == root {
			next = int32(len(a.nodes)) //nolint:gosec // bounded by maxForms
			n := node{char: c, depth: a.nodes[at].depth + 1}
			if at == root {
				a.first[c] = next
			} else {
				n.sibling = a.nodes[at].child
				a.nodes[at].child = next
			}
			a.nodes = append(a.nodes, n)
		}
		at = next
	}
	a.nodes[at].found, a.nodes[at].filler = a.nodes[at].depth, f.filler
}

// childOf is root when there is none.
func (a *automaton) childOf(at int32, c byte) int32 {
	if at == root {
		return a.first[c]
	}
	next := a.nodes[at].child
	for next != root && a.nodes[next].char != c {
		next = a.nodes[next].sibling
	}
	return next
}

// link visits the nodes by their depth.
func (a *automaton) link() {
	var queue []int32
	for _, n := range a.first {
		if n != root {
			queue = append(queue, n)
		}
	}
	for _, n := range queue {
		for next := a.nodes[n].child; next != root; next = a.nodes[next].sibling {
			bit := int(a.nodes[n].char)<<8 | int(a.nodes[next].char)
			a.pairs[bit>>3] |= 1 << (bit & 7)
		}
	}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		n := &a.nodes[at]
		fail := &a.nodes[n.fail]
		if n.held = fail.held; n.child != root {
			n.held = n.depth
		}
		if n.found == 0 {
			n.found, n.filler = fail.found, fail.filler
		}
		for next := n.child; next != root; next = a.nodes[next].sibling {
			a.nodes[next].fail = a.step(n.fail, a.nodes[next].char)
			queue = append(queue, next)
		}
	}
}

// skip passes over what begins no form, from a position on, and returns the next
// one where a form may begin. The last byte of a text may always.
func (a *automaton) skip(text []byte, i int) int {
	for ; i+1 < len(text); i++ {
		bit := int(text[i])<<8 | int(text[i+1])
		if a.pairs[bit>>3]&(1<<(bit&7)) != 0 {
			return i
		}
	}
	return i
}

// step is the state after one more byte.
func (a *automaton) step(at int32, c byte) int32 {
	for at != root {
		if next := a.childOf(at, c); next != root {
			return next
		}
		at = a.nodes[at].fail
	}
	return a.first[c]
}
