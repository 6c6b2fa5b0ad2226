package pid1

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// served are the daemons that this build has, in the order in which they start.
func served() []sidecars.Service { return []sidecars.Service{sidecars.Egress, sidecars.Bottles} }

// planned are those that the contract names and this build has not.
func planned() []sidecars.Service { return []sidecars.Service{sidecars.Supervise, sidecars.GitGate} }

// selectDaemons reads sidecars.DaemonsEnv; nil = all that the directory has the
// secrets of (see withSecrets). Blanks and repetitions do not matter. A name that is not served is refused: a bottle that counts on a
// daemon must not run without it.
func selectDaemons(list string, isSet bool) ([]sidecars.Service, error) {
	if !isSet {
		return nil, nil
	}
	var chosen []sidecars.Service
	for field := range strings.SplitSeq(list, ",") {
		name := sidecars.Service(strings.TrimSpace(field))
		switch {
		case name == "" || slices.Contains(chosen, name):
		case slices.Contains(served(), name):
			chosen = append(chosen, name)
		case slices.Contains(planned(), name):
			return nil, fmt.Errorf("%s: this build cannot serve %s yet; allowed: %s", sidecars.DaemonsEnv, name, names(served()))
		default:
			return nil, fmt.Errorf("%s: %.80q is no daemon; allowed: %s", sidecars.DaemonsEnv, name, names(served()))
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("%s names no daemon; name some of: %s; or leave it unset for all", sidecars.DaemonsEnv, names(served()))
	}
	return chosen, nil
}

// withSecrets are the daemons of a sidecar that was told of none: a bottle that
// may launch no bottles has no token for it.
func withSecrets(s *settings) []sidecars.Service {
	if s.secrets.BottlesToken.Empty() {
		return []sidecars.Service{sidecars.Egress}
	}
	return served()
}

func names(list []sidecars.Service) string {
	var out []string
	for _, s := range list {
		out = append(out, string(s))
	}
	return strings.Join(out, ", ")
}
