package grammar

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// StatusSince130 names the shape of `system status --format json` that later
// releases are reported to have; the plain name is that of Version.
const StatusSince130 = "system status --format json, 1.3.0"

// output is what the contract has about a document that a command prints.
type output struct {
	Schema      json.RawMessage
	LaterSchema json.RawMessage // of a release behind the contract's, if it differs
	Indented    bool
	Examples    map[string]json.RawMessage
}

// UnmarshalJSON gathers the examples, whose keys say what they are of.
func (o *output) UnmarshalJSON(data []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return fmt.Errorf("grammar: an output of the contract: %w", err)
	}
	var encoding string
	if err := json.Unmarshal(fields["encoding"], &encoding); err != nil {
		return fmt.Errorf("grammar: the encoding of an output of the contract: %w", err)
	}
	*o = output{
		Schema:      fields["schema"],
		LaterSchema: fields["schemaReportedSince1.3.0"],
		Indented:    strings.HasPrefix(encoding, "indented"),
		Examples:    map[string]json.RawMessage{},
	}
	for key, value := range fields {
		// A string is a remark about the examples.
		if strings.HasPrefix(key, "example") && value[0] != '"' {
			o.Examples[key] = value
		}
	}
	return nil
}

// OutputNames lists the documents that ValidateOutput and Examples know:
// commands with the options that ask for JSON.
func OutputNames() []string { return slices.Sorted(maps.Keys(load().Outputs)) }

// ValidateOutput checks a document against the schema of an output, such as
// "list --format json" or "inspect".
func ValidateOutput(name string, doc []byte) error {
	schema, ok := schemas()[name]
	if !ok {
		return unknownOutput(name)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		return fmt.Errorf("grammar: the output of %q is no JSON: %w", name, err)
	}
	if err := schema.Validate(value); err != nil {
		return fmt.Errorf("grammar: the output of %q has not the shape of its schema: %w", name, err)
	}
	return nil
}

// Examples are the recorded documents of an output by the name of the case:
// "example", "exampleEmpty", "exampleDown", "exampleOther". They are in the
// program's own encoding.
func Examples(name string) (map[string][]byte, error) {
	out, ok := load().Outputs[name]
	if !ok {
		return nil, unknownOutput(name)
	}
	examples := make(map[string][]byte, len(out.Examples))
	for key, value := range out.Examples {
		doc, err := EncodeOutput(name, value)
		if err != nil {
			return nil, err
		}
		examples[key] = doc
	}
	return examples, nil
}

// EncodeOutput writes a value as the program prints that output: keys sorted,
// slashes escaped, on one line or indented.
func EncodeOutput(name string, value any) ([]byte, error) {
	out, ok := load().Outputs[name]
	if !ok {
		return nil, unknownOutput(name)
	}
	doc, err := sortedJSON(value)
	if err != nil {
		return nil, fmt.Errorf("grammar: encode an output of %q: %w", name, err)
	}
	if out.Indented {
		doc = indent(doc)
	}
	// A slash is nowhere in JSON but in a string.
	return append(bytes.ReplaceAll(doc, []byte("/"), []byte(`\/`)), '\n'), nil
}

// sortedJSON encodes through a map, which sorts the keys of structures too.
func sortedJSON(value any) ([]byte, error) {
	doc, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(doc))
	decoder.UseNumber() // a size in bytes is not a float
	var plain any
	if err := decoder.Decode(&plain); err != nil {
		return nil, err
	}
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(plain); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(buffer.Bytes()), nil
}

// indent lays a document out as the program's encoder does: two spaces, a
// space on both sides of a colon, and an empty line in what is empty.
func indent(doc []byte) []byte {
	var out bytes.Buffer
	depth, inString, escaped := 0, false, false
	line := func() { out.WriteString("\n" + strings.Repeat("  ", depth)) }
	for i, c := range doc {
		switch {
		case inString:
			out.WriteByte(c)
			inString = escaped || c != '"'
			escaped = c == '\\' && !escaped
		case c == '"':
			inString = true
			out.WriteByte(c)
		case c == '[' || c == '{':
			out.WriteByte(c)
			if next := doc[i+1]; next == ']' || next == '}' {
				out.WriteString("\n")
				line()
			} else {
				depth++
				line()
			}
		case c == ']' || c == '}':
			if before := doc[i-1]; before != '[' && before != '{' {
				depth--
				line()
			}
			out.WriteByte(c)
		case c == ',':
			out.WriteByte(c)
			line()
		case c == ':':
			out.WriteString(" : ")
		default:
			out.WriteByte(c)
		}
	}
	return out.Bytes()
}

func unknownOutput(name string) error {
	return fmt.Errorf("grammar: the contract has no output %q; it has %q", name, OutputNames())
}

// schemas compiles the schemas of the contract once.
var schemas = sync.OnceValue(func() map[string]*jsonschema.Schema { //nolint:gochecknoglobals // compiled once, never written to
	compiled := make(map[string]*jsonschema.Schema, len(load().Outputs))
	for name, out := range load().Outputs {
		compiler := jsonschema.NewCompiler()
		compiler.DefaultDraft(jsonschema.Draft2020)
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(out.Schema))
		if err == nil {
			err = compiler.AddResource("output.json", doc)
		}
		if err == nil {
			compiled[name], err = compiler.Compile("output.json")
		}
		if err != nil {
			panic(fmt.Sprintf("grammar: the schema of %q in the embedded contract: %v", name, err))
		}
	}
	return compiled
})
