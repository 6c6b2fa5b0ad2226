package grammar

import (
	"fmt"
	"slices"
	"strings"
)

// What Parsed.Info tells.
const (
	infoHelp       = "help"
	infoVersion    = "version"
	infoCompletion = "completion"
)

// The rules that a Refusal names.
const (
	ruleDashes        = "three-dashes"
	ruleCompletion    = "completion-script"
	ruleMissingValue  = "missing-value"
	ruleFlagValue     = "flag-with-value"
	ruleValueType     = "value-type"
	ruleMissingWord   = "missing-positional"
	ruleUnknownOption = "unknown-option"
	ruleExtraWord     = "unexpected-argument"
	ruleExclusive     = "exclusive-flags"
	rulePlugin        = "plugin-dispatch"
)

// The exit codes of the program that a Refusal has.
const (
	exitFailure = 1
	exitUsage   = 64
)

// shells are those that a completion script exists for.
var shells = []string{"zsh", "bash", "fish"}

func usage(rule, format string, args ...any) *Refusal {
	return &Refusal{Code: exitUsage, Rule: rule, Message: fmt.Sprintf(format, args...)}
}

// Last is the value of a scalar option, of which the last one given counts,
// and whether it was given.
func (p Parsed) Last(name string) (string, bool) {
	values := p.Options[name]
	if len(values) == 0 {
		return "", false
	}
	return values[len(values)-1], true
}

// Command is the path as one string: "network create".
func (p Parsed) Command() string { return strings.Join(p.Path, " ") }

// Parse reads a command line, without the program's name, as Version of the
// program does. An error is a *Refusal. What depends on values alone but is
// looked at only when a command runs is in Check.
func Parse(argv []string) (Parsed, error) { return ParseAs(Version(), argv) }

// ParseAs is Parse for another version, "1.0.0" or later: it does not know
// what came after it. Versions behind Version are taken to be like it, but for
// the changes that are known. An error that is no *Refusal says that the
// contract does not describe the version.
func ParseAs(version string, argv []string) (Parsed, error) {
	var at release
	if err := at.UnmarshalText([]byte(version)); err != nil {
		return Parsed{}, err
	}
	if at.before(oldest) {
		return Parsed{}, fmt.Errorf("grammar: version %s is older than 1.0.0, which the contract begins with", version)
	}
	parsed, refusal := parse(load().Commands[""], at, argv)
	if refusal != nil {
		return Parsed{}, refusal
	}
	return parsed, nil
}

// parser descends the command tree along one command line.
type parser struct {
	at   release
	cmd  *command
	line line
	out  Parsed
}

func parse(root *command, at release, argv []string) (Parsed, *Refusal) {
	tokens, refusal := tokenise(argv)
	if refusal != nil {
		return Parsed{}, refusal
	}
	p := &parser{at: at, cmd: root, line: line{tokens: tokens, gone: make([]bool, len(tokens))}}
	p.out.Options, p.out.Flags = map[string][]string{}, map[string]bool{}
	if info, refusal := p.completion(); info != "" || refusal != nil {
		return p.informed(info), refusal
	}
	for {
		info, refusal := p.command()
		if refusal != nil || info != "" {
			return p.informed(info), refusal
		}
		sub := p.descend()
		if sub == nil {
			return p.finish()
		}
		p.cmd = sub
	}
}

// informed is the result when the program prints something and is done.
func (p *parser) informed(info string) Parsed {
	return Parsed{Path: p.cmd.Path, Options: map[string][]string{}, Flags: map[string]bool{}, Info: info}
}

// completion looks for the request for a completion script, which counts
// anywhere before `--` and comes before everything else. The program tries it
// as an option with a value and then as a flag: a line that mixes both is
// neither, and fails later.
func (p *parser) completion() (string, *Refusal) {
	shell, asOption, attached, seen := "", true, false, false
	for i, t := range p.line.tokens {
		if t.kind != optionToken || t.name != "--generate-completion-script" {
			continue
		}
		seen = true
		switch next := p.line.nextArgument(i); {
		case t.attached:
			shell, attached = t.value, true
		case next >= 0 && p.line.tokens[next].kind == wordToken:
			shell = p.line.tokens[next].text
		default:
			asOption = false
		}
	}
	switch {
	case !seen, !asOption && attached:
		return "", nil
	case asOption && !slices.Contains(shells, shell):
		return "", usage(ruleCompletion, "Can't generate completion scripts for '%s'.", shell)
	default:
		return infoCompletion, nil
	}
}

// command parses what the current command knows and checks it.
func (p *parser) command() (string, *Refusal) {
	s, refusal := p.scan()
	if refusal != nil {
		return "", refusal
	}
	words, used, missing := p.words(s)
	if missing != "" {
		if info := p.asked(); info != "" {
			return info, nil
		}
		return "", usage(ruleMissingWord, "Missing expected argument '<%s>'", missing)
	}
	for _, i := range slices.Concat(s.consumed, used) {
		p.line.remove(i)
	}
	p.out.Path, p.out.Positionals = p.cmd.Path, words
	s.record(&p.out)
	if refusal := validate(p.cmd, p.at, p.out); refusal != nil {
		if info := p.asked(); info != "" {
			return info, nil
		}
		return "", refusal
	}
	return "", nil
}

// descend picks the subcommand that the next word names, or the one for words
// that name none; nil when the current command is the last.
func (p *parser) descend() *command {
	if i := p.line.next(0); i >= 0 && p.line.tokens[i].kind == wordToken {
		if sub := p.cmd.child(p.line.tokens[i].text, p.at); sub != nil {
			p.line.remove(i)
			return sub
		}
	}
	if p.cmd.fallback == nil || (p.alone() && p.asked() != "") {
		return nil
	}
	return p.cmd.fallback
}

// alone is true when all that is left comes from one argument.
func (p *parser) alone() bool {
	left := p.line.left()
	return len(left) > 0 && left[0].arg == left[len(left)-1].arg
}

// asked is what the program prints because of what is left over: help before
// the version.
func (p *parser) asked() string {
	found := ""
	for _, t := range p.line.left() {
		switch {
		case t.kind != optionToken:
		case t.name == "--version":
			found = infoVersion
		case p.cmd.name() == "help":
		case t.name == "--help", t.name == "-h", t.name == "--help-hidden", t.name == "--experimental-dump-help":
			return infoHelp
		}
	}
	return found
}

// finish decides about what no command consumed and what the last one does.
func (p *parser) finish() (Parsed, *Refusal) {
	if info := p.asked(); info != "" {
		return p.informed(info), nil
	}
	var extra []string
	for _, t := range p.line.left() {
		switch t.kind {
		case optionToken:
			return Parsed{}, usage(ruleUnknownOption, "Unknown option '%s'", t.name)
		case wordToken:
			extra = append(extra, t.text)
		}
	}
	switch {
	case len(extra) > 0:
		return Parsed{}, usage(ruleExtraWord, "Unexpected argument '%s'", strings.Join(extra, "', '"))
	case p.cmd.name() == "help", p.cmd.Group:
		return p.informed(infoHelp), nil
	case p.cmd == load().Commands[""].fallback:
		return p.plugin()
	default:
		return p.out, nil
	}
}

// plugin hands the words on to a plugin, of which the program brings one.
func (p *parser) plugin() (Parsed, *Refusal) {
	words := p.out.Positionals
	switch {
	case len(words) == 0:
		return p.informed(infoHelp), nil
	case words[0] == "":
		return Parsed{}, usage(rulePlugin, "unknown argument ''")
	case words[0][0] == '-':
		return Parsed{}, usage(rulePlugin, "unknown option '%s'", words[0])
	}
	cmd := load().Commands[words[0]]
	if cmd == nil || cmd.Plugin == "" || p.at.before(cmd.Since) {
		return Parsed{}, usage(rulePlugin, "Plugin 'container-%s' not found.", words[0])
	}
	parsed, refusal := parse(cmd, p.at, words[1:])
	if refusal == nil && p.out.Flags["debug"] {
		parsed.Flags["debug"] = true
	}
	return parsed, refusal
}
