package manifest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v4"
)

// str reads a string that is not empty.
func (p *parser) str(a at) (string, bool) {
	if a.node.Kind != yaml.ScalarNode || a.node.ShortTag() != "!!str" {
		p.wrongType(a, "a string")
		return "", false
	}
	if a.node.Value == "" {
		p.fail(a, "it must not be empty", "")
		return "", false
	}
	return a.node.Value, true
}

// boolean reads true or false.
func (p *parser) boolean(a at) bool {
	if a.node.Kind != yaml.ScalarNode || a.node.ShortTag() != "!!bool" {
		p.wrongType(a, "true or false")
		return false
	}
	return strings.EqualFold(a.node.Value, "true")
}

// integer reads a plain decimal number within bounds.
func (p *parser) integer(a at, low, high int64) (int64, bool) {
	tag := a.node.ShortTag()
	if a.node.Kind != yaml.ScalarNode || tag != "!!int" && tag != "!!float" {
		p.wrongType(a, "a whole number")
		return 0, false
	}
	v := a.node.Value
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || (len(v) > 1 && v[0] == '0') || v[0] == '+' || n < low || n > high {
		p.fail(a, fmt.Sprintf("it must be a decimal number from %d to %d", low, high), "")
		return 0, false
	}
	return n, true
}

// choice reads one of few words.
func (p *parser) choice(a at, allowed ...string) string {
	s, ok := p.str(a)
	if !ok || slices.Contains(allowed, s) {
		return s
	}
	p.fail(a, fmt.Sprintf("%.40q is not accepted", s), suggestion(s, allowed)+"allowed here: "+strings.Join(allowed, ", "))
	return ""
}

// list calls each for every item of a sequence.
func (p *parser) list(a at, most int, each func(at)) {
	if a.node.Kind != yaml.SequenceNode {
		p.wrongType(a, "a list")
		return
	}
	if len(a.node.Content) > most {
		p.fail(a, fmt.Sprintf("it has more than %d entries", most), "shorten it")
		return
	}
	for i := range a.node.Content {
		each(a.item(i))
	}
}

// distinct reads a list in which nothing stands twice.
func distinct[T comparable](p *parser, a at, most int, read func(at) (T, bool)) []T {
	var out []T
	p.list(a, most, func(item at) {
		v, ok := read(item)
		switch {
		case ok && slices.Contains(out, v):
			p.fail(item, fmt.Sprintf("%.80q stands twice", fmt.Sprint(v)), "remove one of the two")
		case ok:
			out = append(out, v)
		}
	})
	return out
}

// filled refuses an empty list where leaving the key out means everything.
func (p *parser) filled(a at, without string) bool {
	if a.node.Kind != yaml.SequenceNode || len(a.node.Content) > 0 {
		return true
	}
	p.fail(a, "it must not be empty", "remove the key for "+without+", or add an entry")
	return false
}

// name reads the name of a bottle, agent, engine or isolation class.
func (p *parser) name(a at) string {
	s, ok := p.str(a)
	if ok && !ValidName(s) {
		p.fail(a, fmt.Sprintf("%.80q is not a name", s), "use a-z, 0-9 and '-', beginning with a letter")
		return ""
	}
	return s
}

// hostVariable reads the name of the variable that holds a credential. It never
// repeats the value: people put the credential itself there.
func (p *parser) hostVariable(a at) string {
	s, ok := p.str(a)
	if ok && (!ValidEnvName(s) || credential(s)) {
		p.fail(a, "it must be the name of a host variable, never the token itself", "write the variable's name without '$'")
		return ""
	}
	return s
}

// line reads text of one line for people.
func (p *parser) line(a at, most int) string {
	s, ok := p.str(a)
	if !ok {
		return ""
	}
	if len(s) > most || strings.TrimSpace(s) != s || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		p.fail(a, fmt.Sprintf("it must be one line of at most %d printable bytes, without blanks around it", most), "")
		return ""
	}
	return s
}

// path reads the path of a host file: absolute, below the home with "~/", or
// relative to the manifest.
func (p *parser) path(a at) string {
	s, ok := p.str(a)
	if !ok {
		return ""
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		p.fail(a, "a path cannot hold control characters", "a path is meant here, never the content of the file")
		return ""
	}
	if rest, home := strings.CutPrefix(s, "~/"); home {
		dir, err := os.UserHomeDir()
		if err != nil {
			p.fail(a, "there is no home directory for ~", "write an absolute path")
			return ""
		}
		return filepath.Join(dir, rest)
	}
	if strings.HasPrefix(s, "~") {
		p.fail(a, "another user's home cannot be named", `write an absolute path, or "~/…" for your own home`)
		return ""
	}
	if filepath.IsAbs(s) {
		return filepath.Clean(s)
	}
	return filepath.Join(filepath.Dir(p.file), s)
}
