package agenthost

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"unicode/utf8"
)

// statement is one header or assignment of a TOML document.
type statement struct {
	span // from its first byte to its last, without comment and line end

	header bool
	array  bool     // [[…]]
	path   []string // of a header its table, of an assignment table and key
	value  span     // of an assignment
}

// tomlScanner splits a document into statements. It checks no more than an
// edit needs to be sure where each begins and ends, and refuses the rest.
type tomlScanner struct {
	doc []byte
	at  int
}

// scanTOML lists the statements of a document in their order.
func scanTOML(doc []byte) ([]statement, error) {
	s := &tomlScanner{doc: doc}
	switch {
	case len(doc) > maxFile:
		return nil, &SyntaxError{1, "it is too large"}
	case !utf8.Valid(doc):
		return nil, &SyntaxError{1, "it is not UTF-8"}
	}
	var out []statement
	var table []string
	for {
		s.blank()
		if s.at >= len(doc) {
			return out, nil
		}
		st, err := s.statement(table)
		if err != nil {
			return nil, err
		}
		if st.header {
			table = st.path
		}
		out = append(out, st)
	}
}

func (s *tomlScanner) fail(problem string) error {
	at := min(s.at, len(s.doc))
	return &SyntaxError{bytes.Count(s.doc[:at], []byte("\n")) + 1, problem}
}

func (s *tomlScanner) peek() byte {
	if s.at < len(s.doc) {
		return s.doc[s.at]
	}
	return 0
}

// take skips a byte when it is the next one.
func (s *tomlScanner) take(c byte) bool {
	ok := s.at < len(s.doc) && s.doc[s.at] == c
	if ok {
		s.at++
	}
	return ok
}

// inline skips spaces and tabs.
func (s *tomlScanner) inline() {
	for s.peek() == ' ' || s.peek() == '\t' {
		s.at++
	}
}

// blank skips white space, line ends and comments.
func (s *tomlScanner) blank() {
	for s.at < len(s.doc) {
		switch s.doc[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		case '#':
			end := bytes.IndexByte(s.doc[s.at:], '\n')
			if end < 0 {
				s.at = len(s.doc)
				return
			}
			s.at += end
		default:
			return
		}
	}
}

// endLine makes sure that nothing else stands on the line.
func (s *tomlScanner) endLine() error {
	s.inline()
	s.take('\r')
	if c := s.peek(); s.at < len(s.doc) && c != '\n' && c != '#' {
		return s.fail("there is something behind the value")
	}
	return nil
}

func (s *tomlScanner) statement(table []string) (statement, error) {
	st := statement{span: span{start: s.at}}
	if s.take('[') {
		st.header, st.array = true, s.take('[')
		var err error
		if st.path, err = s.keys(); err != nil {
			return st, err
		}
		if !s.take(']') || st.array && !s.take(']') {
			return st, s.fail("the name of a table does not end")
		}
		st.end = s.at
		return st, s.endLine()
	}
	keys, err := s.keys()
	if err != nil {
		return st, err
	}
	if !s.take('=') {
		return st, s.fail("a '=' is expected")
	}
	s.inline()
	st.path = append(slices.Clone(table), keys...)
	st.value.start = s.at
	if err := s.value(0); err != nil {
		return st, err
	}
	st.value.end, st.end = s.at, s.at
	return st, s.endLine()
}

var bareKey = regexp.MustCompile(`^[A-Za-z0-9_-]+`)

// keys reads a dotted name and the blanks around it.
func (s *tomlScanner) keys() ([]string, error) {
	var out []string
	for {
		s.inline()
		start := s.at
		switch c := s.peek(); c {
		case '"', '\'':
			if err := s.quoted(c); err != nil {
				return nil, err
			}
			key, ok := tomlString(s.doc[start:s.at])
			if !ok {
				return nil, s.fail("a name is not valid")
			}
			out = append(out, key)
		default:
			key := bareKey.Find(s.doc[s.at:])
			if key == nil {
				return nil, s.fail("a name is expected")
			}
			s.at += len(key)
			out = append(out, string(key))
		}
		s.inline()
		if !s.take('.') {
			return out, nil
		}
	}
}

// quoted skips a string on one line.
func (s *tomlScanner) quoted(quote byte) error {
	for s.at++; s.at < len(s.doc); s.at++ {
		switch c := s.doc[s.at]; {
		case c == '\\' && quote == '"':
			s.at++
		case c == quote:
			s.at++
			return nil
		case c < ' ' && c != '\t':
			return s.fail("a string does not end on its line")
		}
	}
	return s.fail("a string does not end")
}

// multiline skips a string of several lines, which may hold quotes and end with
// up to two of them before its own three.
func (s *tomlScanner) multiline(quote byte) error {
	for s.at += 3; s.at < len(s.doc); s.at++ {
		switch c := s.doc[s.at]; {
		case c == '\\' && quote == '"':
			s.at++
		case c == quote && s.at+2 < len(s.doc) && s.doc[s.at+1] == quote && s.doc[s.at+2] == quote:
			s.at += 3
			for range 2 {
				s.take(quote)
			}
			return nil
		}
	}
	return s.fail("a string of several lines does not end")
}

// word is any value that needs no quotes: numbers, booleans, times.
var word = regexp.MustCompile(`^[A-Za-z0-9+_.:-]+(?: [0-9]{2}:[0-9]{2}[0-9:.A-Za-z+-]*)?`)

func (s *tomlScanner) value(depth int) error {
	if depth > maxDepth {
		return s.fail("it is nested too deep")
	}
	switch c := s.peek(); c {
	case '"', '\'':
		if rest := s.doc[s.at:]; len(rest) > 2 && rest[1] == c && rest[2] == c {
			return s.multiline(c)
		}
		return s.quoted(c)
	case '[':
		return s.items(']', func() error { return s.value(depth + 1) })
	case '{':
		return s.items('}', func() error {
			if _, err := s.keys(); err != nil {
				return err
			}
			if !s.take('=') {
				return s.fail("a '=' is expected")
			}
			s.inline()
			return s.value(depth + 1)
		})
	}
	found := word.Find(s.doc[s.at:])
	if found == nil {
		return s.fail("a value is expected")
	}
	s.at += len(found)
	return nil
}

// items reads what stands between brackets.
func (s *tomlScanner) items(end byte, item func() error) error {
	s.at++ // the opening bracket
	for more := true; ; {
		s.blank()
		if s.take(end) {
			return nil
		}
		if !more {
			return s.fail("a ',' is expected")
		}
		if err := item(); err != nil {
			return err
		}
		s.blank()
		more = s.take(',')
	}
}

// tomlString decodes a string on one line; false when it is none.
func tomlString(text []byte) (string, bool) {
	if len(text) < 2 || text[0] != text[len(text)-1] {
		return "", false
	}
	if bytes.HasPrefix(text, []byte("'''")) {
		return "", false
	}
	if text[0] == '\'' {
		return string(text[1 : len(text)-1]), true
	}
	// TOML's escapes are JSON's and a few that no path needs.
	var out string
	err := json.Unmarshal(text, &out)
	return out, err == nil && text[0] == '"'
}

// tomlStrings decodes an array of strings; false when it holds anything else.
func tomlStrings(text []byte) ([]string, bool) {
	s := &tomlScanner{doc: text}
	if s.peek() != '[' {
		return nil, false
	}
	out := []string{}
	err := s.items(']', func() error {
		start := s.at
		if err := s.value(1); err != nil {
			return err
		}
		one, ok := tomlString(text[start:s.at])
		if !ok {
			return s.fail("it is no string")
		}
		out = append(out, one)
		return nil
	})
	return out, err == nil && s.at == len(text)
}
