package schema

import (
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/invopop/jsonschema"
)

// Kinds are the kinds of files that Of knows.
func Kinds() []string { return []string{"bottle", "agent"} }

// Of gives the schema of the front matter of one kind of file, as JSON.
func Of(kind string) ([]byte, error) {
	s := reflected(kind)
	if s == nil {
		return nil, fmt.Errorf("there is no schema of a %.40q; choose one of %q", kind, Kinds())
	}
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("schema of a %s: %w", kind, err)
	}
	return append(out, '\n'), nil
}

// reflected makes one self-contained object, closed like the loader: editors
// then underline a misspelled key. It is nil for a kind that is not known.
func reflected(kind string) *jsonschema.Schema {
	of := map[string]reflect.Type{"bottle": reflect.TypeFor[bottle](), "agent": reflect.TypeFor[agent]()}[kind]
	if of == nil {
		return nil
	}
	r := jsonschema.Reflector{ExpandedStruct: true, Anonymous: true, DoNotReference: true}
	s := r.ReflectFromType(of)
	s.Title = "bottle-mcp " + kind
	s.Description = "Front matter of a " + kind + " manifest of bottle-mcp"
	return s
}
