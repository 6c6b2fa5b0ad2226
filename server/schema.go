package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// compileSchema compiles a tool's schema and demands what hosts and this
// server rely on: an object at the root, no reference out of the document and,
// for inputs, that unknown arguments are refused.
func compileSchema(raw json.RawMessage, input bool) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("not valid JSON: %w", err)
	}
	const location = "tool.json"
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	if input {
		c.AssertFormat()
	}
	if err := c.AddResource(location, doc); err != nil {
		return nil, fmt.Errorf("not a JSON Schema: %w", err)
	}
	schema, err := c.Compile(location)
	if err != nil {
		return nil, fmt.Errorf("does not compile: %w", err)
	}
	if schema.Types == nil || !slices.Equal(schema.Types.ToStrings(), []string{"object"}) {
		return nil, errors.New(`the root must have "type": "object"`)
	}
	if closed, ok := schema.AdditionalProperties.(bool); input && (!ok || closed) {
		return nil, errors.New(`the root must have "additionalProperties": false`)
	}
	return schema, nil
}

// noLoader keeps schemas from reading files, which the library's default does.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("reference to %s: a schema must be self-contained", url)
}

// decodeArguments reads arguments as the validator wants them. Absent ones are
// an empty object.
func decodeArguments(raw json.RawMessage) (json.RawMessage, any, error) {
	if trimmed := bytes.TrimSpace(raw); len(trimmed) == 0 || string(trimmed) == "null" {
		raw = json.RawMessage("{}")
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, nil, errors.New("the arguments are not valid JSON")
	}
	if err := checkCost(value, new(int)); err != nil {
		return nil, nil, err
	}
	return raw, value, nil
}

// Bounds of what is worth validating. The validator computes with exact
// rationals, so that a few bytes such as 1e1000000 would cost it megabytes, and
// keeps an error for every value that is wrong.
const (
	maxNumberLength = 64
	maxExponent     = 400
	maxValues       = 50_000
)

// checkCost counts values into n and looks at each number.
func checkCost(value any, n *int) error {
	if *n++; *n > maxValues {
		return fmt.Errorf("the arguments hold more than %d values; pass large data as a file", maxValues)
	}
	switch v := value.(type) {
	case json.Number:
		return checkNumber(v)
	case []any:
		for _, item := range v {
			if err := checkCost(item, n); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, item := range v {
			if err := checkCost(item, n); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkNumber(n json.Number) error {
	text := n.String()
	if len(text) > maxNumberLength {
		return fmt.Errorf("a number of %d characters is too long; give at most %d", len(text), maxNumberLength)
	}
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		exponent, err := strconv.Atoi(text[i+1:])
		if err != nil || exponent > maxExponent || exponent < -maxExponent {
			return fmt.Errorf("the number %s is out of range", text)
		}
	}
	return nil
}
