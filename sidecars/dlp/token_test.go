package dlp

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

func newScanner(t testing.TB, o Options) *Scanner {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func hasKind(found []Finding, kind string) bool {
	return slices.ContainsFunc(found, func(f Finding) bool { return f.Kind == kind })
}

func TestEveryKindIsFound(t *testing.T) {
	s, g := newScanner(t, Options{}), newGenerator(1)
	kinds := map[string]bool{}
	for _, r := range tokenRules() {
		kinds[r.kind] = true
		t.Run(r.kind, func(t *testing.T) {
			missed := 0
			for range 40 {
				text := "see " + g.credential(t, r) + " and more"
				if !hasKind(s.Scan(Body, []byte(text)), r.kind) {
					missed++
				}
			}
			// Values that only a name tells must look random: some do not.
			if missed > 2 && !r.weak || missed > 25 {
				t.Errorf("%d of 40 not found", missed)
			}
		})
	}
	if len(kinds) < 200 {
		t.Errorf("only %d kinds", len(kinds))
	}
}

// A pattern means to the engine what it means to RE2.
func TestPatternsMeanWhatTheySay(t *testing.T) {
	g := newGenerator(2)
	for _, r := range tokenRules() {
		re, err := regexp.Compile(`\A(?:` + r.pattern + `)`)
		if err != nil {
			t.Fatal(err)
		}
		seqs, err := new(sets).compile(r.pattern)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			text := g.text(seqs[g.IntN(len(seqs))])
			if n := g.IntN(3); n > 0 && len(text) > 4 {
				at := g.IntN(len(text))
				text = text[:at] + g.alnum(n-1) + "?" + text[at+1:]
			}
			text += " "
			want, got := re.FindStringIndex(text), -1
			for _, seq := range seqs {
				c := candidate{v: &variant{seq: seq, loose: true}}
				if c.advance([]byte(text), 0, true) == matched {
					got = max(got, int(c.at))
				}
			}
			if (want == nil) != (got < 0) || want != nil && want[1] != got {
				t.Errorf("%s on %q: RE2 says %v, the engine %d", r.kind, text, want, got)
			}
		}
	}
}

func TestPatternsThatAreRefused(t *testing.T) {
	for _, expr := range []string{`a+ab`, `[a-z]{1,3}x`, `a(?:bc){9}`, `^a`, `a\b`, `é+\x{1f600}`, `(`} {
		if _, err := new(sets).compile(expr); err == nil {
			t.Errorf("%q was accepted", expr)
		}
	}
}

func TestWhereATokenStands(t *testing.T) {
	s, g := newScanner(t, Options{}), newGenerator(3)
	var npm rule
	for _, r := range rules() {
		if r.kind == "npm_token" {
			npm = r
		}
	}
	sealed, bare := g.credential(t, npm), "hf_"+g.alnum(34)
	for _, c := range []struct {
		name, text, kind string
		want             bool
	}{
		{"alone", sealed, "npm_token", true},
		{"a checksum holds inside a word", "xyz" + sealed + "xyz", "npm_token", true},
		{"a false checksum and no word of its own", "xyz" + strings.ToLower(sealed), "npm_token", false},
		{"a false checksum in a word of its own", sealed[:39] + "~", "npm_token", false},
		{"no checksum, alone", bare, "huggingface_token", true},
		{"no checksum, inside a word", "xyz" + bare, "huggingface_token", false},
		{"after a line end in JSON", `"a\n` + bare + `"`, "huggingface_token", true},
		{"after an escaped character of a URL", "t%3D" + bare, "huggingface_token", true},
		{"after an escaped character of JSON", `"\u0041` + bare + `"`, "huggingface_token", true},
		{"nothing random in it", "hf_" + strings.Repeat("x", 34), "huggingface_token", false},
		{"the vendor's example", "AKIA" + "IOSFODNN7EXAMPLE", "aws_access_key_id", false},
		{"the header of a key alone", "-----BEGIN RSA " + "PRIVATE KEY-----\n...\n", "private_key", false},
		{"a key's end", "-----END RSA " + "PRIVATE KEY-----\n" + g.alnum(64), "private_key", false},
		{"a password that is a variable", "postgres://app:$DB_PASSWORD@db/app", "url_password", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := hasKind(s.Scan(Body, []byte(c.text)), c.kind); got != c.want {
				t.Errorf("found %v, want %v", got, c.want)
			}
		})
	}
}

func TestPlaceholdersAreNoFindings(t *testing.T) {
	g := newGenerator(4)
	held, other := "sk-ant-api03-"+g.alnum(93)+"AA", "sk-ant-api03-"+g.alnum(93)+"AA"
	s := newScanner(t, Options{Placeholders: []string{held}, Known: []Known{{Name: "X", Value: secret.New(held)}}})
	if found := s.Scan(Body, []byte("key "+held)); len(found) > 0 {
		t.Errorf("the placeholder is a finding: %v", found)
	}
	if !hasKind(s.Scan(Body, []byte("key "+other)), "anthropic_key") {
		t.Error("another value of the same kind is none")
	}
}

// The verdict of any split is that of the whole.
func TestSplitsDoNotMatter(t *testing.T) {
	g := newGenerator(5)
	known := g.alnum(24)
	s := newScanner(t, Options{Known: []Known{{Name: "DEPLOY", Value: secret.New(known)}}})
	for round := range 100 {
		text := []byte(g.document(t, known))
		want := s.Scan(Body, text)
		for _, size := range []int{1, 2, 3, 7, 64, 1 + g.IntN(4000)} {
			if got := scanIn(s, text, size); !sameFindings(got, want) {
				t.Fatalf("round %d, chunks of %d: %v, whole: %v, text %q", round, size, got, want, text)
			}
		}
	}
}

// One scanner serves any number of streams at a time.
func TestConcurrentStreams(t *testing.T) {
	g := newGenerator(6)
	known := g.alnum(24)
	s := newScanner(t, Options{Known: []Known{{Name: "DEPLOY", Value: secret.New(known)}}})
	var group sync.WaitGroup
	for i := range 8 {
		text := []byte(g.document(t, known) + encodings()[19].encode(known))
		want := s.Scan(Body, text)
		group.Go(func() {
			for range 20 {
				if got := scanIn(s, text, 1+37*i); !sameFindings(got, want) {
					t.Errorf("%v, alone: %v", got, want)
				}
			}
		})
	}
	group.Wait()
}

// document is text with credentials, halves of them and noise.
func (g generator) document(t testing.TB, known string) string {
	all := tokenRules()
	var b strings.Builder
	for range 1 + g.IntN(12) {
		switch g.IntN(8) {
		case 0:
			b.WriteString(known)
		case 1:
			b.WriteString(known[:g.IntN(len(known))])
		case 2:
			b.WriteString(strings.Repeat("api_key_", g.IntN(30)))
		case 3:
			b.WriteString(g.alnum(g.IntN(200)))
		case 4:
			text := g.credential(t, all[g.IntN(len(all))])
			b.WriteString(text[:g.IntN(len(text))])
		default:
			b.WriteString(g.credential(t, all[g.IntN(len(all))]))
		}
		b.WriteString([]string{"", " ", "\n", `"`, `\n`, "=", "&"}[g.IntN(7)])
	}
	return b.String()
}

func scanIn(s *Scanner, text []byte, size int) []Finding {
	st := s.Stream(StreamOptions{})
	var all []Finding
	for len(text) > 0 {
		n := min(size, len(text))
		all = append(all, st.Write(text[:n])...)
		text = text[n:]
	}
	return append(all, st.Close()...)
}

func sameFindings(a, b []Finding) bool {
	if len(a) != len(b) {
		return false
	}
	for _, f := range a {
		if !slices.Contains(b, f) {
			return false
		}
	}
	return true
}

func TestLongSecretsAreFoundByTheirParts(t *testing.T) {
	g := newGenerator(7)
	pem := g.pem("private_key")
	s := newScanner(t, Options{Known: []Known{{Name: "DEPLOY_KEY", Value: secret.New(pem)}}})
	only := StreamOptions{Detectors: []string{KnownSecrets}}
	if found := s.ScanWith(only, []byte("-----BEGIN RSA "+"PRIVATE KEY-----\n"+g.alnum(64)+"\n"+g.alnum(64))); len(found) > 0 {
		t.Errorf("another key: %v", found)
	}
	for at := 40; at+240 < len(pem); at += 50 {
		if found := s.ScanWith(only, []byte("see "+pem[at:at+240])); !hasDetector(found, KnownSecrets) {
			t.Errorf("a part from %d on is not found", at)
		}
	}
}

func TestSecretsThatAreNotSearchedFor(t *testing.T) {
	g := newGenerator(8)
	s := newScanner(t, Options{Known: []Known{{Name: "PIN", Value: secret.New("1234567")}, {Name: "LONG", Value: secret.New(g.alnum(8))}}})
	if got := s.Short(); !slices.Equal(got, []string{"PIN"}) {
		t.Errorf("too short: %v", got)
	}
	var many []Known
	for i := range 400 {
		many = append(many, Known{Name: fmt.Sprint("S", i), Value: secret.New(g.alnum(64))})
	}
	if _, err := New(Options{Known: many}); !errors.Is(err, ErrTooManySecrets) {
		t.Errorf("400 secrets: %v", err)
	}
}
