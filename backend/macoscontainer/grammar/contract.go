package grammar

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
)

//go:embed apple-container-cli.json
var contractJSON []byte

// contract is the machine-readable description that everything here is driven
// by: the declarations of the program and the schemas of what it prints.
type contract struct {
	Version  string              `json:"version"`
	Names    nameRules           `json:"names"`
	Commands map[string]*command `json:"commands"`
	Outputs  map[string]output   `json:"outputs"`
}

// command is a node of the command tree; the root's path is empty.
type command struct {
	Path              []string     `json:"path"`
	Aliases           []string     `json:"aliases"`
	Group             bool         `json:"group"`
	Subcommands       []string     `json:"subcommands"`
	DefaultSubcommand string       `json:"defaultSubcommand"`
	Options           []*option    `json:"options"`
	Positionals       []positional `json:"positionals"`
	Passthrough       bool         `json:"passthroughTrailing"`
	Constraints       []string     `json:"constraints"`
	Since             release      `json:"since"`
	Plugin            string       `json:"plugin"`

	children []*command
	fallback *command
	named    map[string]*option // by name with its dashes
}

// option is a flag or an option with a value.
type option struct {
	Names      []string `json:"names"` // with their dashes, the canonical one first
	Arity      int      `json:"arity"`
	Repeatable bool     `json:"repeatable"`
	Values     []string `json:"values"`
	ValueType  string   `json:"valueType"`
	Syntax     string   `json:"syntax"`
	Since      release  `json:"since"`
	Hidden     bool     `json:"hidden"`
	// DeclaredOnly options are in the help of a command that refuses them.
	DeclaredOnly bool `json:"declaredOnly"`
	// Sets and To make flags exclusive that set one setting to unlike values.
	Sets string `json:"sets"`
	To   bool   `json:"to"`
}

// positional is one declared word, or the list that takes the rest.
type positional struct {
	Name     string `json:"name"`
	Min      int    `json:"min"`
	Max      *int   `json:"max"` // nil = no end
	Strategy string `json:"strategy"`
}

// captures is true for the list that takes options and `--` as words too.
func (p positional) captures() bool { return p.Strategy == "captureForPassthrough" }

// takesMore says whether the word list has room behind n words.
func (p positional) takesMore(n int) bool { return p.Max == nil || n < *p.Max }

// canonical is the key of the option in Parsed.
func (o *option) canonical() string { return strings.TrimLeft(o.Names[0], "-") }

// builtin is true for --help and --version, which no command consumes: they
// are looked for among what is left over.
func (o *option) builtin() bool {
	return !o.Hidden && (o.Names[0] == "--help" || o.Names[0] == "--version")
}

func (c *command) name() string {
	if len(c.Path) == 0 {
		return ""
	}
	return c.Path[len(c.Path)-1]
}

// captures is true when the first word, or the first option that is not known,
// ends the command's options.
func (c *command) captures() bool { return c.Passthrough || c.fallbackCaptures() }

func (c *command) fallbackCaptures() bool { return c.fallback != nil && c.fallback.Passthrough }

// child is the subcommand of that name or alias in a version; nil when there
// is none. Plugins are no children: they are reached through the fallback.
func (c *command) child(word string, at release) *command {
	for _, sub := range c.children {
		if sub.Plugin == c.Plugin && !at.before(sub.Since) && (sub.name() == word || slices.Contains(sub.Aliases, word)) {
			return sub
		}
	}
	return nil
}

// option is the command's declaration of a name in a version, nil when there
// is none.
func (c *command) option(name string, at release) *option {
	opt := c.named[name]
	if opt == nil || at.before(opt.Since) {
		return nil
	}
	return opt
}

// load decodes the embedded contract once. It is part of the program, so a
// contract that does not decode is a defect and not an error to handle.
var load = sync.OnceValue(func() *contract { //nolint:gochecknoglobals // decoded once, never written to
	c := new(contract)
	if err := json.Unmarshal(contractJSON, c); err != nil {
		panic(fmt.Sprintf("grammar: the embedded contract does not decode: %v", err))
	}
	for _, cmd := range c.Commands {
		c.link(cmd)
	}
	c.splitStatus()
	return c
})

// splitStatus gives the later shape of the daemon's state a name of its own.
func (c *contract) splitStatus() {
	const plain, later = "system status --format json", "exampleReportedSince1.3.0"
	out := c.Outputs[plain]
	c.Outputs[StatusSince130] = output{Schema: out.LaterSchema, Examples: map[string]json.RawMessage{"example": out.Examples[later]}}
	delete(out.Examples, later)
}

// link resolves the names in a command's declaration.
func (c *contract) link(cmd *command) {
	cmd.named = make(map[string]*option)
	for _, opt := range cmd.Options {
		for _, name := range opt.Names {
			if !opt.builtin() {
				cmd.named[name] = opt
			}
		}
	}
	for _, name := range cmd.Subcommands {
		sub := c.Commands[strings.Join(append(slices.Clone(cmd.Path), name), " ")]
		if sub == nil {
			panic(fmt.Sprintf("grammar: the embedded contract has no command %q of %q", name, cmd.Path))
		}
		if !slices.Contains(cmd.children, sub) {
			cmd.children = append(cmd.children, sub)
		}
		if name == cmd.DefaultSubcommand {
			cmd.fallback = sub
		}
	}
}

// Version is the version of the program that the contract was read from and
// that Parse stands for.
func Version() string { return load().Version }
