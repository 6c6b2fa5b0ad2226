package dlp

// span is a run of characters of base64, in which all encodings in runs are
// looked for: their alphabets are parts of that one.
type span struct {
	lo, hi int  // in the view's buffer
	open   bool // it goes on in the next block
}

// spanFinder finds the spans of a view.
type spanFinder struct {
	// at is how far they have been found: none begins before, but for an open one.
	at    int64
	start int64 // where the open one begins
	open  bool
	found []span // in the block read last
}

func (f *spanFinder) reset() { f.at, f.open, f.found = 0, false, f.found[:0] }

// find finds the spans of what is new.
func (f *spanFinder) find(v *view) {
	a := v.s.alphabets[base64Any]
	f.found = f.found[:0]
	i := int(f.at - v.base)
	for {
		if !f.open {
			if i, f.open = nextRun(v.buf, i, a); !f.open {
				break
			}
			f.start = v.base + int64(i)
			i += shortestRun
		}
		for i < len(v.buf) && a.begins[v.buf[i]] {
			i++
		}
		f.open = i == len(v.buf)
		f.found = append(f.found, span{lo: max(0, int(f.start-v.base)), hi: i, open: f.open})
		if f.open {
			break
		}
	}
	f.at = v.base + int64(i)
}

// nextRun returns where the next run of shortestRun characters begins, or how
// far there is none. It looks at every shortestRun-th character first: where
// that is none of the alphabet, no run can span it.
func nextRun(buf []byte, i int, a *alphabet) (int, bool) {
	for i+shortestRun <= len(buf) {
		j := i + shortestRun - 1
		for j >= i && a.begins[buf[j]] {
			j--
		}
		if j < i {
			return i, true
		}
		i = j + 1
	}
	return i, false
}
