package tools

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// argumentError is an argument that cannot be used.
type argumentError struct {
	Field   string // "" = the arguments as a whole
	Problem string // a clause that continues the name: "must be …"
	Allowed []string
}

func (e *argumentError) Error() string {
	text := e.Problem
	if e.Field != "" {
		text = fmt.Sprintf("argument %q %s", e.Field, e.Problem)
	}
	if len(e.Allowed) > 0 {
		text += "; allowed: " + strings.Join(e.Allowed, ", ")
	}
	return text
}

// checks gathers everything that is wrong with the arguments of one call, so
// that a model corrects all of it at once.
type checks struct{ found []error }

func (c *checks) err() error { return errors.Join(c.found...) }

func (c *checks) fail(field, problem string, args ...any) {
	c.found = append(c.found, &argumentError{Field: field, Problem: fmt.Sprintf(problem, args...)})
}

// id checks a bottle's id.
func (c *checks) id(field, value string) backend.ID {
	id := backend.ID(value)
	if value == "" {
		c.fail(field, "is missing: give the id of a bottle")
	} else if id.Validate() != nil {
		c.fail(field, "must be 1 to 40 of a-z, 0-9 and inner '-', not %.60q", value)
	}
	return id
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$`)

// name checks a manifest's name; "" is for the caller to judge.
func (c *checks) name(field, value string) {
	if value != "" && (!namePattern.MatchString(value) || strings.Contains(value, "..")) {
		c.fail(field, "must be a name of 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-', without '..', '/' or a leading '-', not %.80q", value)
	}
}

// label checks a short name for people. It ends in engine metadata and on
// terminals, so it holds to the rules of names where these are about safety.
func (c *checks) label(field, value string) {
	switch {
	case len(value) > 120:
		c.fail(field, "must be at most 120 bytes long")
	case strings.HasPrefix(value, "-"):
		c.fail(field, "must not begin with '-'")
	case strings.Contains(value, "/") || strings.Contains(value, ".."):
		c.fail(field, "must not hold '/' or '..', as %.130q does", value)
	case cleanLine(value, len(value)) != value:
		c.fail(field, "must be one line without control characters, unlike %.130q", value)
	}
}

// host checks a host name or wildcard; whether it may be kept is the policy's to
// say.
func (c *checks) host(field, value string) {
	if value == "" || len(value) > 260 || strings.HasPrefix(value, "-") || strings.ContainsAny(value, "/\x00\n\r ") {
		c.fail(field, "must hold host names as in the policy, such as %q, not %.80q", "example.com", value)
	}
}

var userPattern = regexp.MustCompile(`^([a-z_][a-z0-9_-]{0,31}|[0-9]{1,10})$`)

func (c *checks) user(field, value string) {
	if value != "" && !userPattern.MatchString(value) {
		c.fail(field, "must be a user name or number of the guest, such as %q, not %.60q", backend.AgentUser, value)
	}
}

const maxPath = 4095 // PATH_MAX without its NUL

// pathText refuses what no path of ours may hold, on either side.
func (c *checks) pathText(field, value string) bool {
	before := len(c.found)
	switch {
	case len(value) > maxPath:
		c.fail(field, "must be at most %d bytes long", maxPath)
	case !utf8.ValidString(value):
		c.fail(field, "must be UTF-8")
	case strings.ContainsAny(value, "\x00\n\r"):
		c.fail(field, "must not hold NUL or a line break, as %.80q does", value)
	case strings.HasPrefix(value, "-"):
		c.fail(field, "must not begin with '-'; write %.80q", "./"+value)
	case slices.Contains(strings.Split(value, "/"), ".."):
		c.fail(field, "must not hold '..', as %.80q does; give the resolved path", value)
	}
	return len(c.found) == before
}

// guestPath checks a path in the guest and makes it absolute: relative ones
// begin in the workspace.
func (c *checks) guestPath(field, value string) string {
	if !c.pathText(field, value) {
		return ""
	}
	full := path.Join(backend.GuestWorkspace, value)
	if path.IsAbs(value) {
		full = path.Clean(value)
	}
	if strings.HasSuffix(value, "/") && full != "/" {
		full += "/" // it says that a directory is meant
	}
	return full
}

var envPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// Bounds of env; together they stay far below what execve takes.
const (
	maxEnv      = 64
	maxEnvValue = 32 << 10
)

func (c *checks) env(field string, env map[string]string) {
	if len(env) > maxEnv {
		c.fail(field, "must hold at most %d variables", maxEnv)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		value := env[name]
		switch {
		case !envPattern.MatchString(name):
			c.fail(field, "holds the name %.80q; names are letters, digits and '_', not beginning with a digit", name)
		case len(value) > maxEnvValue:
			c.fail(field, "holds a value for %s of more than %d bytes", name, maxEnvValue)
		case strings.ContainsRune(value, 0):
			c.fail(field, "holds a NUL in the value of %s", name)
		}
	}
}

// between checks a number; zero means that it was not given.
func (c *checks) between(field string, value, low, high int) {
	if value != 0 && (value < low || value > high) {
		c.fail(field, "must be from %d to %d, not %d", low, high, value)
	}
}

// oneOf checks a word; "" means that it was not given.
func (c *checks) oneOf(field, value string, allowed []string) {
	if value != "" && !slices.Contains(allowed, value) {
		c.found = append(c.found, &argumentError{Field: field, Problem: fmt.Sprintf("must not be %.60q", value), Allowed: allowed})
	}
}
