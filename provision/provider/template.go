package provider

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// Variables of templates, written {{name}}.
const (
	varHome         = "home"          // the guest's home
	varUser         = "user"          // who works there
	varWorkspace    = "workspace"     // where the agent starts
	varPromptFile   = "prompt_file"   // the system prompt, absolute
	varLabel        = "label"         // what the bottle was called, one line of anything
	varBanner       = "banner"        // the label in the bottle's colour, for terminals
	varSuperviseURL = "supervise_url" // the supervisor's MCP server
	varBottlesURL   = "bottles_url"   // the MCP server of a bottle that may launch others
)

// What may stand where. A label is free text, so it is no part of a command: it
// could become an option.
var (
	placeVars     = []string{varHome, varUser, varWorkspace, varPromptFile}
	fileVars      = []string{varHome, varUser, varWorkspace, varPromptFile, varLabel, varBanner}
	superviseVars = []string{varHome, varUser, varWorkspace, varPromptFile, varLabel, varBanner, varSuperviseURL}
	superviseArgs = []string{varHome, varUser, varWorkspace, varPromptFile, varSuperviseURL}
	bottlesVars   = []string{varHome, varUser, varWorkspace, varPromptFile, varLabel, varBanner, varBottlesURL}
	bottlesArgs   = []string{varHome, varUser, varWorkspace, varPromptFile, varBottlesURL}
)

// checkTemplate reports why text is no template of the allowed variables.
func checkTemplate(text string, allowed []string) error {
	for rest := text; ; {
		_, after, found := strings.Cut(rest, "{{")
		if !found {
			if strings.Contains(rest, "}}") {
				return fmt.Errorf(`there is "}}" without "{{" before it`)
			}
			return nil
		}
		name, next, closed := strings.Cut(after, "}}")
		switch {
		case !closed:
			return fmt.Errorf(`"{{" is not closed by "}}"`)
		case !slices.Contains(allowed, name):
			return fmt.Errorf("%.40q is no variable here; known: %s", name, strings.Join(allowed, ", "))
		}
		rest = next
	}
}

// expand puts values in. Text that comes out of a variable is not looked at
// again. text has been checked.
func expand(text string, vars map[string]string) string {
	if !strings.Contains(text, "{{") {
		return text
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, "{{")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		name, next, _ := strings.Cut(after, "}}")
		b.WriteString(vars[name])
		text = next
	}
}

func expandAll(list []string, vars map[string]string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = expand(s, vars)
	}
	return out
}

// expandTree puts values into all strings of structured data, also into keys.
func expandTree(v any, vars map[string]string) any {
	switch x := v.(type) {
	case string:
		return expand(x, vars)
	case []any:
		out := make([]any, len(x))
		for i, item := range x {
			out[i] = expandTree(item, vars)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(x))
		for _, key := range slices.Sorted(maps.Keys(x)) { // in order, should two become equal
			out[expand(key, vars)] = expandTree(x[key], vars)
		}
		return out
	}
	return v
}

// eachString calls f for all strings of structured data, in order.
func eachString(v any, f func(text string, isKey bool)) {
	switch x := v.(type) {
	case string:
		f(x, false)
	case []any:
		for _, item := range x {
			eachString(item, f)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(x)) {
			f(key, true)
			eachString(x[key], f)
		}
	}
}

// plainLine makes text fit for one line of a terminal: a label may hold
// anything.
func plainLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
}

// colours are those that every terminal has, by their SGR numbers.
var colours = map[string]string{
	"red": "31", "green": "32", "yellow": "33", "blue": "34", "magenta": "35", "cyan": "36",
}

// Colours lists the names that Settings.Colour may have.
func Colours() []string { return []string{"red", "green", "yellow", "blue", "magenta", "cyan"} }

// banner is a label in a colour.
func banner(label, colour string) string {
	sgr, ok := colours[colour]
	if !ok || label == "" {
		return plainLine(label)
	}
	return "\x1b[" + sgr + "m" + plainLine(label) + "\x1b[0m"
}
