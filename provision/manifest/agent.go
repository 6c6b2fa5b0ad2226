package manifest

// Agent is one kind of agent.
type Agent struct {
	Name string
	File string
	// Bottle is the bottle it works in; "" = the caller chooses.
	Bottle string
	// Prompt is the system prompt: the file's body.
	Prompt string
}

// parseAgent reads one agent file. The keys of Claude Code's subagents are
// accepted, so that one file serves both programs.
func parseAgent(name string, doc document) (*Agent, error) {
	p := &parser{file: doc.file}
	agent := &Agent{Name: name, File: doc.file, Prompt: doc.body}
	root, ok := p.parse(doc.front)
	if !ok {
		return agent, p.result()
	}
	p.mapping(root, keys{
		read:    map[string]func(at){"bottle": func(a at) { agent.Bottle = p.name(a) }},
		ignored: []string{"color", "description", "memory", "model", "name"},
		later: map[string]string{
			"skills": "copying of skills", "git-gate": "a git identity of its own",
		},
		removed: removedKeys(),
	})
	return agent, p.result()
}
