package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// MaxPinned bounds each list of a sidecars.Pin.
const MaxPinned = 64

// checkPin judges what a route says about other credentials.
func checkPin(p sidecars.Pin) error {
	if len(p.Query) > MaxPinned || len(p.Headers) > MaxPinned || len(p.AllowQuery) > MaxPinned {
		return fmt.Errorf("auth: pin: a list may have %d entries", MaxPinned)
	}
	for _, name := range slices.Concat(p.Query, p.AllowQuery) {
		if err := CheckParameter(name); err != nil {
			return fmt.Errorf("auth: pin: parameter %.80q: %w", name, err)
		}
	}
	for _, name := range p.Headers {
		if err := CheckAuthHeader(name); err != nil {
			return fmt.Errorf("auth: pin: header %.80q: %w", name, err)
		}
	}
	if !slices.Contains([]string{"", sidecars.CookiesStrip, sidecars.CookiesRefuse, sidecars.CookiesAllow}, p.Cookies) {
		return fmt.Errorf("auth: pin: cookies cannot be %.40q; use strip, refuse or allow", p.Cookies)
	}
	return nil
}

// CheckParameter reports why a name cannot be that of a parameter in a pin.
func CheckParameter(name string) error {
	if len(name) > 128 || ParameterKey(name) == "" {
		return errors.New("a parameter's name has 1 to 128 characters, at least one of them a letter or digit")
	}
	if strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("&;=#%", r) }) {
		return errors.New("a parameter's name is written plainly, without escapes, blanks, '&', ';', '=' and '#'")
	}
	return nil
}

// ParameterKey is a parameter's name as a pin compares it: its letters and digits
// alone, so that API_KEY, apiKey and x[api-key] are not told from apikey and
// xapikey.
func ParameterKey(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, unescapeFully(name))
}

// pinWithin: the child takes no less for a credential than the parent.
func pinWithin(child, parent *sidecars.Pin) string {
	var c, q sidecars.Pin
	if child != nil {
		c = *child
	}
	if parent != nil {
		q = *parent
	}
	within := func(small, large []string, key func(string) string) bool {
		return !slices.ContainsFunc(small, func(s string) bool {
			return !slices.ContainsFunc(large, func(l string) bool { return key(l) == key(s) })
		})
	}
	switch {
	case !within(q.Query, c.Query, ParameterKey), !within(q.Headers, c.Headers, strings.ToLower):
		return "it lets credentials of the agent's own through that the parent refuses"
	case !within(c.AllowQuery, q.AllowQuery, ParameterKey):
		return "it allows parameters that the parent takes for credentials"
	case cookieRank(c.Cookies) > cookieRank(q.Cookies):
		return "cookies travel further than with the parent"
	}
	return ""
}

// cookieRank orders what may happen to cookies by how much it lets through.
// Refusing and leaving out let nothing through.
func cookieRank(s string) int {
	if s == sidecars.CookiesAllow {
		return 1
	}
	return 0
}

// pinWords says what a pin lets through that others do not.
func pinWords(p *sidecars.Pin) []string {
	if p == nil {
		return nil
	}
	var notes []string
	if len(p.AllowQuery) > 0 {
		notes = append(notes, "the agent's own "+list(slices.Clone(p.AllowQuery), " and ")+" in URLs")
	}
	if p.Cookies == sidecars.CookiesAllow {
		notes = append(notes, "the agent's own cookies")
	}
	return notes
}
