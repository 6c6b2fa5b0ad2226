package server

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// maxProblems bounds the text of one refusal: past it, more help no model.
const maxProblems = 20

// argumentProblems says what is wrong with arguments, one clause a problem,
// each naming the argument. It is empty when the schema holds.
func argumentProblems(schema *jsonschema.Schema, value any) []string {
	err := schema.Validate(value)
	if err == nil {
		return nil
	}
	var failed *jsonschema.ValidationError
	if !errors.As(err, &failed) {
		return []string{"the arguments cannot be checked: " + err.Error()}
	}
	found := leafProblems(schema, failed)
	slices.Sort(found)
	found = slices.Compact(found)
	if more := len(found) - maxProblems; more > 0 {
		found = append(found[:maxProblems], fmt.Sprintf("and %d more problems", more))
	}
	return found
}

// leafProblems walks the error tree. Alternatives are one problem that lists
// what each of them wants; everything else is the sum of its causes.
func leafProblems(root *jsonschema.Schema, e *jsonschema.ValidationError) []string {
	switch e.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf:
		if len(e.Causes) > 0 {
			return alternatives(root, e)
		}
	}
	if len(e.Causes) == 0 {
		return describe(root, e)
	}
	var all []string
	for _, cause := range e.Causes {
		all = append(all, leafProblems(root, cause)...)
	}
	return all
}

// alternatives gives the problems of each branch. A branch that fails only by
// the value's type is left out when another fails deeper: the caller meant
// that one.
func alternatives(root *jsonschema.Schema, e *jsonschema.ValidationError) []string {
	var deep, shallow []string
	for _, cause := range e.Causes {
		text := strings.Join(leafProblems(root, cause), " and ")
		if onlyType(cause, len(e.InstanceLocation)) {
			shallow = append(shallow, text)
		} else {
			deep = append(deep, text)
		}
	}
	if len(deep) == 0 {
		deep = shallow
	}
	slices.Sort(deep)
	return []string{strings.Join(slices.Compact(deep), ", or ")}
}

func onlyType(e *jsonschema.ValidationError, depth int) bool {
	if _, ok := e.ErrorKind.(*kind.Type); ok {
		return len(e.InstanceLocation) == depth
	}
	return len(e.Causes) > 0 && !slices.ContainsFunc(e.Causes, func(c *jsonschema.ValidationError) bool { return !onlyType(c, depth) })
}

// subject names the value at a location: argument "argv[0]".
func subject(location []string) string {
	if len(location) == 0 {
		return "the arguments"
	}
	return fmt.Sprintf("argument %q", clip(joinPath(location)))
}

func joinPath(location []string) string {
	var b strings.Builder
	for i, part := range location {
		switch {
		case isIndex(part) && i > 0:
			b.WriteString("[" + part + "]")
		case i > 0:
			b.WriteString("." + part)
		default:
			b.WriteString(part)
		}
	}
	return b.String()
}

func isIndex(part string) bool {
	return part != "" && strings.Trim(part, "0123456789") == ""
}

// clip bounds what a refusal repeats of the caller's own bytes.
func clip(text string) string {
	const limit = 80
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}

// schemaAt finds the schema of a location, nil where none is plain: then the
// refusal does without its list of allowed names.
func schemaAt(root *jsonschema.Schema, location []string) *jsonschema.Schema {
	at := root
	for _, part := range location {
		for at != nil && at.Ref != nil {
			at = at.Ref
		}
		if at == nil {
			return nil
		}
		if next := at.Properties[part]; next != nil {
			at = next
		} else if items := itemSchema(at); items != nil && isIndex(part) {
			at = items
		} else {
			at, _ = at.AdditionalProperties.(*jsonschema.Schema)
		}
	}
	return at
}

func itemSchema(s *jsonschema.Schema) *jsonschema.Schema {
	if s.Items2020 != nil {
		return s.Items2020
	}
	items, _ := s.Items.(*jsonschema.Schema)
	return items
}
