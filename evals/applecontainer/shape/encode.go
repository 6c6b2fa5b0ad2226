package shape

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Compact encodes v as list-like commands print it: one line and a newline.
func Compact(v any) ([]byte, error) {
	tree, err := generic(v)
	if err != nil {
		return nil, err
	}
	text, err := plain(tree)
	if err != nil {
		return nil, err
	}
	return append(text, '\n'), nil
}

// Indented encodes v as every inspect prints it. The layout is that of Swift's
// encoder: a space on both sides of the colon, and a blank line within what is
// empty, which a reader of lines rather than JSON trips over.
func Indented(v any) ([]byte, error) {
	tree, err := generic(v)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := indent(&out, tree, ""); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// Date is a time as the program writes it: UTC without a fraction.
func Date(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// generic turns v into maps, slices and scalars, so that keys come out sorted.
func generic(v any) (any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("shape: %T cannot be encoded: %w", v, err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return nil, fmt.Errorf("shape: %T does not survive encoding: %w", v, err)
	}
	return tree, nil
}

// plain is JSON on one line without Go's escapes for HTML and with Swift's for
// slashes, which occur in strings only.
func plain(tree any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(tree); err != nil {
		return nil, fmt.Errorf("shape: encode: %w", err)
	}
	return bytes.ReplaceAll(bytes.TrimRight(out.Bytes(), "\n"), []byte("/"), []byte(`\/`)), nil
}

func indent(out *bytes.Buffer, tree any, prefix string) error {
	switch node := tree.(type) {
	case map[string]any:
		keys := make([]string, 0, len(node))
		for key := range node {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		return block(out, blockOf{open: '{', end: '}', prefix: prefix, n: len(keys)}, func(i int, inner string) error {
			name, err := plain(keys[i])
			if err != nil {
				return err
			}
			out.Write(name)
			out.WriteString(" : ")
			return indent(out, node[keys[i]], inner)
		})
	case []any:
		return block(out, blockOf{open: '[', end: ']', prefix: prefix, n: len(node)}, func(i int, inner string) error {
			return indent(out, node[i], inner)
		})
	default:
		text, err := plain(node)
		out.Write(text)
		return err
	}
}

type blockOf struct {
	open, end byte
	prefix    string
	n         int
}

func block(out *bytes.Buffer, b blockOf, item func(i int, inner string) error) error {
	inner := b.prefix + "  "
	out.WriteByte(b.open)
	out.WriteByte('\n')
	for i := range b.n {
		out.WriteString(inner)
		if err := item(i, inner); err != nil {
			return err
		}
		if i < b.n-1 {
			out.WriteByte(',')
		}
		out.WriteByte('\n')
	}
	if b.n == 0 {
		out.WriteByte('\n')
	}
	out.WriteString(b.prefix)
	out.WriteByte(b.end)
	return nil
}

// Table lays rows out in columns as --format table does.
func Table(rows [][]string) []byte {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len(cell))
		}
	}
	var out strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			fmt.Fprintf(&line, "%-*s", widths[i]+2, cell)
		}
		out.WriteString(strings.TrimRight(line.String(), " "))
		out.WriteByte('\n')
	}
	return []byte(out.String())
}
