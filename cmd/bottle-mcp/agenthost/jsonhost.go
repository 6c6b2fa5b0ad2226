package agenthost

import (
	"errors"
	"slices"
)

// jsonEntry is what an entry says of how it is started.
type jsonEntry struct {
	Type    string            `json:"type"`
	Command string            `json:"command"`
	Args    []string          `json:"args"`
	Env     map[string]string `json:"env"`
}

// readEntry decodes an entry. One of another shape is somebody else's.
func readEntry(doc []byte, m *member, comments bool) jsonEntry {
	var entry jsonEntry
	if !m.value.object || decode(doc, m.value.span, comments, &entry) != nil {
		return jsonEntry{}
	}
	return entry
}

func (e jsonEntry) named(name string) Entry {
	return Entry{Name: name, Command: e.Command, Args: e.Args}
}

func installJSON(doc []byte, h Host, s Server, force bool) ([]byte, Change, error) {
	e, err := newJSONEdit(doc, h.comments)
	if err != nil {
		return nil, "", err
	}
	before, change := e.doc, Added
	path := []string{h.key, s.Name}
	_, m, _, err := e.lookup(path)
	if err != nil {
		return nil, "", err
	}
	if m != nil {
		old := readEntry(e.doc, m, h.comments)
		switch {
		case old.named(s.Name).Ours():
			if change, err = e.refresh(path, old, s.fields(h)); err != nil {
				return nil, "", err
			}
		case !force:
			return nil, "", taken(old.named(s.Name))
		default:
			change = Replaced
		}
	}
	if change == Unchanged {
		return doc, change, nil
	}
	if change != Updated {
		if err := e.set(path, s.fields(h)); err != nil {
			return nil, "", err
		}
	}
	return e.doc, change, onlyEntry(before, e.doc, h, s.Name)
}

// refresh sets the members of our own entry that differ.
func (e *jsonEdit) refresh(path []string, old jsonEntry, fields []field) (Change, error) {
	change := Unchanged
	put := func(value any, names ...string) error {
		change = Updated
		return e.set(append(slices.Clone(path), names...), value)
	}
	for _, f := range fields {
		var err error
		switch v := f.value.(type) {
		case string:
			if v != map[string]string{"type": old.Type, "command": old.Command}[f.name] {
				err = put(v, f.name)
			}
		case []string:
			if !slices.Equal(v, old.Args) {
				err = put(v, f.name)
			}
		case []field:
			for _, variable := range v {
				if old.Env[variable.name] != variable.value {
					err = errors.Join(err, put(variable.value, f.name, variable.name))
				}
			}
		}
		if err != nil {
			return "", err
		}
	}
	return change, nil
}

func uninstallJSON(doc []byte, h Host, name string, force bool) ([]byte, Change, error) {
	if doc == nil {
		return doc, Unchanged, nil
	}
	e, err := newJSONEdit(doc, h.comments)
	if err != nil {
		return nil, "", err
	}
	before := e.doc
	path := []string{h.key, name}
	_, m, missing, err := e.lookup(path)
	switch {
	case err != nil:
		return nil, "", err
	case len(missing) > 0:
		return doc, Unchanged, nil
	}
	if old := readEntry(e.doc, m, h.comments).named(name); !old.Ours() && !force {
		return nil, "", taken(old)
	}
	if _, err := e.remove(path); err != nil {
		return nil, "", err
	}
	return e.doc, Removed, onlyEntry(before, e.doc, h, name)
}

func entriesJSON(doc []byte, h Host) ([]Entry, error) {
	e, err := newJSONEdit(doc, h.comments)
	if err != nil {
		return nil, err
	}
	_, servers, _, err := e.lookup([]string{h.key})
	if err != nil || servers == nil {
		return nil, err
	}
	var out []Entry
	for i := range servers.value.members {
		m := &servers.value.members[i]
		out = append(out, readEntry(e.doc, m, h.comments).named(m.name))
	}
	return out, nil
}
