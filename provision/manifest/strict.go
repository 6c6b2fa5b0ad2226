package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"unicode"

	"go.yaml.in/yaml/v4"
)

// Node is a value in a YAML file that is read as strictly as manifests are. Its
// methods note every problem with file, line and key, and go on.
type Node struct {
	p *parser
	a at
}

// ReadOwn reads a file of the operator's, whole. The file and dirs, which lead
// to it, must be such that nobody else could have written them.
func ReadOwn(file string, dirs ...string) ([]byte, error) {
	for _, dir := range dirs {
		if err := trustedDir(dir); err != nil {
			return nil, err
		}
	}
	s := own(file)
	f, err := s.open(os.O_RDONLY | syscall.O_NONBLOCK | syscall.O_NOCTTY)
	if err != nil {
		return nil, s.missing(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, unreadable(file, err)
	}
	if err := s.accept(info); err != nil {
		var e *Error
		if errors.As(err, &e) && !info.Mode().IsRegular() {
			e.Hint = "put a file there"
		}
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, unreadable(file, err)
	case len(data) > maxFile:
		return nil, tooLarge(file)
	}
	return data, nil
}

// ParseYAML reads one mapping: no duplicate or unknown keys, no aliases, anchors
// and tags, no tabs. The error is Errors or one *Error.
func ParseYAML(file string, data []byte, read func(Node)) error {
	if err := checkYAML(file, data); err != nil {
		return err
	}
	p := newParser(file)
	if blank(data) {
		return &Error{File: file, Problem: "it is empty", Hint: `write "key: value" lines`}
	}
	var doc yaml.Node
	if err := yaml.Load(data, &doc); err != nil {
		e := p.syntax(err)
		e.Line = max(1, e.Line-1)
		if e.Hint == syntaxHint("multiple") {
			e.Hint = "write one document"
		}
		return e
	}
	raise(doc.Content[0])
	root := at{"", doc.Content[0]}
	if !plain(root.node, 0) {
		p.checkTree(root, 0)
	}
	switch {
	case len(p.problems) > 0:
	case root.node.Kind != yaml.MappingNode:
		p.fail(root, "the file must be a mapping of keys to values", `write "key: value" lines`)
	default:
		read(Node{p, root})
	}
	return p.result()
}

// raise makes up for the line that front matter begins behind.
func raise(n *yaml.Node) {
	n.Line--
	for _, child := range n.Content {
		raise(child)
	}
}

// checkYAML refuses what YAML allows but people misread.
func checkYAML(file string, data []byte) error {
	if err := checkBytes(file, data); err != nil {
		return err
	}
	if len(data) > maxFront {
		return &Error{File: file, Problem: fmt.Sprintf("it is larger than %d bytes", maxFront), Hint: "shorten it"}
	}
	for i, line := range bytes.Split(data, []byte("\n")) {
		line = bytes.TrimSuffix(line, []byte("\r"))
		switch {
		case bytes.IndexByte(line, '\t') >= 0:
			return &Error{File: file, Line: i + 1, Problem: "there is a tab", Hint: `indent with spaces; in a value write "\t" in double quotes`}
		case bytes.HasPrefix(line, []byte("%")):
			return &Error{File: file, Line: i + 1, Problem: "YAML directives are not accepted", Hint: "remove the line"}
		case bytes.ContainsFunc(line, unicode.IsControl):
			return &Error{File: file, Line: i + 1, Problem: "there is a control character", Hint: "remove it"}
		}
	}
	return nil
}

// Fail notes a problem. What may be a credential is not repeated.
func (n Node) Fail(problem, hint string) { n.p.fail(n.a, problem, hint) }

// Clean reports whether read noted no problem.
func (n Node) Clean(read func()) bool {
	return n.p.clean(func() bool { read(); return true })
}

// Mapping reads a mapping by its keys and reports false when it is none. Keys
// that are refused come with what to do instead.
func (n Node) Mapping(read map[string]func(Node), refused map[string]string) bool {
	k := keys{read: make(map[string]func(at), len(read)), refused: refused}
	for name, f := range read {
		k.read[name] = func(a at) { f(Node{n.p, a}) }
	}
	return n.p.mapping(n.a, k)
}

// Named calls each for every entry of a mapping whose keys its author chose.
func (n Node) Named(most int, want string, each func(name string, key, value Node)) {
	n.p.named(n.a, most, want, func(name, value at) { each(name.node.Value, Node{n.p, name}, Node{n.p, value}) })
}

// List calls each for every item of a list that is not empty.
func (n Node) List(most int, without string, each func(Node)) {
	if n.p.filled(n.a, without) {
		n.p.list(n.a, most, func(a at) { each(Node{n.p, a}) })
	}
}

// Str reads a string that is not empty.
func (n Node) Str() (string, bool) { return n.p.str(n.a) }

// Line reads one line of text for people.
func (n Node) Line(most int) string { return n.p.line(n.a, most) }

// Choice reads one of few words; "" when it is none of them.
func (n Node) Choice(allowed ...string) string { return n.p.choice(n.a, allowed...) }

// Image reads the name of an OCI image.
func (n Node) Image() string { return n.p.image(n.a) }

// Route reads a route, as under egress.routes.
func (n Node) Route() (Route, bool) { return n.p.route(n.a) }

// Tree reads structured data: mappings, lists, strings, whole numbers and
// booleans, as map[string]any, []any, string, int64 and bool. It reports false
// when it noted a problem.
func (n Node) Tree() (any, bool) {
	before := len(n.p.problems)
	v := n.p.tree(n.a)
	return v, len(n.p.problems) == before
}

func (p *parser) tree(a at) any {
	switch a.node.Kind {
	case yaml.MappingNode:
		out := make(map[string]any, len(a.node.Content)/2)
		for i := 0; i+1 < len(a.node.Content); i += 2 {
			name := a.node.Content[i].Value
			out[name] = p.tree(a.child(name, a.node.Content[i+1]))
		}
		return out
	case yaml.SequenceNode:
		out := make([]any, len(a.node.Content))
		for i := range a.node.Content {
			out[i] = p.tree(a.item(i))
		}
		return out
	}
	switch a.node.ShortTag() {
	case "!!str":
		return a.node.Value
	case "!!bool":
		return p.boolean(a)
	case "!!int":
		const most = 1 << 53 // what every JSON reader knows exactly
		if v, ok := p.integer(a, -most, most); ok {
			return v
		}
	default:
		p.wrongType(a, "text, a whole number, true or false, a list or a mapping")
	}
	return nil
}

// LooksSecret reports whether text may hold a credential.
func LooksSecret(text string) bool {
	return vendorToken.MatchString(text) || hexToken.MatchString(text)
}

// Suggest begins a hint with the word that was probably meant, and lists the
// known ones.
func Suggest(word, kind string, known []string) string {
	return suggestion(word, known) + "known " + kind + "s: " + listed(known)
}
