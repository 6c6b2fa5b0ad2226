package grammar

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestExamplesAreValidAndComplete(t *testing.T) {
	for _, name := range OutputNames() {
		t.Run(name, func(t *testing.T) {
			examples, err := Examples(name)
			if err != nil || len(examples) == 0 {
				t.Fatalf("%d examples (%v)", len(examples), err)
			}
			for key, doc := range examples {
				if err := ValidateOutput(name, doc); err != nil {
					t.Errorf("%s: %v", key, err)
				}
				checkEncoding(t, name, doc)
			}
		})
	}
}

func checkEncoding(t *testing.T, name string, doc []byte) {
	t.Helper()
	again, err := EncodeOutput(name, json.RawMessage(doc))
	if err != nil || !bytes.Equal(again, doc) {
		t.Errorf("encoding it again differs (%v):\n%s", err, again)
	}
	if bytes.Contains(bytes.ReplaceAll(doc, []byte(`\/`), nil), []byte("/")) {
		t.Error("a slash is not escaped")
	}
	if lines := bytes.Count(doc, []byte("\n")); lines > 1 != load().Outputs[name].Indented {
		t.Errorf("%d lines", lines)
	}
}

func TestEncodeOutput(t *testing.T) {
	value := []any{map[string]any{"b": []any{}, "a": `x"\/{`, "c": map[string]any{"n": int64(1) << 60}}}
	for name, want := range map[string]string{
		"list --format json": `[{"a":"x\"\\\/{","b":[],"c":{"n":1152921504606846976}}]` + "\n",
		"inspect":            "[\n  {\n    \"a\" : \"x\\\"\\\\\\/{\",\n    \"b\" : [\n\n    ],\n    \"c\" : {\n      \"n\" : 1152921504606846976\n    }\n  }\n]\n",
	} {
		if got, err := EncodeOutput(name, value); err != nil || string(got) != want {
			t.Errorf("%s: %s (%v), want %s", name, got, err, want)
		}
	}
	if got, err := EncodeOutput("inspect", []int{}); err != nil || string(got) != "[\n\n]\n" {
		t.Errorf("an empty list is %q (%v)", got, err)
	}
	if _, err := EncodeOutput("inspect", func() {}); err == nil {
		t.Error("a function is encoded")
	}
}

// TestAMissingKeyIsDetected takes each required key of each schema out of an
// example that has it.
func TestAMissingKeyIsDetected(t *testing.T) {
	for _, name := range OutputNames() {
		t.Run(name, func(t *testing.T) {
			examples, err := Examples(name)
			if err != nil {
				t.Fatal(err)
			}
			var schema map[string]any
			if err := json.Unmarshal(load().Outputs[name].Schema, &schema); err != nil {
				t.Fatal(err)
			}
			removed := 0
			for _, key := range slices.Sorted(maps.Keys(examples)) {
				var doc any
				if err := json.Unmarshal(examples[key], &doc); err != nil {
					t.Fatal(err)
				}
				eachRequired(schema, doc, func(object map[string]any, required string) {
					value := object[required]
					delete(object, required)
					broken, err := json.Marshal(doc)
					if err != nil {
						t.Fatal(err)
					}
					if err := ValidateOutput(name, broken); err == nil {
						t.Errorf("%s without %q is valid", key, required)
					} else if !strings.Contains(err.Error(), required) {
						t.Errorf("%s without %q: %v does not name it", key, required, err)
					}
					object[required] = value
					removed++
				})
			}
			if removed == 0 && name != "builder status --format json" {
				t.Error("nothing was taken out")
			}
		})
	}
}

// eachRequired walks a document along its schema.
func eachRequired(schema map[string]any, doc any, visit func(object map[string]any, key string)) {
	switch doc := doc.(type) {
	case []any:
		if items, ok := schema["items"].(map[string]any); ok {
			for _, item := range doc {
				eachRequired(items, item, visit)
			}
		}
	case map[string]any:
		required, _ := schema["required"].([]any)
		for _, key := range required {
			if name, ok := key.(string); ok {
				visit(doc, name)
			}
		}
		properties, _ := schema["properties"].(map[string]any)
		for key, value := range doc {
			if sub, ok := properties[key].(map[string]any); ok {
				eachRequired(sub, value, visit)
			}
		}
	}
}

func TestValidateOutputRefuses(t *testing.T) {
	for _, c := range []struct{ name, output, doc, want string }{
		{"unknown name", "ls", "[]", `no output "ls"; it has ["builder status`},
		{"no JSON", "inspect", "[", "is no JSON"},
		{"two documents", "inspect", "[] []", "is no JSON"},
		{"another type", "inspect", "{}", "has not the shape"},
		{"the shape before 1.0.0", "list --format json", `[{"status":"running","configuration":{},"networks":[]}]`, "has not the shape"},
		{"the later status", "system status --format json", `{"status":"running","client":{}}`, "has not the shape"},
		{"the earlier status", StatusSince130, `{"apiServerVersion":""}`, "status"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := ValidateOutput(c.output, []byte(c.doc))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
	if _, err := Examples("ls"); err == nil {
		t.Error("an unknown output has examples")
	}
	if _, err := EncodeOutput("ls", nil); err == nil {
		t.Error("an unknown output is encoded")
	}
}

func TestStatusHasTwoShapes(t *testing.T) {
	examples, err := Examples(StatusSince130)
	if err != nil {
		t.Fatal(err)
	}
	if err := ValidateOutput("system status --format json", examples["example"]); err == nil {
		t.Error("the later shape passes as the earlier")
	}
	if err := ValidateOutput(StatusSince130, []byte(`{"status":"unregistered"}`)); err != nil {
		t.Errorf("the state alone is what is printed when it is down: %v", err)
	}
}

// TestTheContractIsSelfContained keeps prose that points elsewhere out of it.
func TestTheContractIsSelfContained(t *testing.T) {
	if found := regexp.MustCompile(`(?i)\.md\b`).Find(contractJSON); found != nil {
		t.Errorf("the contract says %q", found)
	}
}
