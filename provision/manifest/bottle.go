package manifest

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// Bounds of what a bottle may declare.
const (
	maxEnv      = 512
	maxEnvValue = 32 << 10
	maxName     = 64

	// MinTTL and MaxTTL bound a bottle's life.
	MinTTL = time.Second
	MaxTTL = 30 * 24 * time.Hour
)

// DefaultBottle is the bottle that works with no file on disk.
const DefaultBottle = "default"

// Bottle is what one kind of bottle may do.
type Bottle struct {
	Name string
	// File is where it was read from; "" for the built-in bottle.
	File string
	// Env is what the guest's environment gets, by name.
	Env       map[string]EnvValue
	Routes    []Route
	Backend   string // "" = any
	Isolation string // "" = the backend's default
	Limits    backend.Limits
	TTL       time.Duration // 0 = the default
	// Image is what the guest's root filesystem is made from.
	Image backend.ImageSpec
	// GitRepos are the names of the repositories that need a git gate.
	GitRepos []string

	extends    string
	extendsAt  int // line
	ownsEgress bool
}

// EnvValue is the value of a guest variable. Exactly one of its forms is used.
type EnvValue struct {
	Literal string
	// FromHost names the host variable to copy at launch.
	FromHost string
	// Ask is true when the value must be given at launch; Question says what for.
	Ask      bool
	Question string
}

var (
	namePattern    = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	envNamePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	fromHost       = regexp.MustCompile(`^\$\{(.*)\}$`)
	sizePattern    = regexp.MustCompile(`^([0-9]{1,12})(KiB|MiB|GiB|TiB)$`)
)

// ValidName reports whether name can be that of a bottle or agent.
func ValidName(name string) bool { return len(name) <= maxName && namePattern.MatchString(name) }

// ValidEnvName reports whether name can be that of an environment variable.
func ValidEnvName(name string) bool { return len(name) <= 256 && envNamePattern.MatchString(name) }

// parseBottle reads one bottle file without its parents.
func parseBottle(name string, doc document) (*Bottle, error) {
	p := &parser{file: doc.file}
	b := &Bottle{Name: name, File: doc.file, Env: map[string]EnvValue{}}
	root, ok := p.parse(doc.front)
	if !ok {
		return b, p.result()
	}
	p.mapping(root, keys{
		read: map[string]func(at){
			"extends":   func(a at) { b.extends, b.extendsAt = p.parent(a), a.node.Line+1 },
			"env":       func(a at) { p.env(a, b.Env) },
			"egress":    func(a at) { b.ownsEgress = true; b.Routes = p.egress(a) },
			"backend":   func(a at) { b.Backend = p.word(a) },
			"isolation": func(a at) { b.Isolation = p.word(a) },
			"resources": func(a at) { b.Limits = p.resources(a) },
			"ttl":       func(a at) { b.TTL = p.ttl(a) },
			"supervise": p.supervise,
			"image":     func(a at) { b.Image.Reference = p.image(a) },
			"git-gate":  func(a at) { b.GitRepos = p.gate(a) },

			"agent_provider": func(a at) { p.provider(a, &b.Image) },
		},
		later: map[string]string{
			"sub_bottles": "bottles launched by bottles", "publish": "reachable ports",
		},
		removed: removedKeys(),
	})
	p.oneImage(root, b.Image)
	return b, p.result()
}

// removedKeys are gone from bot-bottle's format, with what replaces them.
func removedKeys() map[string]string {
	return map[string]string{
		"tokens":         "egress.routes[].auth",
		"cred_proxy":     "egress.routes[].auth",
		"git":            "git-gate.repos",
		"git_user":       "git-gate.user",
		"runtime":        "isolation",
		"path_allowlist": "egress.routes[].host",
	}
}

func (p *parser) parent(a at) string {
	if a.node.Kind == yaml.SequenceNode {
		p.fail(a, "several parents are not supported yet by this version", "name one bottle, or choose several bottles at launch")
		return ""
	}
	return p.name(a)
}

// name reads the name of a bottle or agent.
func (p *parser) name(a at) string {
	s, ok := p.str(a)
	if ok && !ValidName(s) {
		p.fail(a, fmt.Sprintf("%.80q is not a name", s), "use a-z, 0-9 and '-', beginning with a letter")
		return ""
	}
	return s
}

// word reads an engine's or isolation class's name, which is judged at launch.
func (p *parser) word(a at) string { return p.name(a) }

func (p *parser) supervise(a at) {
	switch {
	case a.node.Kind != yaml.ScalarNode || a.node.ShortTag() != "!!bool":
		p.wrongType(a, "true or false")
	case !strings.EqualFold(a.node.Value, "false"):
		p.fail(a, "it is not supported yet by this version", "set it to false or remove it: the agent then cannot ask for more")
	}
}

func (p *parser) env(a at, into map[string]EnvValue) {
	if a.node.Kind != yaml.MappingNode {
		p.wrongType(a, "a mapping of names to values")
		return
	}
	if len(a.node.Content)/2 > maxEnv {
		p.fail(a, fmt.Sprintf("it has more than %d variables", maxEnv), "shorten it")
		return
	}
	for i := 0; i+1 < len(a.node.Content); i += 2 {
		name := a.node.Content[i].Value
		v := a.child(name, a.node.Content[i+1])
		if !ValidEnvName(name) {
			p.fail(at{a.key, a.node.Content[i]}, fmt.Sprintf("%.80q is not the name of a variable", name), "use letters, digits and '_'")
			continue
		}
		if value, ok := p.envValue(v); ok {
			into[name] = value
		}
	}
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
	if m := fromHost.FindStringSubmatch(text); m != nil {
		if !ValidEnvName(m[1]) {
			p.fail(a, fmt.Sprintf("%.80q names no host variable", text), "write ${NAME}")
			return EnvValue{}, false
		}
		return EnvValue{FromHost: m[1]}, true
	}
	return EnvValue{Literal: text}, true
}

func (p *parser) ttl(a at) time.Duration {
	s, ok := p.str(a)
	if !ok {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < MinTTL || d > MaxTTL {
		p.fail(a, fmt.Sprintf("%.40q is not a duration from %s to %s", s, MinTTL, MaxTTL), `write for example "90m" or "8h"`)
		return 0
	}
	return d
}

func (p *parser) resources(a at) backend.Limits {
	var l backend.Limits
	p.mapping(a, keys{read: map[string]func(at){
		"cpus":   func(a at) { l.CPUs = p.cpus(a) },
		"memory": func(a at) { l.MemoryBytes = p.size(a) },
		"disk":   func(a at) { l.DiskBytes = p.size(a) },
		"pids": func(a at) {
			n, _ := p.integer(a, 1, 1<<22)
			l.PIDs = int(n)
		},
	}})
	return l
}

func (p *parser) cpus(a at) float64 {
	tag := a.node.ShortTag()
	if a.node.Kind != yaml.ScalarNode || (tag != "!!int" && tag != "!!float") {
		p.wrongType(a, "a number")
		return 0
	}
	n, err := strconv.ParseFloat(a.node.Value, 64)
	if err != nil || math.IsNaN(n) || n < 0.01 || n > 1024 {
		p.fail(a, "it must be a number from 0.01 to 1024", "")
		return 0
	}
	return n
}

// size reads "512MiB". Units without "i" are refused, because half the world
// reads them as powers of ten.
func (p *parser) size(a at) int64 {
	s, ok := p.str(a)
	if !ok {
		return 0
	}
	m := sizePattern.FindStringSubmatch(s)
	shift := map[string]int{"KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}
	if m != nil {
		n, err := strconv.ParseInt(m[1], 10, 64)
		if s := shift[m[2]]; err == nil && n > 0 && n <= math.MaxInt64>>s {
			return n << s
		}
	}
	p.fail(a, fmt.Sprintf("%.40q is not a size", s), `write for example "512MiB" or "4GiB"`)
	return 0
}
