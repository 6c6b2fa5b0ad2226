package agenthost

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Program begins the file name by which entries of this program are known:
// releases may carry a platform behind it.
const Program = "bottle-mcp"

// Server is an entry: how a host starts a server.
type Server struct {
	Name    string
	Command string // absolute
	Args    []string
	// Env names the variables that the host hands on from its own environment.
	Env []string
}

// Change says what an edit did.
type Change string

// The outcomes of edits.
const (
	Unchanged Change = "unchanged"
	Added     Change = "added"
	Updated   Change = "updated"
	Replaced  Change = "replaced"
	Removed   Change = "removed"
)

// ErrTaken is the refusal to touch an entry of another program.
var ErrTaken = errors.New("the entry belongs to another program")

// Entry is a server that a file holds.
type Entry struct {
	Name    string
	Command string
	Args    []string
}

// Ours reports whether the entry starts this program's server.
func (e Entry) Ours() bool {
	return strings.HasPrefix(filepath.Base(e.Command), Program) && slices.Contains(e.Args, "serve")
}

// namePattern keeps to what every host and both formats take unquoted.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$`)

var variablePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,255}$`)

// check refuses what could not be written into a file of the host.
func (s Server) check(h Host) error {
	switch {
	case !namePattern.MatchString(s.Name):
		return fmt.Errorf("%.40q cannot be the name of a server: use at most 32 letters, digits, '-' and '_'", s.Name)
	case !filepath.IsAbs(s.Command):
		return fmt.Errorf("the command %.200q is not an absolute path", s.Command)
	case !Entry{Command: s.Command, Args: s.Args}.Ours():
		return fmt.Errorf("%.200q would not be known again: give the program a name that begins with %s", s.Command, Program)
	case len(s.Env) > 0 && h.reference == nil:
		return fmt.Errorf("%s cannot pass a variable by name: set it where the program is started", h.Title)
	}
	for _, text := range append([]string{s.Command}, s.Args...) {
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }) {
			return fmt.Errorf("%.200q holds a character that no configuration can: use another path", text)
		}
		if strings.Contains(text, "$") && text != h.folder {
			return fmt.Errorf("%.200q holds a '$', which hosts replace: use another path", text)
		}
	}
	for _, name := range s.Env {
		if !variablePattern.MatchString(name) {
			name, _, _ = strings.Cut(name, "=") // what follows may be a secret
			return fmt.Errorf("%.80q must be only the name of a variable; values are never written", name)
		}
	}
	return nil
}

// field is one member of an entry, in the order that it is written in.
type field struct {
	name  string
	value any // string, []string or []field
}

// fields are the members of a new entry.
func (s Server) fields(h Host) []field {
	var out []field
	if h.stdio {
		out = append(out, field{"type", "stdio"})
	}
	out = append(out, field{"command", s.Command}, field{"args", s.Args})
	if len(s.Env) == 0 {
		return out
	}
	env := []field{}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(s.Env))) {
		env = append(env, field{name, h.reference(name)})
	}
	return append(out, field{"env", env})
}

// Install puts the server into a file of the host, whose content is doc; nil
// is a file that does not exist. An entry of this program is brought up to
// date and keeps what else its user wrote into it. One of another program is
// ErrTaken, unless force is set.
func (h Host) Install(doc []byte, s Server, force bool) ([]byte, Change, error) {
	if err := s.check(h); err != nil {
		return nil, "", err
	}
	if h.toml {
		return installTOML(doc, h, s, force)
	}
	return installJSON(doc, h, s, force)
}

// Uninstall takes the entry out again. One of another program is ErrTaken,
// unless force is set.
func (h Host) Uninstall(doc []byte, name string, force bool) ([]byte, Change, error) {
	if h.toml {
		return uninstallTOML(doc, h, name, force)
	}
	return uninstallJSON(doc, h, name, force)
}

// Entries lists the servers in a file of the host, in its order.
func (h Host) Entries(doc []byte) ([]Entry, error) {
	if h.toml {
		return entriesTOML(doc, h)
	}
	return entriesJSON(doc, h)
}

// taken names the entry that is in the way.
func taken(e Entry) error {
	return fmt.Errorf("there is a server %q already, which starts %.200q: %w", e.Name, e.Command, ErrTaken)
}

// quote writes a string as JSON and TOML both read it.
func quote(s string) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(s) // a string always encodes
	return strings.TrimSuffix(b.String(), "\n")
}

// quoteList writes a list of strings on one line.
func quoteList(list []string) string {
	parts := make([]string, len(list))
	for i, s := range list {
		parts[i] = quote(s)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}
