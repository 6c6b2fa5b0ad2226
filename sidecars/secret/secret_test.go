package secret

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// No printer, logger or encoder shows the credential.
func TestValueNeverPrints(t *testing.T) {
	const plain = "hunter2-canary"
	v := New(plain)
	holder := struct {
		Name string
		V    Value
		P    *Value
		M    map[string]Value
	}{"x", v, &v, map[string]Value{"slot": v}}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
		fmt.Fprintf(&out, verb+" "+verb+"\n", v, holder)
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("m", "value", v, "holder", holder, "group", slog.GroupValue(slog.Any("v", v)))
	}
	raw, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(raw)
	fmt.Fprint(&out, fmt.Errorf("wrapped: %v", v))
	for _, form := range []string{plain, fmt.Sprintf("%x", plain), fmt.Sprintf("%X", plain)} {
		if strings.Contains(out.String(), form) {
			t.Errorf("the credential shows as %q in:\n%s", form, out.String())
		}
	}
	if v.Reveal() != plain || v.Empty() || !New("").Empty() {
		t.Error("Reveal or Empty is wrong")
	}
}
