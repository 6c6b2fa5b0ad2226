package manifest

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Shapes of credentials. People paste one where its name belongs, and an error
// that repeats it puts it into logs and into a model's context.
var (
	vendorToken = regexp.MustCompile(`\b(?:gh[pousr]_|github_pat_|glpat-|sk[-_]|rk_live_|xox[abeprs]-|xapp-|A[KS]IA|AIza|eyJ|npm_|pypi-|hf_|dop_v1_|shpat_|SG\.|ya29\.|glsa_|dckr_pat_)[A-Za-z0-9_.+/=-]{8,}`)
	hexToken    = regexp.MustCompile(`\b[0-9a-fA-F]{32,}\b`)
	mixedRun    = regexp.MustCompile(`[A-Za-z0-9_+=-]{20,}`)
	userinfo    = regexp.MustCompile(`[^/@\s"]*:[^/@\s"]*@`)
)

// masked is text without what may be a credential.
func masked(text string) string {
	text = userinfo.ReplaceAllString(text, "…@")
	text = vendorToken.ReplaceAllStringFunc(text, func(token string) string {
		if variableLike(token) {
			return token
		}
		return "…"
	})
	text = hexToken.ReplaceAllString(text, "…")
	return mixedRun.ReplaceAllStringFunc(text, func(run string) string {
		if mixed(run) {
			return "…"
		}
		return run
	})
}

// shortKey is a path for an error, bounded: a key of a broken file may be long.
func shortKey(key string) string {
	const most = 120
	if key = masked(key); len(key) > most {
		return strings.ToValidUTF8(key[:most], "") + "…"
	}
	return key
}

// mixed reports upper case, lower case and digits together, as in the usual
// encodings of random bytes.
func mixed(s string) bool {
	return strings.ContainsFunc(s, unicode.IsUpper) && strings.ContainsFunc(s, unicode.IsLower) && strings.ContainsFunc(s, unicode.IsDigit)
}

// variableLike reports names such as npm_config_registry and sk_x_home: tokens of
// these vendors have digits.
func variableLike(token string) bool {
	return strings.Contains(token, "_") && !strings.ContainsAny(token, "0123456789-") && !strings.HasPrefix(token, "gh")
}

// credential reports whether s, which could be the name of a variable, is more
// likely what the variable ought to hold.
func credential(s string) bool {
	vendor := vendorToken.FindString(s)
	return vendor != "" && !variableLike(vendor) || hexToken.MatchString(s) || len(s) >= 24 && !strings.Contains(s, "_") && mixed(s)
}

// listed joins names for a hint; of many only the first stand there.
func listed(words []string) string {
	const most = 20
	if len(words) == 0 {
		return "none"
	}
	if more := len(words) - most; more > 0 {
		words = append(slices.Clone(words[:most]), "…")
	}
	return strings.Join(words, ", ")
}

// suggestion begins a hint with the word that was probably meant.
func suggestion(word string, allowed []string) string {
	if near := nearest(word, allowed); near != "" {
		return `did you mean "` + near + `"? `
	}
	return ""
}

// nearest finds the allowed word that name is probably a slip for.
func nearest(name string, allowed []string) string {
	if len(name) > 64 {
		return ""
	}
	best, limit := "", min(3, len(name)/2+1)
	for _, word := range allowed {
		if d := distance(strings.ToLower(name), strings.ToLower(word)); d < limit {
			best, limit = word, d
		}
	}
	return best
}

// distance is the edit distance of two short words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
