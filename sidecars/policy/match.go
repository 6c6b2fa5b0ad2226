package policy

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

const (
	maxMethodLen = 32
	maxValue     = 1024 // bytes of a path or header value
	maxExpr      = 512  // bytes of a regular expression
	maxExprSize  = 1000 // instructions of a compiled one
)

// match is one validated sidecars.Match.
type match struct {
	paths   []pathRule
	methods []string
	headers []headerRule
}

// pathRule is one validated sidecars.PathMatch.
type pathRule struct {
	kind  string
	value string // prefixes without the slash at the end
	expr  *expr  // of kind regex
}

// headerRule is one validated sidecars.HeaderMatch.
type headerRule struct {
	name  string // canonical
	value string
	expr  *expr // nil for an exact value
}

// expr is a regular expression, anchored at both ends.
type expr struct {
	*regexp.Regexp
	prog *syntax.Prog // of the same, without anchors, for proofs
}

// compileMatches also puts into in the form that is applied: regular kinds
// spelled out, names canonical.
func (p *Policy) compileMatches(in []sidecars.Match) ([]match, []error) {
	if len(in) > maxMatches {
		return nil, []error{fmt.Errorf("%d matches, but at most %d are allowed", len(in), maxMatches)}
	}
	var out []match
	var faults []error
	for i := range in {
		m, err := p.compileMatch(&in[i])
		for _, e := range err {
			faults = append(faults, fmt.Errorf("matches[%d]: %w", i, e))
		}
		out = append(out, m)
	}
	return out, faults
}

func (p *Policy) compileMatch(in *sidecars.Match) (match, []error) {
	var m match
	if len(in.Paths)+len(in.Methods)+len(in.Headers) == 0 {
		return m, []error{errors.New("it says nothing; leave matches out to allow every request to the host")}
	}
	if len(in.Paths) > maxPaths || len(in.Methods) > maxMethods || len(in.Headers) > maxHeaders {
		return m, []error{fmt.Errorf("at most %d paths, %d methods and %d headers are allowed in one match", maxPaths, maxMethods, maxHeaders)}
	}
	var faults []error
	for i := range in.Paths {
		rule, err := p.compilePath(&in.Paths[i])
		if err != nil {
			faults = append(faults, fmt.Errorf("paths[%d] %.80q: %w", i, in.Paths[i].Value, err))
		}
		m.paths = append(m.paths, rule)
	}
	for i, method := range in.Methods {
		if err := checkMethod(method, in.Methods[:i]); err != nil {
			faults = append(faults, fmt.Errorf("methods[%d] %.40q: %w", i, method, err))
		}
	}
	m.methods = slices.Clone(in.Methods)
	for i := range in.Headers {
		rule, err := p.compileHeader(&in.Headers[i], m.headers)
		if err != nil {
			// Without the value: people put into headers what is nobody's business.
			faults = append(faults, fmt.Errorf("headers[%d] %.80q: %w", i, in.Headers[i].Name, err))
		}
		m.headers = append(m.headers, rule)
	}
	return m, faults
}

func (p *Policy) compilePath(in *sidecars.PathMatch) (pathRule, error) {
	p.rules++
	rule := pathRule{kind: in.Type, value: in.Value}
	switch in.Type {
	case sidecars.MatchRegex:
		var err error
		rule.expr, err = p.compileExpr(in.Value)
		return rule, err
	case sidecars.MatchExact, sidecars.MatchPrefix:
	default:
		return rule, fmt.Errorf("type %.40q is not known; use %q, %q or %q", in.Type, sidecars.MatchExact, sidecars.MatchPrefix, sidecars.MatchRegex)
	}
	if in.Value == "" {
		return rule, errors.New(`it is empty; a path begins with "/"`)
	}
	if len(in.Value) > maxValue {
		return rule, fmt.Errorf("it is longer than %d bytes", maxValue)
	}
	normal, err := NormalizePath(in.Value)
	if err != nil {
		return rule, fmt.Errorf("no request can match it: %w", err)
	}
	if normal != in.Value {
		return rule, fmt.Errorf("write it as %q", normal)
	}
	if in.Type == sidecars.MatchPrefix && normal != "/" {
		rule.value = strings.TrimSuffix(normal, "/") // as in the Gateway API
		in.Value = rule.value
	}
	return rule, nil
}

// compileExpr takes RE2's syntax only. The source is parsed by itself first,
// so that no parenthesis or flag in it can reach past the anchors.
func (p *Policy) compileExpr(src string) (*expr, error) {
	p.exprs++
	if src == "" || len(src) > maxExpr {
		return nil, fmt.Errorf("a regular expression must have 1 to %d bytes", maxExpr)
	}
	tree, err := syntax.Parse(src, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("it is no regular expression of RE2: %w", err)
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, fmt.Errorf("it is no regular expression of RE2: %w", err)
	}
	if len(prog.Inst) > maxExprSize {
		return nil, fmt.Errorf("it is too large (%d steps, at most %d); repeat less", len(prog.Inst), maxExprSize)
	}
	re, err := regexp.Compile(`\A(?:` + src + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("it is no regular expression of RE2: %w", err)
	}
	return &expr{Regexp: re, prog: prog}, nil
}

func checkMethod(method string, before []string) error {
	switch {
	case !isMethod(method):
		return fmt.Errorf("a method is 1 to %d upper-case letters, digits, '-' or '_'", maxMethodLen)
	case neverMethod(method):
		return errors.New("this method is never allowed through the proxy")
	case slices.Contains(before, method):
		return errors.New("it is listed twice")
	}
	return nil
}

// isMethod takes upper-case tokens: a lower-case "get" is another method to
// some servers and the same to others.
func isMethod(s string) bool {
	return s != "" && len(s) <= maxMethodLen && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

// neverMethod lists what would hand injected headers back, or hide requests.
func neverMethod(method string) bool {
	return method == http.MethodConnect || method == http.MethodTrace || method == "TRACK"
}

func (p *Policy) compileHeader(in *sidecars.HeaderMatch, before []headerRule) (headerRule, error) {
	if err := checkHeaderName(in.Name); err != nil {
		return headerRule{}, err
	}
	in.Name = http.CanonicalHeaderKey(in.Name)
	rule := headerRule{name: in.Name, value: in.Value}
	if slices.ContainsFunc(before, func(r headerRule) bool { return sameHeader(r.name, rule.name) }) {
		return rule, errors.New("this header has a rule in the same match already; merge the two")
	}
	switch in.Type {
	case sidecars.MatchRegex:
		var err error
		rule.expr, err = p.compileExpr(in.Value)
		return rule, err
	case "":
		in.Type = sidecars.MatchExact
	case sidecars.MatchExact:
	default:
		return rule, fmt.Errorf("type %.40q is not known; use %q or %q", in.Type, sidecars.MatchExact, sidecars.MatchRegex)
	}
	return rule, checkHeaderValue(in.Value)
}

func checkHeaderValue(v string) error {
	switch {
	case v == "" || len(v) > maxValue:
		return fmt.Errorf("the value must have 1 to %d bytes", maxValue)
	case strings.Trim(v, " \t") != v:
		return errors.New("the value begins or ends with a blank, which no header has")
	}
	for _, c := range []byte(v) {
		if c < ' ' && c != '\t' || c >= 0x7f {
			return errors.New("the value holds a character other than printable ASCII")
		}
	}
	return nil
}
