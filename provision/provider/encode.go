package provider

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// encodeJSON writes structured data for people to read.
func encodeJSON(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// encodeTOML writes a mapping as TOML 1.0. Lists may hold single values only,
// which checkTOML has seen to.
func encodeTOML(table map[string]any) []byte {
	var out bytes.Buffer
	writeTable(&out, nil, table)
	return out.Bytes()
}

// writeTable writes the table's own values first: what follows a header belongs
// to it.
func writeTable(out *bytes.Buffer, path []string, table map[string]any) {
	names := slices.Sorted(maps.Keys(table))
	var inner []string
	values := 0
	for _, name := range names {
		if _, ok := table[name].(map[string]any); ok {
			inner = append(inner, name)
		} else {
			values++
		}
	}
	if len(path) > 0 && (values > 0 || len(inner) == 0) {
		if out.Len() > 0 {
			out.WriteByte('\n')
		}
		fmt.Fprintf(out, "[%s]\n", strings.Join(path, "."))
	}
	for _, name := range names {
		if _, ok := table[name].(map[string]any); !ok {
			fmt.Fprintf(out, "%s = %s\n", tomlKey(name), tomlValue(table[name]))
		}
	}
	for _, name := range inner {
		if t, ok := table[name].(map[string]any); ok {
			writeTable(out, append(slices.Clone(path), tomlKey(name)), t)
		}
	}
}

var bareKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func tomlKey(name string) string {
	if bareKey.MatchString(name) {
		return name
	}
	return tomlString(name)
}

func tomlValue(v any) string {
	switch x := v.(type) {
	case bool:
		return strconv.FormatBool(x)
	case int64:
		return strconv.FormatInt(x, 10)
	case []any:
		items := make([]string, len(x))
		for i, item := range x {
			items[i] = tomlValue(item)
		}
		return "[" + strings.Join(items, ", ") + "]"
	default:
		return tomlString(fmt.Sprint(v))
	}
}

// tomlString is a basic string. What is not UTF-8 becomes the replacement
// character, since TOML cannot hold it.
func tomlString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		case r == utf8.RuneError:
			b.WriteString("\uFFFD")
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// checkTOML reports what of structured data TOML cannot say.
func checkTOML(v any) error {
	switch x := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(x)) {
			if err := checkTOML(x[name]); err != nil {
				return fmt.Errorf("%.60q: %w", name, err)
			}
		}
	case []any:
		for _, item := range x {
			switch item.(type) {
			case []any, map[string]any:
				return fmt.Errorf("a list may hold only single values here")
			}
		}
	}
	return nil
}

// merge lays one mapping into another, key by key. It reports the first key
// that both have.
func merge(base, top map[string]any) (map[string]any, error) {
	out := maps.Clone(base)
	for _, name := range slices.Sorted(maps.Keys(top)) {
		old, both := out[name]
		a, isA := old.(map[string]any)
		b, isB := top[name].(map[string]any)
		switch {
		case !both:
			out[name] = top[name]
		case isA && isB:
			inner, err := merge(a, b)
			if err != nil {
				return nil, fmt.Errorf("%.60q: %w", name, err)
			}
			out[name] = inner
		default:
			return nil, fmt.Errorf("%.60q stands twice", name)
		}
	}
	return out, nil
}
