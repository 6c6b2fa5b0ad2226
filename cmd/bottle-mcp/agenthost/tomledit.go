package agenthost

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// toolTimeout is what a new entry gives a call: Codex's own minute ends a build
// that takes longer.
const toolTimeout = "tool_timeout_sec = 600"

// tomlTable is an entry: its header, its assignments, and the tables below it.
type tomlTable struct {
	header statement
	own    []statement
	all    []statement // header, own and what is below
}

// errInline is an entry, or the table of entries, in a form that is not edited.
func errInline(path []string) error {
	return fmt.Errorf("%s is not written as a table of its own, [%s]: edit it by hand", strings.Join(path, "."), strings.Join(path, "."))
}

// findTable gathers what a document says of a table; nil when it says nothing.
func findTable(statements []statement, path []string) (*tomlTable, error) {
	var t *tomlTable
	inside := false
	for _, st := range statements {
		below := hasPrefix(st.path, path)
		if st.header {
			inside = below
		}
		switch {
		// [[mcp_servers]] and mcp_servers = … leave no room for a table.
		case hasPrefix(path, st.path) && len(st.path) < len(path) && (st.array || !st.header):
			return nil, errInline(path)
		case !below:
			continue
		case !inside || st.header && st.array && len(st.path) == len(path):
			return nil, errInline(path)
		case st.header && len(st.path) == len(path):
			if t != nil {
				return nil, errors.New("the table [" + strings.Join(path, ".") + "] is there twice, or behind one below it: edit it by hand")
			}
			t = &tomlTable{header: st}
		case t == nil:
			return nil, errInline(path)
		case !st.header && len(st.path) == len(path)+1:
			t.own = append(t.own, st)
		}
		t.all = append(t.all, st)
	}
	return t, nil
}

func hasPrefix(path, prefix []string) bool {
	return len(path) >= len(prefix) && slices.Equal(path[:len(prefix)], prefix)
}

// get gives an assignment of the table itself.
func (t *tomlTable) get(key string) *statement {
	for i := range t.own {
		if t.own[i].path[len(t.own[i].path)-1] == key {
			return &t.own[i]
		}
	}
	return nil
}

// entry is what the table says of how the server is started.
func (t *tomlTable) entry(doc []byte, name string) Entry {
	e := Entry{Name: name}
	if st := t.get("command"); st != nil {
		e.Command, _ = tomlString(doc[st.value.start:st.value.end])
	}
	if st := t.get("args"); st != nil {
		e.Args, _ = tomlStrings(doc[st.value.start:st.value.end])
	}
	return e
}

func installTOML(doc []byte, h Host, s Server, force bool) ([]byte, Change, error) {
	path := []string{h.key, s.Name}
	statements, err := scanTOML(doc)
	if err != nil {
		return nil, "", err
	}
	t, err := findTable(statements, path)
	if err != nil {
		return nil, "", err
	}
	switch {
	case t == nil:
		out := appendTable(doc, newTable(path, s))
		return out, Added, sameBut(doc, out, path)
	case t.entry(doc, s.Name).Ours():
		out, err := refreshTable(doc, t, s)
		switch {
		case err != nil:
			return nil, "", err
		case bytes.Equal(out, doc):
			return doc, Unchanged, nil
		}
		return out, Updated, sameBut(doc, out, path)
	case !force:
		return nil, "", taken(t.entry(doc, s.Name))
	}
	out := appendTable(cutTable(doc, t), newTable(path, s))
	return out, Replaced, sameBut(doc, out, path)
}

// newTable writes the table of a new entry.
func newTable(path []string, s Server) string {
	lines := []string{
		"[" + strings.Join(path, ".") + "]",
		"command = " + quote(s.Command),
		"args = " + quoteList(s.Args),
	}
	if len(s.Env) > 0 {
		lines = append(lines, "env_vars = "+quoteList(slices.Compact(slices.Sorted(slices.Values(s.Env)))))
	}
	return strings.Join(append(lines, toolTimeout), "\n") + "\n"
}

// appendTable adds a table at the end, where it belongs to no other.
func appendTable(doc []byte, table string) []byte {
	out := bytes.Clone(doc)
	newline := newlineOf(doc)
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, newline...)
	}
	if len(bytes.TrimSpace(out)) > 0 && !bytes.HasSuffix(out, []byte(newline+newline)) {
		out = append(out, newline...)
	}
	return append(out, strings.ReplaceAll(table, "\n", newline)...)
}

// refreshTable brings our own entry up to date and keeps its other keys.
func refreshTable(doc []byte, t *tomlTable, s Server) ([]byte, error) {
	type edit struct {
		span
		text string
	}
	var edits []edit
	put := func(key, value string) {
		if st := t.get(key); st != nil {
			edits = append(edits, edit{st.value, value})
			return
		}
		at := t.header.end
		if n := len(t.own); n > 0 {
			at = t.own[n-1].end
		}
		edits = append(edits, edit{span{at, at}, newlineOf(doc) + key + " = " + value})
	}
	old := t.entry(doc, s.Name)
	if old.Command != s.Command {
		put("command", quote(s.Command))
	}
	if !slices.Equal(old.Args, s.Args) {
		put("args", quoteList(s.Args))
	}
	var passed []string
	if st := t.get("env_vars"); st != nil && len(s.Env) > 0 {
		var ok bool
		if passed, ok = tomlStrings(doc[st.value.start:st.value.end]); !ok {
			return nil, errors.New("env_vars holds more than names: add the variables by hand")
		}
	}
	if more := slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(passed), s.Env...)))); len(more) > len(passed) {
		put("env_vars", quoteList(more))
	}
	slices.SortStableFunc(edits, func(a, b edit) int { return b.start - a.start })
	out := doc
	for _, e := range edits {
		out = slices.Concat(out[:e.start], []byte(e.text), out[e.end:])
	}
	return out, nil
}

func uninstallTOML(doc []byte, h Host, name string, force bool) ([]byte, Change, error) {
	path := []string{h.key, name}
	statements, err := scanTOML(doc)
	if err != nil {
		return nil, "", err
	}
	t, err := findTable(statements, path)
	switch {
	case err != nil:
		return nil, "", err
	case t == nil:
		return doc, Unchanged, nil
	}
	if old := t.entry(doc, name); !old.Ours() && !force {
		return nil, "", taken(old)
	}
	out := cutTable(doc, t)
	return out, Removed, sameBut(doc, out, path)
}

// cutTable takes a table out, line by line, with the comments on its lines and
// one empty line in front, and those between its parts. Comments on lines of
// their own stay.
func cutTable(doc []byte, t *tomlTable) []byte {
	out := doc
	for i, st := range slices.Backward(t.all) {
		start := bytes.LastIndexByte(out[:st.start], '\n') + 1
		end := st.end
		if n := bytes.IndexByte(out[end:], '\n'); n >= 0 {
			end += n + 1
		} else {
			end = len(out)
		}
		start -= blankBefore(out[:start], i > 0)
		out = slices.Concat(out[:start], out[end:])
	}
	return out
}

// blankBefore is the length of the empty line that a text ends with, or of all
// such lines.
func blankBefore(text []byte, all bool) int {
	length := 0
	for {
		rest := text[:len(text)-length]
		line := bytes.TrimSuffix(bytes.TrimSuffix(rest, []byte("\n")), []byte("\r"))
		if len(line) == len(rest) || len(line) > 0 && line[len(line)-1] != '\n' || length > 0 && !all {
			return length
		}
		length += len(rest) - len(line)
	}
}

// sameBut proves that two documents have the same statements but for a table.
func sameBut(before, after []byte, path []string) error {
	var kept [2][]string
	for i, doc := range [][]byte{before, after} {
		statements, err := scanTOML(doc)
		if err != nil {
			return errors.Join(errForeign, err)
		}
		for _, st := range statements {
			if !hasPrefix(st.path, path) {
				kept[i] = append(kept[i], fmt.Sprintf("%q %t %t %s", st.path, st.header, st.array, doc[st.start:st.end]))
			}
		}
	}
	if !slices.Equal(kept[0], kept[1]) {
		return errForeign
	}
	return nil
}

func entriesTOML(doc []byte, h Host) ([]Entry, error) {
	statements, err := scanTOML(doc)
	if err != nil {
		return nil, err
	}
	var out []Entry
	var seen []string
	for _, st := range statements {
		if !hasPrefix(st.path, []string{h.key}) || len(st.path) < 2 || slices.Contains(seen, st.path[1]) {
			continue
		}
		name := st.path[1]
		seen = append(seen, name)
		entry := Entry{Name: name} // one in another form is listed by its name
		if t, err := findTable(statements, []string{h.key, name}); err == nil && t != nil {
			entry = t.entry(doc, name)
		}
		out = append(out, entry)
	}
	return out, nil
}
