package policy

import (
	"fmt"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// mostWords bounds how many entries of a list are spelled out.
const mostWords = 6

// Words says what a route allows, for people and models: its host, and in
// parentheses what is special about it. It shows no header's value, no
// credential and no address.
func Words(r sidecars.Route) string {
	var notes []string
	if len(r.Ports) > 0 {
		notes = append(notes, "ports "+strings.Trim(strings.ReplaceAll(fmt.Sprint(r.Ports), " ", ", "), "[]"))
	}
	if len(r.Matches) > 0 {
		notes = append(notes, "only "+matchesWords(r.Matches))
	}
	if r.GitFetch {
		notes = append(notes, "git fetch")
	}
	if r.Auth != nil {
		notes = append(notes, "a credential is added")
		notes = append(notes, pinWords(r.Auth.Pin)...)
	}
	if len(r.Private) > 0 {
		notes = append(notes, "private addresses allowed")
	}
	notes = append(notes, ruleWords(r)...)
	if len(notes) == 0 {
		return r.Host
	}
	return r.Host + " (" + strings.Join(notes, "; ") + ")"
}

// matchesWords says what matches allow, as in "GET or HEAD on /v1 and below".
func matchesWords(matches []sidecars.Match) string {
	var parts []string
	for _, m := range matches {
		parts = append(parts, matchWords(m))
	}
	return list(parts, ", or ")
}

// MatchWords says what the match behind a decision allows, "" when there is
// none.
func (p *Policy) MatchWords(d Decision) string {
	if d.Route < 0 || d.Match < 0 {
		return ""
	}
	return matchWords(p.routes[d.Route].in.Matches[d.Match])
}

func matchWords(m sidecars.Match) string {
	words := "any method"
	if len(m.Methods) > 0 {
		words = list(m.Methods, " or ")
	}
	var paths, headers []string
	for _, p := range m.Paths {
		paths = append(paths, pathWords(p))
	}
	for _, h := range m.Headers {
		headers = append(headers, h.Name)
	}
	if len(paths) > 0 {
		words += " on " + list(paths, " or ")
	} else {
		words += " on any path"
	}
	if len(headers) > 0 {
		words += " with the right " + list(headers, " and ")
	}
	return words
}

func pathWords(p sidecars.PathMatch) string {
	value := p.Value
	if len(value) > 80 {
		value = value[:77] + "..."
	}
	switch {
	case p.Type == sidecars.MatchExact:
		return "exactly " + value
	case p.Type == sidecars.MatchRegex:
		return "paths like " + value
	case value == "/":
		return "every unambiguous path"
	}
	return strings.TrimSuffix(value, "/") + " and below"
}

// list joins entries, the first of them only where there are many.
func list(entries []string, joint string) string {
	if more := len(entries) - mostWords; more > 0 {
		entries = append(entries[:mostWords:mostWords], fmt.Sprintf("%d more", more))
	}
	return strings.Join(entries, joint)
}
