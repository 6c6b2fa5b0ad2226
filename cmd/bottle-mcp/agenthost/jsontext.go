package agenthost

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// Bounds of a host's file. Claude Code's holds the history of every project.
const (
	maxFile  = 64 << 20
	maxDepth = 200
)

// SyntaxError is a file that is not what its host reads.
type SyntaxError struct {
	Line    int
	Problem string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Problem) }

// span is a part of a document.
type span struct{ start, end int }

// member is a name and its value in an object.
type member struct {
	name  string
	key   span
	value node
	comma int // where the comma behind it stands; -1 = there is none
}

// node is a value; members are those of an object.
type node struct {
	span

	object  bool
	members []member
	depth   int
}

// find gives the member of a name. Two of one name are an error: hosts do not
// agree which of them counts.
func (n *node) find(name string) (*member, error) {
	var found *member
	for i := range n.members {
		if n.members[i].name != name {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("%q is there twice: remove one of them", name)
		}
		found = &n.members[i]
	}
	return found, nil
}

// jsonParser reads a document and remembers where everything stands.
type jsonParser struct {
	doc      []byte
	comments bool // comments and commas at the end are accepted
	at       int
}

// parseJSON reads a whole document, whose value must be an object.
func parseJSON(doc []byte, comments bool) (*node, error) {
	p := &jsonParser{doc: doc, comments: comments}
	switch {
	case len(doc) > maxFile:
		return nil, fmt.Errorf("it is larger than %d bytes", maxFile)
	case !utf8.Valid(doc):
		return nil, &SyntaxError{1, "it is not UTF-8"}
	}
	root, err := p.document()
	if err != nil {
		return nil, err
	}
	return &root, nil
}

func (p *jsonParser) document() (node, error) {
	if p.comments && bytes.HasPrefix(p.doc, []byte("\xef\xbb\xbf")) {
		p.at = 3
	}
	if err := p.space(); err != nil {
		return node{}, err
	}
	if p.peek() != '{' {
		return node{}, p.fail("it must hold an object")
	}
	root, err := p.value(0)
	if err != nil {
		return node{}, err
	}
	if err := p.space(); err != nil {
		return node{}, err
	}
	if p.at < len(p.doc) {
		return node{}, p.fail("there is something behind the object")
	}
	return root, nil
}

func (p *jsonParser) fail(format string, args ...any) error {
	at := min(p.at, len(p.doc))
	return &SyntaxError{bytes.Count(p.doc[:at], []byte("\n")) + 1, fmt.Sprintf(format, args...)}
}

// peek is the next byte, 0 at the end.
func (p *jsonParser) peek() byte {
	if p.at < len(p.doc) {
		return p.doc[p.at]
	}
	return 0
}

// space skips what lies between tokens.
func (p *jsonParser) space() error {
	for p.at < len(p.doc) {
		switch p.doc[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		case '/':
			if err := p.comment(); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	return nil
}

func (p *jsonParser) comment() error {
	if !p.comments {
		return p.fail("there is a comment, which the program does not read")
	}
	rest := p.doc[p.at:]
	var length int
	switch {
	case bytes.HasPrefix(rest, []byte("//")):
		if length = bytes.IndexAny(rest, "\r\n"); length < 0 {
			length = len(rest)
		}
	case bytes.HasPrefix(rest, []byte("/*")):
		end := bytes.Index(rest[2:], []byte("*/"))
		if end < 0 {
			return p.fail("a comment does not end")
		}
		length = end + 4
	default:
		return p.fail("there is a '/' that begins nothing")
	}
	p.at += length
	return nil
}

func (p *jsonParser) value(depth int) (node, error) {
	n := node{span: span{start: p.at}, depth: depth}
	var err error
	switch c := p.peek(); {
	case depth > maxDepth:
		err = p.fail("it is nested more than %d times", maxDepth)
	case c == '{':
		n.object = true
		n.members, err = p.object(depth)
	case c == '[':
		err = p.array(depth)
	case c == '"':
		err = p.text()
	default:
		err = p.scalar()
	}
	n.end = p.at
	return n, err
}

// text skips a string.
func (p *jsonParser) text() error {
	start := p.at
	for p.at++; p.at < len(p.doc); p.at++ {
		switch c := p.doc[p.at]; {
		case c == '\\':
			p.at++
		case c == '"':
			p.at++
			if !json.Valid(p.doc[start:p.at]) {
				p.at = start
				return p.fail("a string is not valid")
			}
			return nil
		case c < ' ':
			return p.fail("a string does not end on its line")
		}
	}
	p.at = start
	return p.fail("a string does not end")
}

// scalar skips a number, true, false or null.
func (p *jsonParser) scalar() error {
	start := p.at
	for p.at < len(p.doc) && !bytes.ContainsRune([]byte(" \t\r\n,]}/"), rune(p.doc[p.at])) {
		p.at++
	}
	if word := p.doc[start:p.at]; !json.Valid(word) {
		p.at = start
		return p.fail("a value is expected, not %.20q", word)
	}
	return nil
}

func (p *jsonParser) array(depth int) error {
	return p.list(']', func() error {
		_, err := p.value(depth + 1)
		return err
	}, func(int) {})
}

func (p *jsonParser) object(depth int) ([]member, error) {
	var members []member
	err := p.list('}', func() error {
		m := member{key: span{start: p.at}, comma: -1}
		if p.peek() != '"' {
			return p.fail("the name of a member is expected")
		}
		if err := p.text(); err != nil {
			return err
		}
		m.key.end = p.at
		if err := json.Unmarshal(p.doc[m.key.start:m.key.end], &m.name); err != nil {
			return p.fail("a name is not valid: %v", err)
		}
		if err := p.space(); err != nil {
			return err
		}
		if p.peek() != ':' {
			return p.fail("a ':' is expected")
		}
		p.at++
		err := p.space()
		if err != nil {
			return err
		}
		m.value, err = p.value(depth + 1)
		members = append(members, m)
		return err
	}, func(comma int) { members[len(members)-1].comma = comma })
	return members, err
}

// list reads what stands between brackets, item by item.
func (p *jsonParser) list(end byte, item func() error, comma func(at int)) error {
	p.at++ // the opening bracket
	for first, more := true, true; ; first = false {
		if err := p.space(); err != nil {
			return err
		}
		if p.peek() == end && (first || !more || p.comments) {
			p.at++
			return nil
		}
		if !more {
			return p.fail("a ',' or %q is expected", string(end))
		}
		if err := item(); err != nil {
			return err
		}
		if err := p.space(); err != nil {
			return err
		}
		if more = p.peek() == ','; more {
			comma(p.at)
			p.at++
		}
	}
}
