package tools

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"
)

// inputSchema describes T as arguments: closed, so that a misspelt argument is
// refused instead of ignored.
func inputSchema[T any]() (json.RawMessage, error) { return reflectSchema[T](false) }

// outputSchema describes T as a result: open, so that a newer server does not
// fail clients that hold an older schema.
func outputSchema[T any]() (json.RawMessage, error) { return reflectSchema[T](true) }

// reflectSchema renders one self-contained object: hosts stumble on $ref and on
// a root without "type".
func reflectSchema[T any](open bool) (json.RawMessage, error) {
	r := jsonschema.Reflector{
		ExpandedStruct:            true,
		Anonymous:                 true,
		DoNotReference:            true,
		AllowAdditionalProperties: open,
	}
	s := r.ReflectFromType(reflect.TypeFor[T]())
	s.Version = ""
	if s.Type != "object" {
		return nil, fmt.Errorf("%v is no struct", reflect.TypeFor[T]())
	}
	return json.Marshal(s)
}

// decode reads arguments strictly. The server has validated them against the
// schema already; this holds also where a caller did not.
func decode[T any](raw json.RawMessage) (T, error) {
	var in T
	if len(bytes.TrimSpace(raw)) == 0 {
		raw = json.RawMessage("{}")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return in, decodeError(err, reflect.TypeFor[T]())
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return in, &argumentError{Problem: "the arguments must be one JSON object"}
	}
	return in, nil
}

// decodeError says in the caller's words what encoding/json found.
func decodeError(err error, t reflect.Type) error {
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) {
		if mismatch.Field == "" {
			return &argumentError{Problem: "the arguments must be one JSON object, not " + mismatch.Value}
		}
		return &argumentError{Field: mismatch.Field, Problem: fmt.Sprintf("must be %s, not %s", jsonKind(mismatch.Type), mismatch.Value)}
	}
	// encoding/json has no type for this one.
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return &argumentError{Field: strings.Trim(name, `"`), Problem: "is not an argument of this tool", Allowed: fieldNames(t)}
	}
	return &argumentError{Problem: "the arguments are not valid JSON"}
}

func jsonKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "an array"
	case reflect.Map, reflect.Struct:
		return "an object"
	case reflect.Float64:
		return "a number"
	default:
		return "an integer"
	}
}

// fieldNames are the JSON names of a struct's fields.
func fieldNames(t reflect.Type) []string {
	var names []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}
