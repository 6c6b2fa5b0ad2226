package grammar

import (
	"slices"
	"strconv"
	"strings"
)

const (
	ruleNamesOrAll = "names-or-all"
	ruleNoDNS      = "no-dns"
	ruleDuration   = "duration"
	ruleScheme     = "scheme"
)

// The constraints, by the contract's words, that the program checks while it
// parses: before it complains about what is left over, behind --help.
const (
	constraintNoNames   = "no names and no --all: exit 1, invalidArgument (not 64)"
	constraintNamesAll  = "names together with --all: exit 1, invalidArgument"
	constraintDNS       = "--dns, --dns-domain, --dns-option, --dns-search exclude --no-dns (exit 64)"
	syntaxLogsLast      = "POSITIVE-INT[m|h|d]"
	syntaxScheme        = "http|https|auto (checked at run time: exit 1)"
	codeInvalidArgument = "invalidArgument"
)

// noAuto is the release that dropped the registry scheme "auto".
var noAuto = release{1, 3, 0} //nolint:gochecknoglobals // a constant

// validate applies the checks that the program makes while it parses.
func validate(cmd *command, at release, p Parsed) *Refusal {
	for _, constraint := range cmd.Constraints {
		switch constraint {
		case constraintNoNames:
			if len(p.Positionals) == 0 && !p.Flags["all"] {
				return failure(ruleNamesOrAll, codeInvalidArgument, "no "+cmd.Positionals[0].Name+" specified and --all not supplied")
			}
		case constraintNamesAll:
			if len(p.Positionals) > 0 && p.Flags["all"] {
				return failure(ruleNamesOrAll, codeInvalidArgument, "explicitly supplied "+cmd.Positionals[0].Name+" conflict with the --all flag")
			}
		case constraintDNS:
			if p.Flags["no-dns"] && givesDNS(p) {
				return usage(ruleNoDNS, "`--no-dns` cannot be used with DNS configuration flags (`--dns`, `--dns-domain`, `--dns-option`, `--dns-search`)")
			}
		}
	}
	for _, opt := range cmd.Options {
		last, given := p.Last(opt.canonical())
		switch {
		case !given:
		case opt.Syntax == syntaxLogsLast && !p.Flags["follow"] && !isDuration(last):
			return failure(ruleDuration, codeInvalidArgument, "invalid "+opt.Names[0]+" value '"+last+"'")
		case opt.Syntax == syntaxScheme && last == "auto" && !at.before(noAuto):
			return failure(ruleScheme, codeInvalidArgument, "unsupported scheme auto")
		}
	}
	return nil
}

func givesDNS(p Parsed) bool {
	return slices.ContainsFunc([]string{"dns", "dns-domain", "dns-option", "dns-search"}, func(name string) bool {
		return len(p.Options[name]) > 0
	})
}

// failure is an error of the program's own, in its own form.
func failure(rule, code, message string) *Refusal {
	return &Refusal{Code: exitFailure, Rule: rule, Message: code + ": " + strconv.Quote(message)}
}

// isDuration reads a positive number with at most one unit of minutes, hours
// or days.
func isDuration(value string) bool {
	number := value
	if value != "" && strings.ContainsRune("mhd", rune(value[len(value)-1])) {
		number = value[:len(value)-1]
	}
	n, err := strconv.ParseInt(number, 10, 64)
	return err == nil && n > 0
}
