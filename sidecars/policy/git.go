package policy

import (
	"net/http"
	"strings"
)

const (
	gitReceivePack = "git-receive-pack"
	gitUploadPack  = "git-upload-pack"
	gitFetchType   = "application/x-git-upload-pack-request"
)

// gitUse is what a request is to a server that speaks git's smart HTTP.
type gitUse int

const (
	noGit gitUse = iota
	gitFetch
	gitPush
)

// gitUseOf recognises both requests of a push or fetch, in every spelling a
// server might decode to them, and the body's type by itself.
func gitUseOf(r *Request) gitUse {
	use := noGit
	for _, t := range r.Header["Content-Type"] {
		use = max(use, gitUseIn(t))
	}
	if !mayNameGit(r.RawPath) {
		return use
	}
	switch lastSegment(r.RawPath) {
	case gitReceivePack:
		return gitPush
	case gitUploadPack:
		return max(use, gitFetch)
	case "refs": // info/refs; "info" may hide behind dot segments
		return max(use, gitUseIn(unescapeFully(r.RawQuery)))
	}
	return use
}

func gitUseIn(s string) gitUse {
	if !strings.Contains(s, "-") {
		return noGit
	}
	s = strings.ToLower(s)
	switch {
	case strings.Contains(s, gitReceivePack):
		return gitPush
	case strings.Contains(s, gitUploadPack):
		return gitFetch
	}
	return noGit
}

// isPlainFetch recognises the two requests of a fetch in the form that git
// sends, for which a match's methods are lifted. path is in normal form.
func isPlainFetch(r *Request, path string) bool {
	switch r.Method {
	case http.MethodGet:
		return strings.HasSuffix(path, "/info/refs") && r.RawQuery == "service="+gitUploadPack
	case http.MethodPost:
		t := r.Header["Content-Type"]
		return strings.HasSuffix(path, "/"+gitUploadPack) && r.RawQuery == "" &&
			len(t) == 1 && t[0] == gitFetchType
	}
	return false
}

// mayNameGit is a fast test without false negatives: only what is escaped, or
// holds one of the words, can have them as last segment.
func mayNameGit(path string) bool {
	for i := range len(path) {
		switch path[i] | 0x20 {
		case '%' | 0x20:
			return true
		case 'g':
			if hasPrefixFold(path[i:], "git-") {
				return true
			}
		case 'r':
			if hasPrefixFold(path[i:], "refs") {
				return true
			}
		}
	}
	return false
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// lastSegment returns the last path segment that a lenient server would see:
// decoded, lower case, without parameters, empty and dot segments skipped.
func lastSegment(path string) string {
	path = strings.ReplaceAll(unescapeFully(path), `\`, "/")
	skip := 0
	for more := true; more; {
		segment := path
		if i := strings.LastIndexByte(path, '/'); i >= 0 {
			path, segment = path[:i], path[i+1:]
		} else {
			more = false
		}
		segment, _, _ = strings.Cut(segment, ";")
		switch segment = strings.Trim(segment, " \t\r\n\x00"); {
		case segment == "" || segment == ".":
		case segment == "..":
			skip++
		case skip > 0:
			skip--
		default:
			return segment
		}
	}
	return ""
}

// unescapeFully decodes percent escapes until none is left, at most four
// times, and lowers the case. Broken escapes stay as they are: a server may
// skip over them, so they must not stop the decoding.
func unescapeFully(s string) string {
	for range 4 {
		plain := unescape(s)
		if plain == s {
			break
		}
		s = plain
	}
	return strings.ToLower(s)
}

func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			out = append(out, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
			continue
		}
		out = append(out, s[i])
	}
	return string(out)
}
