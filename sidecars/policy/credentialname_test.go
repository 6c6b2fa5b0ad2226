package policy

import (
	"strings"
	"testing"
)

// A name counts in every spelling that a server may take for it, and the
// question, asked with every header of every request, needs no memory.
func TestCarriesCredential(t *testing.T) {
	for _, name := range []string{"authorization", "x-api-key", "x-goog-iam-authorization-token", "x-ms-authorization-auxiliary", "x-refresh-token"} {
		for _, spelled := range []string{name, strings.ToUpper(name), strings.ReplaceAll(name, "-", "_"), strings.ToUpper(name[:3]) + name[3:]} {
			if !CarriesCredential(spelled) {
				t.Errorf("%s carries none", spelled)
			}
		}
		for _, other := range []string{name + "x", name[1:] + "q", name + strings.Repeat("-", 2*longestCredential)} {
			if CarriesCredential(other) {
				t.Errorf("%s carries one", other)
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() { CarriesCredential("X-Goog-Iam-Authorization-Token"); CarriesCredential("Accept-Language") }); n > 0 {
		t.Errorf("%v allocations for two names", n)
	}
}
