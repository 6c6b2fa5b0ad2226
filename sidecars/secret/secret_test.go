package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

const plain = "s3cr3t-value"

// holder keeps a secret where fmt cannot call its methods.
type holder struct {
	hidden Value
	Shown  Value
}

func TestNeverPrinted(t *testing.T) {
	v := New(plain)
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	logger.Info("x", "v", v, "holder", holder{v, v}, "pointer", &v)
	text := slog.New(slog.NewTextHandler(&log, nil))
	text.Info("x", "v", v, "holder", holder{v, v}, "map", map[string]Value{"k": v})
	encoded, err := json.Marshal(map[string]any{"v": v, "h": holder{v, v}, "m": map[string]Value{"k": v}})
	if err != nil {
		t.Fatal(err)
	}
	outputs := map[string]string{"slog": log.String(), "json": string(encoded)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T %v"} {
		outputs["value "+verb] = fmt.Sprintf(strings.TrimPrefix(verb, "%T "), v)
		outputs["pointer "+verb] = fmt.Sprintf(strings.TrimPrefix(verb, "%T "), &v)
		outputs["holder "+verb] = fmt.Sprintf(strings.TrimPrefix(verb, "%T "), holder{v, v})
		outputs["slice "+verb] = fmt.Sprintf(strings.TrimPrefix(verb, "%T "), []Value{v})
		outputs["error "+verb] = fmt.Errorf("wrap: "+strings.TrimPrefix(verb, "%T "), holder{v, v}).Error()
	}
	hex := fmt.Sprintf("%x", plain)
	for name, out := range outputs {
		if strings.Contains(out, plain) || strings.Contains(strings.ToLower(out), hex) {
			t.Errorf("%s shows the secret: %s", name, out)
		}
	}
	if got := fmt.Sprint(v); got != redacted {
		t.Errorf("a value prints as %q, want %q", got, redacted)
	}
}

func TestReveal(t *testing.T) {
	if got := New(plain).Reveal(); got != plain {
		t.Errorf("Reveal = %q", got)
	}
	var zero Value
	if !zero.Empty() || zero.Reveal() != "" || !New("").Empty() || New(plain).Empty() {
		t.Error("Empty or the zero value is wrong")
	}
}
