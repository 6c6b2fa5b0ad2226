package main

// samples are a figure's values of each way, round by round.
type samples map[string][]float64

func (s samples) add(way string, v float64) { s[way] = append(s[way], v) }

// into puts the medians into a row and shows it.
func (s samples) into(x *row) {
	for way, v := range s {
		x.set(way, median(v))
	}
	x.show()
}

// above is what each way has more than another in the same round.
func (s samples) above(other string) samples {
	out := samples{}
	for way, values := range s {
		for i, v := range values {
			if way != other {
				out.add(way, v-s[other][i])
			}
		}
	}
	return out
}
