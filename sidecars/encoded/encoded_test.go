package encoded

import (
	"encoding/base32"
	"encoding/base64"
	"strings"
	"testing"
)

// TestShifted has every text that holds the secret hold one of its forms.
func TestShifted(t *testing.T) {
	const secret = "a secret of some length"
	for name, e := range map[string]struct {
		encode      func([]byte) string
		group, bits int
	}{
		"base64": {base64.StdEncoding.EncodeToString, 3, 6},
		"base32": {base32.StdEncoding.EncodeToString, 5, 5},
	} {
		forms := Shifted(secret, e.encode, e.group, e.bits)
		if len(forms) != e.group {
			t.Fatalf("%s: %d forms, want %d", name, len(forms), e.group)
		}
		for before := range 3 * e.group {
			text := e.encode([]byte(strings.Repeat("\xff", before) + secret + "\xff\xff"))
			if form := forms[before%e.group]; !strings.Contains(text, form) {
				t.Errorf("%s: %q does not hold %q", name, text, form)
			}
			if other := forms[(before+1)%e.group]; strings.Contains(text, other) {
				t.Errorf("%s: control: %q holds the form %q of another place", name, text, other)
			}
		}
	}
}

func TestReversedAndEach(t *testing.T) {
	if got := Reversed("abc"); got != "cba" {
		t.Errorf("reversed: %q", got)
	}
	if got := Each("a\xff", "%%%02x"); got != "%61%ff" {
		t.Errorf("each: %q", got)
	}
}
