package agenthost

import (
	"strings"
)

// Snippet is a file of the host that holds the server and nothing else: what
// to put where this program does not write.
func (h Host) Snippet(s Server) (string, error) {
	out, _, err := h.Install(nil, s, false)
	return string(out), err
}

// AddCommand is the host's own command line for the same entry; nil where it
// has none that says all of it.
func (h Host) AddCommand(s Server, scope Scope) []string {
	switch {
	case h.Name == "claude" && len(s.Env) > 0:
		// --env takes every word that follows, also the name.
		return []string{"claude", "mcp", "add-json", "--scope", string(scope), s.Name, oneLineJSON(s.fields(h))}
	case h.Name == "claude":
		return append([]string{"claude", "mcp", "add", "--scope", string(scope), s.Name, "--", s.Command}, s.Args...)
	case h.Name == "codex" && scope == User && len(s.Env) == 0:
		return append([]string{"codex", "mcp", "add", s.Name, "--", s.Command}, s.Args...)
	case h.Name == "vscode" && scope == User:
		return []string{"code", "--add-mcp", oneLineJSON(append([]field{{"name", s.Name}}, s.fields(h)...))}
	}
	return nil
}

// Managed reports whether the host itself rewrites the file of a scope while it
// runs, so that its own command is the safe way to add to it.
func (h Host) Managed(scope Scope) bool { return h.Name == "claude" && scope == User }

// oneLineJSON writes an object for a command line.
func oneLineJSON(fields []field) string {
	parts := make([]string, len(fields))
	for i, f := range fields {
		value := ""
		switch v := f.value.(type) {
		case string:
			value = quote(v)
		case []string:
			value = quoteList(v)
		case []field:
			value = oneLineJSON(v)
		}
		parts[i] = quote(f.name) + ": " + value
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// Shell writes a command line as a shell reads it.
func Shell(argv []string) string {
	words := make([]string, len(argv))
	for i, word := range argv {
		words[i] = word
		if word == "" || strings.ContainsFunc(word, special) {
			words[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// special reports a character that a shell may read as something else.
func special(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_./=:,@%+", r))
}
