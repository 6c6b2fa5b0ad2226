package manifest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v4"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

const (
	maxReference = 512
	maxRepos     = 64
)

// image reads the name of an OCI image. An engine is told it behind the end of
// its options, but nobody names an image with a dash or a blank.
func (p *parser) image(a at) string {
	s, ok := p.str(a)
	if !ok {
		return ""
	}
	odd := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"'\$`, r) }
	if len(s) > maxReference || s[0] == '-' || strings.ContainsFunc(s, odd) {
		p.fail(a, fmt.Sprintf("%.80q is not the name of an image", s), `write for example "docker.io/library/debian:stable-slim"`)
		return ""
	}
	return s
}

// provider reads the part of bot-bottle's block that says what the guest is
// made from.
func (p *parser) provider(a at, into *backend.ImageSpec) {
	p.mapping(a, keys{
		read: map[string]func(at){"dockerfile": func(a at) { into.Dockerfile = p.path(a) }},
		later: map[string]string{
			"template": "installing an agent", "auth_token": "an agent's own route",
			"forward_host_credentials": "an agent's own route",
		},
	})
}

// path reads the path of a host file: absolute, below the home with "~/", or
// relative to the manifest.
func (p *parser) path(a at) string {
	s, ok := p.str(a)
	if !ok {
		return ""
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		p.fail(a, fmt.Sprintf("%.80q is not a path", s), "take out the control characters")
		return ""
	}
	if rest, home := strings.CutPrefix(s, "~/"); home {
		dir, err := os.UserHomeDir()
		if err != nil {
			p.fail(a, "there is no home directory for ~", "write an absolute path")
			return ""
		}
		return filepath.Join(dir, rest)
	}
	if filepath.IsAbs(s) {
		return filepath.Clean(s)
	}
	return filepath.Join(filepath.Dir(p.file), s)
}

// oneImage refuses a bottle that says twice what it is made from.
func (p *parser) oneImage(root at, s backend.ImageSpec) {
	if s.Reference != "" && s.Dockerfile != "" {
		p.fail(root, "image and agent_provider.dockerfile both say what the guest is made from", "keep one of them")
	}
}

// gate reads which repositories a bottle declares. What becomes of them is the
// git gate's matter; here it is known that the bottle needs one.
func (p *parser) gate(a at) []string {
	var names []string
	p.mapping(a, keys{
		read: map[string]func(at){"repos": func(a at) { names = p.repos(a) }},
		later: map[string]string{
			"user": "a git identity of its own",
		},
	})
	return names
}

func (p *parser) repos(a at) []string {
	if a.node.Kind != yaml.MappingNode {
		p.wrongType(a, "a mapping of names to repositories")
		return nil
	}
	if len(a.node.Content)/2 > maxRepos {
		p.fail(a, fmt.Sprintf("it has more than %d repositories", maxRepos), "shorten it")
		return nil
	}
	names := []string{} // an empty block clears the parent's
	for i := 0; i+1 < len(a.node.Content); i += 2 {
		name := a.node.Content[i].Value
		repo := a.child(name, a.node.Content[i+1])
		if repo.node.Kind != yaml.MappingNode {
			p.wrongType(repo, "a mapping with url and a key")
			continue
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
