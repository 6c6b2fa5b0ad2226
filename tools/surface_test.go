package tools

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"
)

// update rewrites what is generated from the surface:
//
//	go test ./tools -run TestSurface -update
var update = flag.Bool("update", false, "rewrite tools/testdata/surface.golden.json and docs/tools.md")

// surface is everything a host sees, as it sees it.
type surface struct {
	Tools     []surfaceTool     `json:"tools"`
	Templates []surfaceTemplate `json:"resourceTemplates"`
}

type surfaceTool struct {
	Name         string             `json:"name"`
	Title        string             `json:"title"`
	Description  string             `json:"description"`
	Annotations  mcp.ToolAnnotation `json:"annotations"`
	InputSchema  json.RawMessage    `json:"inputSchema"`
	OutputSchema json.RawMessage    `json:"outputSchema"`
}

type surfaceTemplate struct {
	URITemplate string `json:"uriTemplate"`
	Name        string `json:"name"`
	Title       string `json:"title"`
	Description string `json:"description"`
	MIMEType    string `json:"mimeType"`
}

func theSurface(t *testing.T) surface {
	t.Helper()
	list, templates, closer, err := New(Config{Bottles: newFake()})
	if err != nil {
		t.Fatal(err)
	}
	if err := closer.Close(); err != nil {
		t.Fatal(err)
	}
	var s surface
	for _, tool := range list {
		s.Tools = append(s.Tools, surfaceTool{tool.Name, tool.Title, tool.Description, tool.Annotations, tool.InputSchema, tool.OutputSchema})
	}
	for _, r := range templates {
		s.Templates = append(s.Templates, surfaceTemplate{r.URITemplate, r.Name, r.Title, r.Description, r.MIMEType})
	}
	return s
}

// golden compares a generated file with what it should hold, or rewrites it.
func golden(t *testing.T, path string, want []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is stale: hosts and models depend on the surface, so look at the difference, then run\n\tgo test ./tools -run TestSurface -update", path)
	}
}

func TestSurfaceIsCurrent(t *testing.T) {
	s := theSurface(t)
	body := &bytes.Buffer{}
	enc := json.NewEncoder(body)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("testdata", "surface.golden.json"), body.Bytes())
	golden(t, filepath.Join("..", "docs", "tools.md"), []byte(docs(t, s)))
}

func TestSurfaceHints(t *testing.T) {
	type hints struct{ readOnly, destructive, idempotent, openWorld bool }
	want := map[string]hints{
		"launch":  {false, false, false, true},
		"exec":    {false, true, false, true},
		"cp":      {false, true, true, false},
		"list":    {true, false, true, false},
		"cleanup": {false, true, true, false},
	}
	s := theSurface(t)
	if len(s.Tools) != len(want) {
		t.Fatalf("%d tools", len(s.Tools))
	}
	for _, tool := range s.Tools {
		a := tool.Annotations
		if a.ReadOnlyHint == nil || a.DestructiveHint == nil || a.IdempotentHint == nil || a.OpenWorldHint == nil || a.Title != tool.Title {
			t.Errorf("%s: every hint must be explicit: %+v", tool.Name, a)
			continue
		}
		if got := (hints{*a.ReadOnlyHint, *a.DestructiveHint, *a.IdempotentHint, *a.OpenWorldHint}); got != want[tool.Name] {
			t.Errorf("%s: hints %+v, want %+v", tool.Name, got, want[tool.Name])
		}
	}
}

func TestSurfaceTexts(t *testing.T) {
	name := regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)
	seen := map[string]bool{}
	total := 0
	for _, tool := range theSurface(t).Tools {
		if seen[tool.Name] || seen[tool.Title] || seen[tool.Description] {
			t.Errorf("%s: name, title or description is used twice", tool.Name)
		}
		seen[tool.Name], seen[tool.Title], seen[tool.Description] = true, true, true
		if !name.MatchString(tool.Name) || tool.Title == "" || tool.Description == "" {
			t.Errorf("%q: name, title and description must be there", tool.Name)
		}
		if clean([]byte(tool.Description)) != tool.Description || len(tool.Description) > 1500 {
			t.Errorf("%s: description of %d bytes", tool.Name, len(tool.Description))
		}
		total += len(tool.Description) + len(tool.InputSchema)
	}
	// Hosts send all of it with every turn; 4 bytes are about a token.
	if total > 16_000 {
		t.Errorf("the tools cost a model %d bytes a turn", total)
	}
}

// node is a schema at a path.
type node struct {
	path string
	map_ map[string]any
}

// nodes walks a schema: the root, properties, items and values of maps.
func nodes(path string, schema map[string]any) []node {
	all := []node{{path, schema}}
	if properties, ok := schema["properties"].(map[string]any); ok {
		for name, p := range properties {
			sub, _ := p.(map[string]any) // one that is no object has no type either
			all = append(all, nodes(path+"."+name, sub)...)
		}
	}
	for _, key := range []string{"items", "additionalProperties"} {
		if sub, ok := schema[key].(map[string]any); ok {
			all = append(all, nodes(path+"."+key, sub)...)
		}
	}
	return all
}

// schemaRules are what models and hosts stumble on, each as a check that names
// the problem.
var schemaRules = map[string]func(n node) bool{
	"has no single type": func(n node) bool {
		kind, ok := n.map_["type"].(string)
		return !ok || kind == "null"
	},
	"uses a construct that hosts do not resolve": func(n node) bool {
		return slices.ContainsFunc([]string{
			"$ref", "$defs", "$schema", "$id", "definitions", "oneOf", "anyOf", "allOf", "not", "if", "then", "else",
			"nullable", "patternProperties", "propertyNames", "dependentRequired", "dependentSchemas", "prefixItems", "const",
		}, func(key string) bool { _, is := n.map_[key]; return is })
	},
	"has a pattern that not every engine knows": func(n node) bool {
		p, _ := n.map_["pattern"].(string)
		return strings.Contains(p, "(?") || strings.Contains(p, `\p`) || strings.Contains(p, `\A`) || strings.Contains(p, `\z`)
	},
	"has a pattern without anchors": func(n node) bool {
		p, is := n.map_["pattern"].(string)
		return is && (!strings.HasPrefix(p, "^") || !strings.HasSuffix(p, "$"))
	},
	"is an array of anything": func(n node) bool {
		_, has := n.map_["items"].(map[string]any)
		return n.map_["type"] == "array" && !has
	},
	"is an object of anything": func(n node) bool {
		_, properties := n.map_["properties"]
		_, values := n.map_["additionalProperties"].(map[string]any)
		return n.map_["type"] == "object" && !properties && !values
	},
	"has no description": func(n node) bool {
		described, _ := n.map_["description"].(string)
		last := n.path[strings.LastIndex(n.path, ".")+1:]
		return described == "" && strings.Contains(n.path, ".") && last != "items" && last != "additionalProperties"
	},
}

// inputRules hold for arguments alone.
var inputRules = map[string]func(n node) bool{
	"takes unknown arguments": func(n node) bool {
		_, properties := n.map_["properties"]
		return properties && n.map_["additionalProperties"] != false
	},
	"is a number without bounds": func(n node) bool {
		_, low := n.map_["minimum"]
		_, high := n.map_["maximum"]
		return (n.map_["type"] == "integer" || n.map_["type"] == "number") && (!low || !high)
	},
	"is an array without a bound": func(n node) bool {
		_, most := n.map_["maxItems"]
		return n.map_["type"] == "array" && !most
	},
	"is a string without a bound": func(n node) bool {
		_, most := n.map_["maxLength"]
		_, enum := n.map_["enum"]
		pattern, _ := n.map_["pattern"].(string)
		isMap := strings.HasSuffix(n.path, ".additionalProperties")
		return n.map_["type"] == "string" && !most && !enum && !isMap && !strings.Contains(pattern, "{")
	},
}

// outputRules hold for results alone.
var outputRules = map[string]func(n node) bool{
	"is closed, which would break older clients": func(n node) bool { return n.map_["additionalProperties"] == false },
}

func breaks(n node, rules map[string]func(node) bool) []string {
	var broken []string
	for problem, is := range rules {
		if is(n) {
			broken = append(broken, n.path+" "+problem)
		}
	}
	return broken
}

func TestSurfaceSchemas(t *testing.T) {
	for _, tool := range theSurface(t).Tools {
		for kind, rules := range map[string]map[string]func(node) bool{"input": inputRules, "output": outputRules} {
			body := map[string]json.RawMessage{"input": tool.InputSchema, "output": tool.OutputSchema}[kind]
			compile(t, body)
			var root map[string]any
			if err := json.Unmarshal(body, &root); err != nil {
				t.Fatal(err)
			}
			if root["type"] != "object" {
				t.Errorf("%s: the %s schema is no object", tool.Name, kind)
			}
			for _, n := range nodes(tool.Name+" "+kind, root) {
				for _, problem := range append(breaks(n, schemaRules), breaks(n, rules)...) {
					t.Error(problem)
				}
			}
		}
	}
}

// TestSchemaRulesCanFail shows that every rule sees its fault.
func TestSchemaRulesCanFail(t *testing.T) {
	for schema, want := range map[string]string{
		`{}`:                                             "has no single type",
		`{"type":["string","null"]}`:                     "has no single type",
		`{"type":"string","oneOf":[]}`:                   "hosts do not resolve",
		`{"type":"string","$ref":"#/x"}`:                 "hosts do not resolve",
		`{"type":"string","nullable":1}`:                 "hosts do not resolve",
		`{"type":"string","pattern":"^(?!a)b$"}`:         "not every engine",
		`{"type":"string","pattern":"a"}`:                "without anchors",
		`{"type":"array","maxItems":3}`:                  "array of anything",
		`{"type":"object"}`:                              "object of anything",
		`{"type":"string","maxLength":3}`:                "has no description",
		`{"type":"object","properties":{}}`:              "takes unknown arguments",
		`{"type":"integer","minimum":1}`:                 "without bounds",
		`{"type":"array","items":{"type":"string"}}`:     "array without a bound",
		`{"type":"string","description":"x"}`:            "string without a bound",
		`{"type":"object","additionalProperties":false}`: "is closed",
	} {
		n := node{path: "tool input.x"}
		if err := json.Unmarshal([]byte(schema), &n.map_); err != nil {
			t.Fatal(err)
		}
		all := append(append(breaks(n, schemaRules), breaks(n, inputRules)...), breaks(n, outputRules)...)
		if !strings.Contains(strings.Join(all, "\n"), want) {
			t.Errorf("%s breaks %q, want %q", schema, all, want)
		}
	}
}

// TestDefaultsAreHarmless calls every tool as a client does that fills in the
// default of every argument.
func TestDefaultsAreHarmless(t *testing.T) {
	f := newFake("b")
	f.onExec = exits(0, "", "")
	b := newBench(t, f)
	for tool, args := range map[string]map[string]any{
		"launch": {"dry_run": true}, "exec": {"id": "b", "command": []string{"x"}}, "cp": {"id": "b", "from": "x", "to": "bottle:x"},
		"list": {}, "cleanup": {"ids": []string{"b"}, "dry_run": true},
	} {
		var schema struct {
			Properties map[string]struct{ Default any }
		}
		if err := json.Unmarshal(b.tools[tool].InputSchema, &schema); err != nil {
			t.Fatal(err)
		}
		filled := 0
		for name, p := range schema.Properties {
			if _, given := args[name]; !given && p.Default != nil {
				args[name] = p.Default
				filled++
			}
		}
		body, err := json.Marshal(args)
		if err != nil {
			t.Fatal(err)
		}
		if r := b.call(tool, string(body)); r.IsError {
			t.Errorf("%s with its %d defaults %s: %s", tool, filled, body, r.text)
		}
	}
}

func TestTemplatesMatchTheirURIs(t *testing.T) {
	for _, r := range theSurface(t).Templates {
		if r.Title == "" || r.Description == "" || r.MIMEType == "" {
			t.Errorf("%+v says too little", r)
		}
		template := &mcp.URITemplate{}
		if err := json.Unmarshal([]byte(`"`+r.URITemplate+`"`), template); err != nil {
			t.Fatal(err)
		}
		uri := "bottle://b/" + r.Name
		if r.Name == "log" {
			uri = logURI("b", "exec-1.log")
		}
		if !template.Regexp().MatchString(uri) {
			t.Errorf("%s does not match %s", r.URITemplate, uri)
		}
	}
}

func TestNewNeedsBottles(t *testing.T) {
	if _, _, _, err := New(Config{}); err == nil {
		t.Fatal("no error without Bottles")
	}
}
