package tools

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"
)

// inputSchema describes T as arguments: closed, so that a misspelled argument is
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
	if err := onlyKnown("", raw, reflect.TypeFor[T]()); err != nil {
		return in, err
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return in, decodeError("", err)
	}
	return in, nil
}

// onlyKnown refuses a key that is no field, by its path. encoding/json would
// not say where it stands, and would take a key in another case for the field.
func onlyKnown(path string, raw json.RawMessage, t reflect.Type) error {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		return decodeError(path, err)
	}
	if object == nil && path == "" {
		return &argumentError{Problem: "the arguments must be one JSON object, not null"}
	}
	fields := fieldsOf(t)
	for _, key := range slices.Sorted(maps.Keys(object)) {
		at := slices.IndexFunc(fields, func(f field) bool { return f.name == key })
		if at < 0 {
			return &argumentError{Field: cleanLine(path+key, 100), Problem: "is not an argument of this tool", Allowed: names(path, fields)}
		}
		if err := knownBelow(path+key, object[key], fields[at].kind); err != nil {
			return err
		}
	}
	return nil
}

// knownBelow is onlyKnown for a value, or for each of a list.
func knownBelow(path string, raw json.RawMessage, t reflect.Type) error {
	if t.Kind() != reflect.Slice || t.Elem().Kind() != reflect.Struct {
		return onlyKnown(path+".", raw, t)
	}
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		return decodeError(path, err)
	}
	for i, item := range items {
		if err := onlyKnown(fmt.Sprintf("%s[%d].", path, i), item, t.Elem()); err != nil {
			return err
		}
	}
	return nil
}

// decodeError says in the caller's words what encoding/json found below path,
// which ends in "." unless it is empty.
func decodeError(path string, err error) error {
	var mismatch *json.UnmarshalTypeError
	if !errors.As(err, &mismatch) {
		return &argumentError{Problem: "the arguments must be one valid JSON object"}
	}
	name := strings.TrimSuffix(path+mismatch.Field, ".")
	if name == "" {
		return &argumentError{Problem: "the arguments must be one JSON object, not " + mismatch.Value}
	}
	return &argumentError{Field: name, Problem: fmt.Sprintf("must be %s, not %s", jsonKind(mismatch.Type), mismatch.Value)}
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

// field is a field of a struct as JSON sees it.
type field struct {
	name string
	kind reflect.Type
}

func fieldsOf(t reflect.Type) []field {
	var all []field
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		all = append(all, field{name: name, kind: f.Type})
	}
	return all
}

// names are the paths of fields below path.
func names(path string, fields []field) []string {
	var all []string
	for _, f := range fields {
		all = append(all, path+f.name)
	}
	return all
}
