package server

import (
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// describe says one failed keyword in words for a model.
func describe(root *jsonschema.Schema, e *jsonschema.ValidationError) []string {
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		return unknownArguments(root, e.InstanceLocation, k.Properties)
	case *kind.Required:
		return missingArguments(root, e.InstanceLocation, k.Missing)
	}
	return []string{subject(e.InstanceLocation) + " " + predicate(e.ErrorKind)}
}

func unknownArguments(root *jsonschema.Schema, at []string, names []string) []string {
	allowed := ""
	if s := schemaAt(root, at); s != nil && len(s.Properties) > 0 {
		known := make([]string, 0, len(s.Properties))
		for name := range s.Properties {
			known = append(known, name)
		}
		slices.Sort(known)
		allowed = "; allowed: " + strings.Join(known, ", ")
	}
	var out []string
	for _, name := range names {
		path := slices.Concat(at, []string{name})
		out = append(out, fmt.Sprintf("unknown argument %q%s", clip(joinPath(path)), allowed))
	}
	return out
}

func missingArguments(root *jsonschema.Schema, at []string, names []string) []string {
	var out []string
	for _, name := range names {
		path := slices.Concat(at, []string{name})
		text := fmt.Sprintf("missing argument %q", joinPath(path))
		if s := schemaAt(root, path); s != nil && s.Types != nil {
			text += " (" + article(s.Types.ToStrings()) + ")"
		}
		out = append(out, text)
	}
	return out
}

// predicate continues a subject: `must be …`.
func predicate(failed jsonschema.ErrorKind) string {
	switch k := failed.(type) {
	case *kind.Type:
		return fmt.Sprintf("must be %s, not %s", article(k.Want), article([]string{k.Got}))
	case *kind.Enum:
		return fmt.Sprintf("must be one of %s, not %s", values(k.Want), value(k.Got))
	case *kind.Const:
		return fmt.Sprintf("must be %s, not %s", value(k.Want), value(k.Got))
	case *kind.Pattern:
		return fmt.Sprintf("must match the pattern %s, not %s", k.Want, value(k.Got))
	case *kind.Format:
		return fmt.Sprintf("must be a valid %s, not %s", k.Want, value(k.Got))
	case *kind.DependentRequired:
		return fmt.Sprintf("must also hold %s when %q is given", strings.Join(k.Missing, ", "), k.Prop)
	case *kind.PropertyNames:
		return fmt.Sprintf("must not hold the name %q", clip(k.Property))
	case *kind.UniqueItems:
		return fmt.Sprintf("must not repeat items: %d and %d are equal", k.Duplicates[0], k.Duplicates[1])
	case *kind.Not, *kind.FalseSchema:
		return "is not allowed here"
	}
	if text, ok := numberPredicate(failed); ok {
		return text
	}
	if text, ok := sizePredicate(failed); ok {
		return text
	}
	return "does not hold to the schema's " + strings.Join(failed.KeywordPath(), " ")
}

func numberPredicate(failed jsonschema.ErrorKind) (string, bool) {
	switch k := failed.(type) {
	case *kind.Minimum:
		return fmt.Sprintf("must be at least %s, not %s", number(k.Want), number(k.Got)), true
	case *kind.Maximum:
		return fmt.Sprintf("must be at most %s, not %s", number(k.Want), number(k.Got)), true
	case *kind.ExclusiveMinimum:
		return fmt.Sprintf("must be more than %s, not %s", number(k.Want), number(k.Got)), true
	case *kind.ExclusiveMaximum:
		return fmt.Sprintf("must be less than %s, not %s", number(k.Want), number(k.Got)), true
	case *kind.MultipleOf:
		return fmt.Sprintf("must be a multiple of %s, not %s", number(k.Want), number(k.Got)), true
	}
	return "", false
}

func sizePredicate(failed jsonschema.ErrorKind) (string, bool) {
	switch k := failed.(type) {
	case *kind.MinLength:
		return fmt.Sprintf("must be at least %d characters long, not %d", k.Want, k.Got), true
	case *kind.MaxLength:
		return fmt.Sprintf("must be at most %d characters long, not %d", k.Want, k.Got), true
	case *kind.MinItems:
		return fmt.Sprintf("must hold at least %d items, not %d", k.Want, k.Got), true
	case *kind.MaxItems:
		return fmt.Sprintf("must hold at most %d items, not %d", k.Want, k.Got), true
	case *kind.MinProperties:
		return fmt.Sprintf("must hold at least %d names, not %d", k.Want, k.Got), true
	case *kind.MaxProperties:
		return fmt.Sprintf("must hold at most %d names, not %d", k.Want, k.Got), true
	}
	return "", false
}

// article names JSON types as prose does.
func article(types []string) string {
	words := make([]string, 0, len(types))
	for _, t := range types {
		switch t {
		case "boolean":
			words = append(words, "true or false")
		case "null":
			words = append(words, "null")
		case "integer", "array", "object":
			words = append(words, "an "+t)
		default:
			words = append(words, "a "+t)
		}
	}
	return strings.Join(words, " or ")
}

func values(list []any) string {
	words := make([]string, 0, len(list))
	for _, v := range list {
		words = append(words, value(v))
	}
	return strings.Join(words, ", ")
}

func value(v any) string {
	if text, ok := v.(string); ok {
		return fmt.Sprintf("%q", clip(text))
	}
	return clip(fmt.Sprint(v))
}

// number spells a rational the way JSON would where it can.
func number(r *big.Rat) string {
	if r.IsInt() {
		return clip(r.Num().String())
	}
	f, _ := r.Float64()
	return fmt.Sprint(f)
}
