package scrub

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars/encoded"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// secrets are made for the tests; they have the characters that escapes are for.
func secrets() []string {
	return []string{"made-for-a-test_0123456789", `q/w+e=r&t"y<u>i'o\p`, "EXACTLY8", strings.Repeat("long.Token_", 60) + "end"}
}

func scrubber(t testing.TB, of ...string) *Scrubber {
	t.Helper()
	var values []secret.Value
	for _, s := range of {
		values = append(values, secret.New(s))
	}
	s, err := New(values)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// encodings are how an endpoint may hand back what it was sent, made by the
// usual libraries and not by this package.
func encodings() map[string]func(string) string {
	quoted := func(s string) string {
		b, _ := json.Marshal(s)
		return string(b)
	}
	plain := func(s string) string {
		var b strings.Builder
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(s)
		return b.String()
	}
	wrap := func(before, after string, f func(string) string) func(string) string {
		return func(s string) string { return f(before + s + after) }
	}
	std := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	out := map[string]func(string) string{
		"raw":             func(s string) string { return s },
		"JSON":            quoted,
		"JSON plain":      plain,
		"query":           url.QueryEscape,
		"path":            url.PathEscape,
		"HTML":            html.EscapeString,
		"hex":             func(s string) string { return hex.EncodeToString([]byte(s)) },
		"HEX":             func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
		"percent":         func(s string) string { return encoded.Each(s, "%%%02X") },
		"u escapes":       func(s string) string { return encoded.Each(s, `\u%04x`) },
		"base64":          std,
		"base64 url":      func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) },
		"base64 raw url":  func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
		"base64 shifted":  wrap("Bearer ", "\n", std),
		"base64 shifted1": wrap("x", "yz", std),
		"base64 shifted2": wrap("xy", "z", std),
		"upper":           strings.ToUpper,
		"lower":           strings.ToLower,
	}
	return out
}

// rare are looked for in short secrets only.
func rare() map[string]func(string) string {
	return map[string]func(string) string{
		"reversed":     encoded.Reversed,
		"base32":       func(s string) string { return base32.StdEncoding.EncodeToString([]byte(s)) },
		"x escapes":    func(s string) string { return encoded.Each(s, `\x%02X`) },
		"octal":        func(s string) string { return encoded.Each(s, `\%03o`) },
		"entities":     func(s string) string { return encoded.Each(s, "&#%d;") },
		"hex entities": func(s string) string { return encoded.Each(s, "&#x%x;") },
		"base64 twice": func(s string) string {
			return base64.StdEncoding.EncodeToString([]byte("a" + base64.StdEncoding.EncodeToString([]byte("xy"+s+"z")) + "bc"))
		},
	}
}

func all(s string) map[string]func(string) string {
	out := encodings()
	if len(s) < longFrom {
		for name, f := range rare() {
			out[name] = f
		}
	}
	return out
}

func TestText(t *testing.T) {
	for _, secret := range secrets() {
		s := scrubber(t, secrets()...)
		for name, encode := range all(secret) {
			t.Run(fmt.Sprintf("%.12s %s", secret, name), func(t *testing.T) {
				encoded := encode(secret)
				text := "before " + encoded + " after"
				got, found := s.Text(text)
				if !found || len(got) != len(text) || !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after") {
					t.Fatalf("found %v: %q became %q", found, text, got)
				}
				// What an encoding shares with its neighbours stays, and no more.
				allowed := 0
				if strings.HasPrefix(name, "base") {
					allowed = 16
				}
				if left := same([]byte(got)[7:len(got)-6], []byte(encoded)) - strings.Count(encoded, "=") - strings.Count(encoded, "\n") - 2*strings.Count(name, "JSON"); left > allowed {
					t.Errorf("%d bytes of %q are left in %q", left, encoded, got)
				}
			})
		}
	}
}

func TestTextLeavesAllElse(t *testing.T) {
	s := scrubber(t, secrets()...)
	for _, text := range []string{"", "a", "made-for-a-test_012345678", "made-for-a-test_01234567890"[1:], strings.Repeat("EXACTLY", 1000), "\x00\xff\xfe", strings.Repeat("made-for-", 500)} {
		if got, found := s.Text(text); found || got != text {
			t.Errorf("%.60q became %.60q", text, got)
		}
	}
	none := scrubber(t, "short", "")
	if got, found := none.Text("short"); found || got != "short" {
		t.Errorf("a secret below the least length: %q", got)
	}
}

// Any way of cutting a text gives its length, leaves what is no secret alone,
// and lets no more than a harmless beginning out.
func TestAnySplit(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	s := scrubber(t, secrets()...)
	for range 3000 {
		text, clean := randomText(random)
		stream := s.Stream()
		var got []byte
		for rest := text; len(rest) > 0; {
			n := 1 + random.IntN(min(len(rest), 1<<random.IntN(9)))
			got = append(got, stream.Write(bytes.Clone(rest[:n]))...)
			rest = rest[n:]
		}
		got = append(got, stream.Close()...)
		if len(got) != len(text) {
			t.Fatalf("%d bytes became %d", len(text), len(got))
		}
		for i := range clean {
			if clean[i] && got[i] != text[i] {
				t.Fatalf("byte %d of %q became %q", i, text, got)
			}
		}
		for at := 0; at < len(clean); at++ {
			if clean[at] {
				continue
			}
			end := at
			for end < len(clean) && !clean[end] {
				end++
			}
			// What is left of a secret is at most its harmless beginning, and what
			// base64 shares with its neighbours.
			if left := same(got[at:end], text[at:end]); left > heldFrom+4 {
				t.Fatalf("%d bytes of %q are left in %q", left, text[at:end], got[at:end])
			}
			at = end
		}
	}
}

// same counts the bytes that were not overwritten; fillers do not count.
func same(got, want []byte) int {
	n := 0
	for i := range got {
		if got[i] == want[i] && got[i] != starFiller && got[i] != digitFiller {
			n++
		}
	}
	return n
}

// randomText mixes noise, beginnings of secrets, and secrets, which are marked.
func randomText(random *rand.Rand) (text []byte, clean []bool) {
	known := secrets()
	add := func(s string, isClean bool) {
		text = append(text, s...)
		for range len(s) {
			clean = append(clean, isClean)
		}
	}
	names := []string{"raw", "percent", "u escapes", "hex", "base64"}
	for range 1 + random.IntN(8) {
		s := known[random.IntN(len(known))]
		switch random.IntN(4) {
		case 0:
			add(strings.Repeat(".", random.IntN(20)), true)
		case 1:
			add(s[:random.IntN(len(s)-1)]+"!", true)
		case 2:
			add(fmt.Sprintf("<%x>", random.Uint64()), true)
		default:
			encoded := encodings()[names[random.IntN(len(names))]](s)
			add(strings.TrimRight(encoded, "="), false)
			add("!", true)
		}
	}
	return text, clean
}

// An event comes out with the write that brought it, unless it ends in the
// beginning of a secret.
func TestHoldsNothingElse(t *testing.T) {
	s := scrubber(t, secrets()...)
	for _, piece := range []string{"data: {\"text\":\"hello\"}\n\n", "m", "mad", "data: made-for\n\n", "\x00\x01m", "data: \\u0"} {
		stream := s.Stream()
		if got := string(stream.Write([]byte(piece))); got != piece {
			t.Errorf("of %q only %q came out", piece, got)
		}
	}
	stream := s.Stream()
	if got := string(stream.Write([]byte("x made"))); got != "x " {
		t.Errorf("the beginning of a secret: %q came out", got)
	}
	if got := string(stream.Write([]byte(" up"))); got != "made up" {
		t.Errorf("then %q", got)
	}
}

func TestTooMany(t *testing.T) {
	var values []secret.Value
	for i := range 200 {
		values = append(values, secret.New(fmt.Sprintf("%03d%s", i, strings.Repeat("x", 2000))))
	}
	if _, err := New(values); err == nil || strings.Contains(err.Error(), "xxx") {
		t.Errorf("error %v", err)
	}
}

// The bound on memory counts every form.
func TestFormsBound(t *testing.T) {
	for _, s := range append(secrets(), strings.Repeat("/+=&<>\"", 30), strings.Repeat("\"", 255), strings.Repeat("\"", 300)) {
		size, times := 0, shortForms
		if len(s) >= longFrom {
			times = longForms
		}
		for _, f := range formsOf(s) {
			size += len(f.text)
		}
		if size > times*len(s) {
			t.Errorf("%.20q of %d bytes has %d in all forms, %d times its length", s, len(s), size, size/len(s))
		}
	}
}

// FuzzStream compares pieces with the whole.
func FuzzStream(f *testing.F) {
	f.Add([]byte("x made-for-a-test_0123456789 y"), uint8(3))
	f.Add([]byte("EXACTLYEXACTLY8EXACTLY88"), uint8(1))
	s := scrubber(f, secrets()...)
	f.Fuzz(func(t *testing.T, text []byte, step uint8) {
		whole := s.Stream()
		want := append(bytes.Clone(whole.Write(bytes.Clone(text))), whole.Close()...)
		stream := s.Stream()
		var got []byte
		for rest := text; len(rest) > 0; {
			n := min(len(rest), 1+int(step))
			got = append(got, stream.Write(bytes.Clone(rest[:n]))...)
			rest = rest[n:]
		}
		got = append(got, stream.Close()...)
		if len(got) != len(text) || stream.Found() != whole.Found() {
			t.Fatalf("%d bytes became %d, found %d and %d", len(text), len(got), stream.Found(), whole.Found())
		}
		if differ := differences(got, want); differ > 3*stream.Found() {
			t.Fatalf("%q\nin pieces is %q\nand whole %q", text, got, want)
		}
	})
}

// differences counts the bytes that are not the same.
func differences(a, b []byte) int {
	n := 0
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

func BenchmarkStream(b *testing.B) {
	s := scrubber(b, secrets()...)
	text := bytes.Repeat([]byte(`{"role":"assistant","content":"The made-up example is exact, and \"quoted\"."},`), 400)
	b.SetBytes(int64(len(text)))
	stream := s.Stream()
	for b.Loop() {
		stream.Write(text)
	}
	if stream.Found() > 0 {
		b.Fatal("found something")
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		scrubber(b, secrets()...)
	}
}
