package manifest

import (
	"fmt"
	"regexp"
)

const (
	maxSkills    = 256
	maxSkillName = 64
)

// Agent is one kind of agent.
type Agent struct {
	Name string
	File string
	// Bottle is the bottle it works in; "" = the caller chooses.
	Bottle string
	// Skills are host skill directories that are copied in, by name.
	Skills []string
	// User overlays the bottle's git identity, each part for itself.
	User GitUser
	// Prompt is the system prompt: the file's body.
	Prompt string
	// Origins says where each of these was written.
	Origins Origins
}

var skillName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// parseAgent reads one agent file. The keys of Claude Code's subagents are
// accepted, so that one file serves both programs.
func parseAgent(name string, doc document) (*Agent, error) {
	p := newParser(doc.file)
	agent := &Agent{Name: name, File: doc.file, Prompt: doc.body, Origins: p.origins}
	root, ok := p.parse(doc.front)
	if !ok {
		return agent, p.result()
	}
	p.mapping(root, keys{
		read: map[string]func(at){
			"bottle":   func(a at) { agent.Bottle = p.name(a) },
			"skills":   func(a at) { agent.Skills = p.skills(a) },
			"git-gate": func(a at) { agent.User = p.identity(a) },
		},
		ignored: []string{"color", "description", "memory", "model", "name"},
		refused: bottleKeys(),
		removed: removedKeys(),
	})
	return agent, p.result()
}

// bottleKeys are those that an agent file must not have: it may come with a
// repository, which never widens what a bottle may do.
func bottleKeys() map[string]string {
	const why = "put it into a bottle in the operator's home; an agent file can come with a repository and changes no policy"
	out := map[string]string{"tools": "remove it: the bottle is the boundary, and tools are not limited inside"}
	for _, name := range []string{
		"agent_provider", "backend", "egress", "env", "extends", "image", "isolation", "publish", "resources", "sub_bottles", "supervise", "ttl",
	} {
		out[name] = why
	}
	return out
}

func (p *parser) skills(a at) []string {
	return distinct(p, a, maxSkills, func(item at) (string, bool) {
		s, ok := p.str(item)
		if ok && (!skillName.MatchString(s) || len(s) > maxSkillName) {
			p.fail(item, fmt.Sprintf("%.80q is not the name of a skill", s), "write the name of its directory, not a path")
			return "", false
		}
		return s, ok
	})
}

// identity reads what an agent may say of git: who it is, never where it pushes.
func (p *parser) identity(a at) GitUser {
	var u GitUser
	p.mapping(a, keys{
		read:    map[string]func(at){"user": func(a at) { u = p.gitUser(a) }},
		refused: map[string]string{"repos": "declare repositories in a bottle in the operator's home; an agent file can come with a repository and gets no key"},
	})
	return u
}
