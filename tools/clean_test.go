package tools

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"plain":                {"hello\n\tworld", "hello\n\tworld"},
		"empty":                {"", ""},
		"colour":               {"\x1b[31mred\x1b[0m", `\x1b[31mred\x1b[0m`},
		"title":                {"\x1b]0;pwned\x07", `\x1b]0;pwned\x07`},
		"NUL":                  {"a\x00b", `a\x00b`},
		"DEL":                  {"a\x7fb", `a\x7fb`},
		"backspace":            {"secret\b\b\b", `secret\x08\x08\x08`},
		"CRLF is a newline":    {"a\r\nb\r\n", "a\nb\n"},
		"lone CR is visible":   {"progress 1\rprogress 2", `progress 1\x0dprogress 2`},
		"CR at the end":        {"a\r", `a\x0d`},
		"C1":                   {"a\u009b31m", `a\u009b31m`},
		"bidi override":        {"user\u202etxt.exe", `user\u202etxt.exe`},
		"bidi isolate":         {"\u2066x\u2069", `\u2066x\u2069`},
		"marks":                {"\u200e\u200f\u061c", `\u200e\u200f\u061c`},
		"zero width space":     {"a\u200bb", `a\u200bb`},
		"joiners stay":         {"\u0646\u200c\u0645 👩\u200d🚀", "\u0646\u200c\u0645 👩\u200d🚀"},
		"emoji selector stays": {"☺\ufe0f", "☺\ufe0f"},
		"hidden tags":          {"hi\U000e0041\U000e0042", `hi\U000e0041\U000e0042`},
		"hidden selectors":     {"a\U000e0100\ufe05", `a\U000e0100\ufe05`},
		"fillers":              {"a\u3164\u115fb", `a\u3164\u115fb`},
		"unassigned":           {"\u05ec\U000e0fff", `\u05ec\U000e0fff`},
		"noncharacter":         {"\ufffe", `\ufffe`},
		"private use stays":    {"\ue0a0", "\ue0a0"},
		"line separator":       {"a\u2028b\u2029c", `a\u2028b\u2029c`},
		"BOM":                  {"\ufeffa", `\ufeffa`},
		"invalid UTF-8":        {"a\xff\xfeb", "a\ufffd\ufffdb"},
		"overlong":             {"\xc0\xaf", "\ufffd\ufffd"},
		"surrogate":            {"\xed\xa0\x80", "\ufffd\ufffd\ufffd"},
		"cut rune":             {"a\xe2\x82", "a\ufffd\ufffd"},
		"replacement stays":    {"a\ufffdb", "a\ufffdb"},
		"other scripts":        {"日本語 العربية Ελληνικά", "日本語 العربية Ελληνικά"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := clean([]byte(tc.in)); got != tc.want {
				t.Errorf("clean(%q) = %q, want %q", tc.in, got, tc.want)
			}
		})
	}
}

func TestCleanLine(t *testing.T) {
	for name, tc := range map[string]struct {
		in    string
		limit int
		want  string
	}{
		"one line":        {"a\nb\tc\r\nd", 40, `a\nb\tc\nd`},
		"cut":             {"abcdef", 3, "abc…"},
		"cut at a rune":   {"aé", 2, "a…"},
		"cut at an escap": {"ab\x1b", 5, "ab…"},
		"fits exactly":    {"abc", 3, "abc"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := cleanLine(tc.in, tc.limit); got != tc.want {
				t.Errorf("cleanLine(%q, %d) = %q, want %q", tc.in, tc.limit, got, tc.want)
			}
		})
	}
}

func TestIsPlain(t *testing.T) {
	for in, want := range map[string]bool{
		"some\n\ttext": true, "windows\r\nlines": true, "é日": true, "": true,
		"a\rb": false, "a\x1b[m": false, "\xff": false, "\u202e": false, "\x00": false,
	} {
		if got := isPlain([]byte(in)); got != want {
			t.Errorf("isPlain(%q) = %v, want %v", in, got, want)
		}
	}
}

// harmless is the property that clean must give, said another way than clean
// says it.
func harmless(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		if strings.ContainsRune("\n\t\u200c\u200d\ufe0e\ufe0f\ufffd", r) {
			return false
		}
		return !unicode.IsGraphic(r) && !unicode.Is(unicode.Co, r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp, unicode.Variation_Selector)
	})
}

func checkClean(t *testing.T, b []byte, limit int) {
	t.Helper()
	whole := clean(b)
	if !harmless(whole) {
		t.Fatalf("clean(%q) = %q", b, whole)
	}
	if again := clean([]byte(whole)); again != whole {
		t.Fatalf("clean is not idempotent on %q: %q", whole, again)
	}
	front, used := cleanPrefix(b, limit, false)
	if len(front) > limit || used > len(b) || front != clean(b[:used]) {
		t.Fatalf("cleanPrefix(%q, %d) = %q, %d", b, limit, front, used)
	}
	back, kept := cleanSuffix(b, limit, false)
	if len(back) > limit || kept > len(b) || back != clean(b[len(b)-kept:]) {
		t.Fatalf("cleanSuffix(%q, %d) = %q, %d", b, limit, back, kept)
	}
	if len(whole) <= limit && (used != len(b) || kept != len(b)) {
		t.Fatalf("%q fits into %d, but %d and %d of %d bytes were shown", b, limit, used, kept, len(b))
	}
}

func TestCleanProperties(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"a", "\n", "\r", "\r\n", "\x1b", "\x00", "é", "日", "😀", "\xe2\x82", "\xff", "\u202e", "\U000e0041", "\x9b"}
	for range 3000 {
		var b strings.Builder
		for range random.IntN(40) {
			b.WriteString(pieces[random.IntN(len(pieces))])
		}
		checkClean(t, []byte(b.String()), random.IntN(60))
	}
}

func FuzzClean(f *testing.F) {
	f.Add([]byte("\x1b[31m\r\n\xe2\x82\u202e"), 7)
	f.Add([]byte("日本\xff"), 4)
	f.Fuzz(func(t *testing.T, b []byte, limit int) {
		if len(b) > 1<<12 {
			t.Skip("long inputs find nothing new here")
		}
		checkClean(t, b, max(0, limit%64))
	})
}
