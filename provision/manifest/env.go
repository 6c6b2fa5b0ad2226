package manifest

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Bounds of a bottle's environment.
const (
	maxEnv      = 512
	maxEnvName  = 256
	maxEnvValue = 32 << 10
)

// EnvValue is the value of a guest variable. Exactly one of its forms is used.
type EnvValue struct {
	Literal string
	// FromHost names the host variable to copy at launch.
	FromHost string
	// Ask is true when the value must be given at launch; Question says what for.
	Ask      bool
	Question string
}

// String is the value as a manifest writes it.
func (v EnvValue) String() string {
	switch {
	case v.Ask:
		return strings.TrimSpace("? " + v.Question)
	case v.FromHost != "":
		return "${" + v.FromHost + "}"
	default:
		return v.Literal
	}
}

var (
	envNamePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	fromHost       = regexp.MustCompile(`^\$\{(.*)\}$`)
)

// ValidEnvName reports whether name can be that of an environment variable.
func ValidEnvName(name string) bool {
	return len(name) <= maxEnvName && envNamePattern.MatchString(name)
}

func (p *parser) env(a at, into map[string]EnvValue) {
	p.named(a, maxEnv, "a mapping of names to values", func(name, v at) {
		if !ValidEnvName(name.node.Value) {
			p.fail(name, fmt.Sprintf("%.80q is not the name of a variable", name.node.Value), "use letters, digits and '_'")
			return
		}
		if value, ok := p.envValue(v); ok {
			into[name.node.Value] = value
		}
	})
}

func (p *parser) envValue(a at) (EnvValue, bool) {
	if a.node.Kind != yaml.ScalarNode || a.node.ShortTag() != "!!str" {
		p.wrongType(a, "a string")
		return EnvValue{}, false
	}
	text := a.node.Value
	if len(text) > maxEnvValue {
		p.fail(a, fmt.Sprintf("the value is longer than %d bytes", maxEnvValue), "copy a file into the bottle instead")
		return EnvValue{}, false
	}
	if question, ok := strings.CutPrefix(text, "?"); ok {
		return EnvValue{Ask: true, Question: strings.TrimSpace(question)}, true
	}
	m := fromHost.FindStringSubmatch(text)
	switch {
	case m == nil:
		return EnvValue{Literal: text}, true
	case !ValidEnvName(m[1]) || credential(m[1]):
		p.fail(a, "what stands in ${…} is not the name of a host variable", "write ${NAME} with letters, digits and '_'")
		return EnvValue{}, false
	default:
		return EnvValue{FromHost: m[1]}, true
	}
}
