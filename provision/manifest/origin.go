package manifest

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
)

// Origin is where a value was written.
type Origin struct {
	File string `json:"file"`
	Line int    `json:"line"` // 1-based
}

func (o Origin) String() string {
	if o.File == "" {
		return "built in"
	}
	return fmt.Sprintf("%s:%d", o.File, o.Line)
}

// Origins says where each key was written, by its dotted path, such as
// "egress.routes[0].host" or "env.NAME". Blocks stand there as well as what is
// in them, so that a key is declared exactly when it has an origin. In a merged
// bottle the paths are those of the result.
type Origins map[string]Origin

// has reports whether any of the keys is declared.
func (o Origins) has(keys ...string) bool {
	for _, key := range keys {
		if _, ok := o[key]; ok {
			return true
		}
	}
	return false
}

// drop forgets keys and all that is below them.
func (o Origins) drop(keys ...string) {
	maps.DeleteFunc(o, func(path string, _ Origin) bool {
		for _, key := range keys {
			if rest, ok := strings.CutPrefix(path, key); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
				return true
			}
		}
		return false
	})
}

// routesPath is the key of the list that is renumbered when lists are joined.
const routesPath = "egress.routes"

// add takes over the origins of top. Its route i has become number index[i], or
// has been left out when that is negative; without an index nothing has moved.
func (o Origins) add(top Origins, index []int) {
	if index == nil {
		maps.Copy(o, top)
		return
	}
	for path, origin := range top {
		rest, isRoute := strings.CutPrefix(path, routesPath+"[")
		if !isRoute {
			o[path] = origin
			continue
		}
		number, tail, _ := strings.Cut(rest, "]")
		i, err := strconv.Atoi(number)
		if err == nil && i < len(index) && index[i] >= 0 {
			o[routeKey(index[i])+tail] = origin
		}
	}
}

// routeKey is the path of one route.
func routeKey(i int) string { return routesPath + "[" + strconv.Itoa(i) + "]" }
