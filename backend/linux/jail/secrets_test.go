package jail

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// revealed makes secrets comparable.
func revealed(s sidecars.Secrets) map[string]string {
	out := map[string]string{"ca": s.CAKey.Reveal(), "bottles": s.BottlesToken.Reveal()}
	for slot, v := range s.Tokens {
		out["token "+slot] = v.Reveal()
	}
	for kind, all := range map[string][]sidecars.Named{"known ": s.Known, "canary ": s.Canaries} {
		for _, n := range all {
			out[kind+n.Name] = n.Value.Reveal()
		}
	}
	return out
}

func TestSecretsOnTheWire(t *testing.T) {
	random := func() secret.Value { return secret.New(rand.Text()) }
	for name, s := range map[string]sidecars.Secrets{
		"none":     {},
		"a reload": {Tokens: map[string]secret.Value{"A": random()}},
		"everything": {
			CAKey: random(), BottlesToken: random(), Tokens: map[string]secret.Value{"A": random(), "B": secret.New("x\x00\n\xff")},
			Known:    []sidecars.Named{{Name: "K", Value: random()}, {Name: "", Value: random()}},
			Canaries: []sidecars.Named{{Name: "canary", Value: random()}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			wire := EncodeSecrets(s)
			if cap(wire) != len(wire) {
				t.Errorf("%d bytes in %d: it was grown, or takes more than it needs", len(wire), cap(wire))
			}
			kept := bytes.Clone(wire)
			got, err := DecodeSecrets(wire)
			if err != nil {
				t.Fatal(err)
			}
			want, have := revealed(s), revealed(got)
			if len(want) != len(have) {
				t.Errorf("got %d secrets, want %d", len(have), len(want))
			}
			for name, value := range want {
				if have[name] != value {
					t.Errorf("%s is another one", name)
				}
			}
			if !bytes.Equal(wire, make([]byte, len(wire))) {
				t.Error("the frame was not cleared")
			}
			for n := range kept {
				if n == 0 || isBorder(kept, n) {
					continue
				}
				if _, err := DecodeSecrets(bytes.Clone(kept[:n])); !errors.Is(err, errSecrets) {
					t.Fatalf("cut at %d of %d: %v", n, len(kept), err)
				}
			}
		})
	}
	if _, err := DecodeSecrets([]byte{99, 0, 0, 0, 0, 0, 0, 0, 0}); !errors.Is(err, errSecrets) {
		t.Errorf("of an unknown kind: %v", err)
	}
}

// isBorder reports whether a secret ends at n.
func isBorder(data []byte, n int) bool {
	for rest := data; len(rest) > 0; {
		var ok bool
		if _, rest, ok = cutItem(rest); !ok {
			return false
		}
		if len(data)-len(rest) == n {
			return true
		}
	}
	return false
}

func FuzzDecodeSecrets(f *testing.F) {
	f.Add(EncodeSecrets(sidecars.Secrets{CAKey: secret.New("k"), Tokens: map[string]secret.Value{"A": secret.New("v")}}))
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := DecodeSecrets(bytes.Clone(data))
		if err != nil {
			return
		}
		again, err := DecodeSecrets(EncodeSecrets(s))
		if err != nil {
			t.Fatal(err)
		}
		a, b := revealed(s), revealed(again)
		for name, value := range a {
			if b[name] != value || len(a) != len(b) {
				t.Fatalf("%q is another one", name)
			}
		}
	})
}
