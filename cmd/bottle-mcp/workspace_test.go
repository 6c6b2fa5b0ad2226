package main

import "testing"

func TestSizeFlag(t *testing.T) {
	for text, want := range map[string]int64{
		"512MiB": 512 << 20, "8GiB": 8 << 30, "1KiB": 1 << 10, "2TiB": 2 << 40,
		"": 0, "8": 0, "8GB": 0, "0GiB": 0, "-1GiB": 0, "1.5GiB": 0, "9999999999TiB": 0, "8 GiB": 0,
	} {
		var s sizeFlag
		if err := s.Set(text); int64(s) != want || (err == nil) != (want > 0) {
			t.Errorf("%q is %d, %v", text, s, err)
		}
	}
}
