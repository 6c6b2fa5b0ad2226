package provider

import (
	"encoding/json"
	"os/exec"
	"reflect"
	"strings"
	"testing"
)

// hostile are labels that try to become something else.
var hostile = []string{
	`plain`, `"`, `\`, `\"`, `", "admin": true, "x": "`, "a\nb", "\x00", "\x1b]0;title\x07", `{{home}}`, `{{banner}}`, "}}", "{{",
	`"]` + "\n[projects.\"/\"]\ntrust_level = \"trusted\"\n#", "'''", `"""`, "\u2028", "\u202eright", "\xff\xfe", "$(id)", "`id`", "--flag", "\x7f", "é日本",
}

// TestHostileLabels puts each into JSON, TOML and text and reads it back.
func TestHostileLabels(t *testing.T) {
	const text = `
interactive: {argv: [sh]}
files:
  - {path: a.json, format: json, content: {label: "{{label}}", list: ["x {{label}} y"]}}
  - {path: a.toml, format: toml, content: {label: "{{label}}", list: ["x {{label}} y"], after: {k: 1}}}
  - {path: a.txt, content: "[{{label}}]"}
`
	p, err := Parse("x", "x.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, label := range hostile {
		t.Run(label, func(t *testing.T) {
			r, err := Resolve(p, Settings{Label: label})
			if err != nil {
				t.Fatal(err)
			}
			shown := plainLine(label)
			want := map[string]any{"label": shown, "list": []any{"x " + shown + " y"}}
			var got map[string]any
			if err := json.Unmarshal([]byte(r.Files[0].Content), &got); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("JSON gives %v, %v", got, err)
			}
			toml := r.Files[1].Content
			if strings.Count(toml, "\n") != 5 || !strings.HasSuffix(toml, "\n[after]\nk = 1\n") {
				t.Errorf("TOML has other lines:\n%s", toml)
			}
			want["after"] = map[string]any{"k": 1.0}
			if got, ok := readTOML(t, toml); ok && !reflect.DeepEqual(got, want) {
				t.Errorf("TOML gives %v", got)
			}
			if got := r.Files[2].Content; got != "["+shown+"]" || strings.ContainsAny(got, "\x00\n\x1b\x07\x7f") {
				t.Errorf("text is %q", got)
			}
		})
	}
}

// readTOML reads TOML with Python's library, where there is one.
func readTOML(t *testing.T, text string) (map[string]any, bool) {
	t.Helper()
	if exec.CommandContext(t.Context(), "python3", "-c", "import tomllib").Run() != nil {
		return nil, false
	}
	cmd := exec.CommandContext(t.Context(), "python3", "-c", "import json, sys, tomllib; json.dump(tomllib.loads(sys.stdin.buffer.read().decode()), sys.stdout)")
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("it is no TOML: %v\n%s", err, text)
		return nil, true
	}
	var got map[string]any
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	return got, true
}

func TestEncodeTOML(t *testing.T) {
	in := map[string]any{
		"b": map[string]any{"c d": map[string]any{"e.f": "x"}, "g": true}, "a": int64(-1), "l": []any{"x", int64(2), false}, "empty": map[string]any{},
		`quo"te`: "tab\tand\\",
	}
	const want = "a = -1\nl = [\"x\", 2, false]\n\"quo\\\"te\" = \"tab\\u0009and\\\\\"\n\n[b]\ng = true\n\n[b.\"c d\"]\n\"e.f\" = \"x\"\n\n[empty]\n"
	if got := string(encodeTOML(in)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	readTOML(t, want)
}

func TestBanner(t *testing.T) {
	for _, tt := range []struct{ label, colour, want string }{
		{"x", "", "x"}, {"x", "red", "\x1b[31mx\x1b[0m"}, {"", "red", ""}, {"\x1b[2J", "blue", "\x1b[34m\uFFFD[2J\x1b[0m"}, {"x", "none", "x"},
	} {
		if got := banner(tt.label, tt.colour); got != tt.want {
			t.Errorf("banner(%q, %q) = %q", tt.label, tt.colour, got)
		}
	}
	for _, c := range Colours() {
		if colours[c] == "" {
			t.Errorf("%s has no number", c)
		}
	}
}

// FuzzTOML holds every string to one line that ends where it should.
func FuzzTOML(f *testing.F) {
	for _, label := range hostile {
		f.Add(label)
	}
	f.Fuzz(func(t *testing.T, s string) {
		inner := tomlString(s)
		inner = inner[1 : len(inner)-1]
		for i := 0; i < len(inner); i++ {
			switch c := inner[i]; {
			case c == '\\':
				i++ // whatever is escaped is not looked at
			case c == '"' || c < ' ' || c == 0x7f:
				t.Fatalf("%q ends or breaks at %d", inner, i)
			}
		}
	})
}
