package sidecars

import "math"

// Plus adds up budgets, for comparison with a bound. What would not fit is the
// most there is: a sum that wraps around would look like little.
func (b Budget) Plus(o Budget) Budget {
	return Budget{
		Requests: AddCapped(b.Requests, o.Requests), BytesOut: AddCapped(b.BytesOut, o.BytesOut), BytesIn: AddCapped(b.BytesIn, o.BytesIn),
		PerMinute: int(min(AddCapped(int64(b.PerMinute), int64(o.PerMinute)), math.MaxInt)),
	}
}

// Minus takes a budget away again; less than nothing is nothing.
func (b Budget) Minus(o Budget) Budget {
	return Budget{
		Requests: max(0, b.Requests-o.Requests), BytesOut: max(0, b.BytesOut-o.BytesOut), BytesIn: max(0, b.BytesIn-o.BytesIn),
		PerMinute: max(0, b.PerMinute-o.PerMinute),
	}
}

// AddCapped adds numbers that are not negative and ends at the largest there is.
func AddCapped(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
