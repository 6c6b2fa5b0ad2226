package manifest

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// TestParseYAML reads a file that is no manifest with the manifests' rules.
func TestParseYAML(t *testing.T) {
	const text = "# a comment\nname: x\ntree:\n  a: [1, true, y]\n  b: {c: \"2\"}\nroute: {host: a.example}\n"
	var name string
	var tree any
	var route Route
	err := ParseYAML("f.yaml", []byte(text), func(n Node) {
		n.Mapping(map[string]func(Node){
			"name":  func(n Node) { name = n.Line(10) },
			"tree":  func(n Node) { tree, _ = n.Tree() },
			"route": func(n Node) { route, _ = n.Route() },
		}, nil)
	})
	want := map[string]any{"a": []any{int64(1), true, "y"}, "b": map[string]any{"c": "2"}}
	if err != nil || name != "x" || !reflect.DeepEqual(tree, want) || route.Host != "a.example" {
		t.Errorf("got %q, %v, %+v, %v", name, tree, route, err)
	}
}

// TestParseYAMLLines holds errors to the lines of the file.
func TestParseYAMLLines(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"unknown key", "a: 1\nb: 2\n", "f.yaml:2: b: the key is not known; allowed here: a"},
		{"key twice", "a: 1\n\na: 2\n", "f.yaml:3: a: the key stands twice, first in line 1"},
		{"first line", "*x\n", "f.yaml:1:"},
		{"syntax", "a: 1\nb: [\n", "the YAML is malformed"},
		{"refused", "c: 1\n", "f.yaml:1: c: this key is not accepted here; leave it"},
		{"null", "a: 1\nt: null\n", "f.yaml:2: t: it must be text, a whole number, true or false, a list or a mapping, but it is nothing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := ParseYAML("f.yaml", []byte(tt.text), func(n Node) {
				keys := map[string]func(Node){"a": func(Node) {}}
				if tt.name == "null" {
					keys["t"] = func(n Node) {
						if _, ok := n.Tree(); ok {
							t.Error("a problem was not told")
						}
					}
				}
				n.Mapping(keys, map[string]string{"c": "leave it"})
			})
			var one *Error
			if !errors.As(err, &one) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
