package policy

import (
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// view is a request as matches see it. What takes work is done once, and only
// when a match asks.
type view struct {
	r *Request

	path      string // normal form; "" before it was asked for
	pathFault *PathError

	headersRead bool
	pathHeader  bool     // a header names another path to some servers
	overrides   []string // methods named elsewhere than in the request line
}

func (v *view) satisfies(m *match) bool {
	return v.methodHolds(m) && v.pathHolds(m) && v.headersHold(m)
}

// pathHolds also fails for every rule when the path is ambiguous.
func (v *view) pathHolds(m *match) bool {
	if len(m.paths) == 0 {
		return true
	}
	v.readPath()
	if v.pathFault != nil {
		return false
	}
	for i := range m.paths {
		if m.paths[i].holds(v.path) {
			return true
		}
	}
	return false
}

func (v *view) readPath() {
	if v.path != "" || v.pathFault != nil {
		return
	}
	if v.readHeaders(); v.pathHeader {
		v.pathFault = errPathHeader
		return
	}
	v.path, v.pathFault = normalize(v.r.RawPath)
}

// errPathHeader is the fault of a request whose path may not be what counts.
var errPathHeader = &PathError{"header", "may be replaced by a header of the request (X-Original-URL and its kin)"}

func (r *pathRule) holds(path string) bool {
	switch {
	case r.expr != nil:
		return r.expr.MatchString(path)
	case r.value == path:
		return true
	case r.kind == sidecars.MatchPrefix:
		return below(path, r.value)
	}
	return false
}

// below reports whether path lies under prefix by whole segments, or is it.
func below(path, prefix string) bool {
	return prefix == "/" || strings.HasPrefix(path, prefix) && (len(path) == len(prefix) || path[len(prefix)] == '/')
}

func (v *view) methodHolds(m *match) bool {
	if len(m.methods) == 0 {
		return true
	}
	if !slices.Contains(m.methods, v.r.Method) {
		return false
	}
	v.readHeaders()
	for _, method := range v.overrides {
		if !slices.Contains(m.methods, method) {
			return false
		}
	}
	return true
}

func (v *view) headersHold(m *match) bool {
	for i := range m.headers {
		if !m.headers[i].holds(v.r.Header) {
			return false
		}
	}
	return true
}

// readHeaders looks for what may replace method or path at the server.
func (v *view) readHeaders() {
	if v.headersRead {
		return
	}
	v.headersRead = true
	for name, values := range v.r.Header {
		switch kindOf(name) {
		case pathHeader:
			v.pathHeader = true
		case methodHeader:
			for _, value := range values {
				v.overrides = append(v.overrides, strings.ToUpper(strings.Trim(value, " \t")))
			}
		}
	}
	v.readQuery()
}

// readQuery finds _method in every spelling that a server might read it from.
func (v *view) readQuery() {
	const key = "_method"
	for rest := v.r.RawQuery; rest != ""; {
		var pair string
		if i := strings.IndexAny(rest, "&;"); i >= 0 {
			pair, rest = rest[:i], rest[i+1:]
		} else {
			pair, rest = rest, ""
		}
		name, value, _ := strings.Cut(pair, "=")
		if len(name) < len(key) {
			continue
		}
		// PHP drops blanks at the start of a name and turns what cannot stand
		// in a variable's into underscores.
		name = strings.TrimLeft(unescape(name), " +")
		if len(name) >= len(key) && strings.IndexByte("_.[", name[0]) >= 0 && strings.HasPrefix(strings.ToLower(name[1:]), key[1:]) {
			v.overrides = append(v.overrides, strings.ToUpper(unescape(value)))
		}
	}
}
