package manifest

import (
	"fmt"
	"path/filepath"
	"slices"
)

// Checked is one manifest that was looked at. Exactly one of Bottle, Agent and
// Err is set.
type Checked struct {
	Kind string // "bottle" or "agent"
	Name string
	// Bottle is a bottle as it resolves; Agent is an agent whose bottle is there.
	Bottle *Bottle
	Agent  *Agent
	Err    error
}

// Check loads every manifest of the home and, of a workspace that is not empty,
// its agents. With names only those are loaded: "work", "bottles/work" or
// "agents/work"; a plain name means the bottle and the agent of that name.
func (l Loader) Check(workspace string, names ...string) []Checked {
	bottles, agents := l.Bottles(), l.Agents(workspace)
	var out []Checked
	if len(names) > 0 {
		bottles, agents, out = pick(names, bottles, agents)
	}
	r := l.resolver()
	for _, name := range bottles {
		b, err := r.bottle(name)
		out = append(out, Checked{Kind: "bottle", Name: name, Bottle: b, Err: err})
	}
	for _, name := range agents {
		a, err := l.Agent(name, workspace)
		if err == nil {
			err = r.bottleOf(a)
		}
		if err != nil {
			a = nil
		}
		out = append(out, Checked{Kind: "agent", Name: name, Agent: a, Err: err})
	}
	return out
}

// pick sorts names into those of bottles and agents. A name that nothing has
// comes back as a problem.
func pick(names, bottles, agents []string) (pickedBottles, pickedAgents []string, missing []Checked) {
	has := slices.Contains[[]string]
	for _, name := range names {
		dir, rest := filepath.Split(name)
		switch {
		case dir == bottlesDir+"/":
			pickedBottles = append(pickedBottles, rest)
		case dir == agentsDir+"/":
			pickedAgents = append(pickedAgents, rest)
		case has(bottles, name) || has(agents, name):
			if has(bottles, name) {
				pickedBottles = append(pickedBottles, name)
			}
			if has(agents, name) {
				pickedAgents = append(pickedAgents, name)
			}
		default:
			known := slices.Compact(slices.Sorted(slices.Values(slices.Concat(bottles, agents))))
			missing = append(missing, Checked{Kind: "manifest", Name: name, Err: fmt.Errorf("there is no bottle and no agent %.80q; %sknown: %s", name, suggestion(name, known), listed(known))})
		}
	}
	return pickedBottles, pickedAgents, missing
}

// bottleOf checks that an agent's bottle exists. Whether the bottle is whole is
// told of the bottle.
func (r *resolver) bottleOf(a *Agent) error {
	if a.Bottle == "" {
		return nil
	}
	known := r.loader.Bottles()
	if slices.Contains(known, a.Bottle) {
		return nil
	}
	origin := a.Origins["bottle"]
	e := noSuch("bottle", a.Bottle, origin.File, known)
	e.Line, e.Key = origin.Line, "bottle"
	return e
}
