package sidecars

import (
	"math"
	"testing"
)

func TestBudgetSums(t *testing.T) {
	most := Budget{Requests: math.MaxInt64, BytesOut: math.MaxInt64, BytesIn: math.MaxInt64, PerMinute: math.MaxInt}
	some := Budget{Requests: 1, BytesOut: 2, BytesIn: 3, PerMinute: 4}
	for _, tt := range []struct {
		name      string
		got, want Budget
	}{
		{"a sum", some.Plus(some), Budget{2, 4, 6, 8}},
		{"with nothing", some.Plus(Budget{}), some},
		{"beyond what fits", most.Plus(some), most},
		{"far beyond", most.Plus(most), most},
		{"a difference", some.Plus(some).Minus(some), some},
		{"below nothing", some.Minus(most), Budget{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.got != tt.want {
				t.Errorf("%+v, want %+v", tt.got, tt.want)
			}
		})
	}
}
