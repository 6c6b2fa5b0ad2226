package agenthost

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
)

// jsonEdit changes a document member by member and leaves the rest as it is.
type jsonEdit struct {
	doc      []byte
	comments bool
	unit     string // one level of indentation
	newline  string
}

func newJSONEdit(doc []byte, comments bool) (*jsonEdit, error) {
	if len(bytes.TrimSpace(doc)) == 0 {
		doc = []byte("{}\n")
	}
	root, err := parseJSON(doc, comments)
	if err != nil {
		return nil, err
	}
	e := &jsonEdit{doc: doc, comments: comments, unit: "  ", newline: newlineOf(doc)}
	if len(root.members) > 0 {
		start := root.members[0].key.start
		line := doc[bytes.LastIndexByte(doc[:start], '\n')+1 : start]
		if len(line) > 0 && len(line) <= 8 && len(bytes.Trim(line, " \t")) == 0 {
			e.unit = string(line)
		}
	}
	return e, nil
}

// newlineOf is how a document ends its lines.
func newlineOf(doc []byte) string {
	if bytes.Contains(doc, []byte("\r\n")) {
		return "\r\n"
	}
	return "\n"
}

// lookup follows a path of names. It gives the deepest object on the way and
// what of the path is missing below it; with nothing missing, the member.
func (e *jsonEdit) lookup(path []string) (parent *node, m *member, missing []string, err error) {
	if parent, err = parseJSON(e.doc, e.comments); err != nil {
		return nil, nil, nil, err
	}
	for i, name := range path {
		if m, err = parent.find(name); err != nil || m == nil {
			return parent, nil, path[i:], err
		}
		if i == len(path)-1 {
			break
		}
		if !m.value.object {
			return nil, nil, nil, errors.New(quote(name) + " is not an object: correct it, or remove it")
		}
		parent = &m.value
	}
	return parent, m, nil, nil
}

// set gives the member of a path a value and makes what is missing on the way.
func (e *jsonEdit) set(path []string, value any) error {
	parent, m, missing, err := e.lookup(path)
	if err != nil {
		return err
	}
	if m != nil {
		e.splice(m.value.span, e.render(value, parent.depth+1))
		return nil
	}
	for _, name := range slices.Backward(missing[1:]) {
		value = []field{{name, value}}
	}
	e.insert(parent, quote(missing[0])+": "+e.render(value, parent.depth+1))
	return nil
}

// splice replaces a part of the document.
func (e *jsonEdit) splice(s span, text string) {
	e.doc = slices.Concat(e.doc[:s.start], []byte(text), e.doc[s.end:])
}

// insert adds a member behind all others, and behind their comments.
func (e *jsonEdit) insert(parent *node, text string) {
	closing := parent.end - 1
	gap := e.doc[parent.start:closing]
	behind := parent.start + len(bytes.TrimRight(gap, " \t\r\n"))
	text = e.newline + e.indent(parent.depth+1) + text
	if !bytes.ContainsRune(e.doc[behind:closing], '\n') {
		text += e.newline + e.indent(parent.depth)
		behind = closing
	}
	e.splice(span{behind, behind}, text)
	if n := len(parent.members); n > 0 && parent.members[n-1].comma < 0 {
		end := parent.members[n-1].value.end
		e.splice(span{end, end}, ",")
	}
}

// remove takes the member of a path away; false means that there is none.
func (e *jsonEdit) remove(path []string) (bool, error) {
	parent, m, _, err := e.lookup(path)
	if err != nil || m == nil {
		return false, err
	}
	size := len(e.doc)
	i := slices.IndexFunc(parent.members, func(o member) bool { return o.key == m.key })
	cut := span{m.key.start, m.value.end}
	between := span{m.value.end, m.value.end} // up to the comma, maybe with a comment
	if m.comma >= 0 {
		between.end = m.comma + 1
		if len(bytes.TrimSpace(e.doc[between.start:m.comma])) == 0 {
			cut.end = between.end
			between.start = between.end
		}
	}
	// White space in front goes too, unless a comment stands there: the line
	// that ends it must stay.
	before := e.doc[parent.start:cut.start]
	trimmed := len(bytes.TrimRight(before, " \t\r\n"))
	if last := before[trimmed-1]; last == '{' && trimmed == 1 || last == ',' && i > 0 && parent.start+trimmed-1 == parent.members[i-1].comma {
		cut.start = parent.start + trimmed
	}
	if between.start < between.end { // a comment stays, its comma goes
		e.splice(span{m.comma, m.comma + 1}, "")
	}
	e.splice(cut, "")
	if last := i == len(parent.members)-1; last && m.comma < 0 && i > 0 {
		comma := parent.members[i-1].comma
		e.splice(span{comma, comma + 1}, "")
	}
	inside := span{parent.start + 1, parent.end - 1 - (size - len(e.doc))}
	if len(bytes.TrimSpace(e.doc[inside.start:inside.end])) == 0 {
		e.splice(inside, "")
	}
	return true, nil
}

func (e *jsonEdit) indent(depth int) string { return strings.Repeat(e.unit, depth) }

// render writes a value whose first line stands at a depth.
func (e *jsonEdit) render(value any, depth int) string {
	switch v := value.(type) {
	case []field:
		if len(v) == 0 {
			return "{}"
		}
		parts := make([]string, len(v))
		for i, f := range v {
			parts[i] = e.indent(depth+1) + quote(f.name) + ": " + e.render(f.value, depth+1)
		}
		return "{" + e.newline + strings.Join(parts, ","+e.newline) + e.newline + e.indent(depth) + "}"
	case []string:
		return quoteList(v)
	case string:
		return quote(v)
	}
	return "null"
}

// decode gives a part of a document as data.
func decode(doc []byte, s span, comments bool, into any) error {
	text := doc[s.start:s.end]
	if comments {
		text = standard(text)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	return decoder.Decode(into)
}

// standard blanks comments and the commas that JSON does not know. Its input
// was parsed before.
func standard(doc []byte) []byte {
	out := bytes.Clone(doc)
	p := &jsonParser{doc: doc, comments: true}
	comma := -1 // the last one, while nothing has followed it
	for p.at < len(doc) {
		start := p.at
		switch c := doc[p.at]; c {
		case '/':
			if p.comment() != nil {
				return out
			}
			for i := start; i < p.at; i++ {
				out[i] = ' '
			}
			continue
		case '"':
			if p.text() != nil {
				return out
			}
			comma = -1
			continue
		case ',':
			comma = p.at
		case '}', ']':
			if comma >= 0 {
				out[comma] = ' '
			}
			comma = -1
		case ' ', '\t', '\r', '\n':
		default:
			comma = -1
		}
		p.at++
	}
	return out
}

// errForeign is the refusal of an edit that would change more than it should.
var errForeign = errors.New("the edit would have changed something else in the file, so nothing was written: edit it by hand")

// onlyEntry proves that two documents differ in nothing but one entry, and that
// an object of entries may have come into being.
func onlyEntry(before, after []byte, h Host, name string) error {
	var docs [2]map[string]any
	for i, doc := range [][]byte{before, after} {
		root, err := parseJSON(doc, h.comments)
		if err != nil {
			return errors.Join(errForeign, err)
		}
		if err := decode(doc, root.span, h.comments, &docs[i]); err != nil {
			return errors.Join(errForeign, err)
		}
		servers, ok := docs[i][h.key].(map[string]any)
		if !ok {
			continue
		}
		delete(servers, name)
		if len(servers) == 0 {
			delete(docs[i], h.key)
		}
	}
	if !reflect.DeepEqual(docs[0], docs[1]) {
		return errForeign
	}
	return nil
}
