package provision

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/provision/setup"
	"github.com/bottle-mcp/bottle-mcp/provision/trust"
)

// gitPlan is what git is told in the guest.
type gitPlan struct {
	user  manifest.GitUser
	repos map[string]manifest.Repo
}

// git takes the identity from the bottle, each part overlaid by the agent's.
func (d *draft) git() {
	d.r.git = gitPlan{user: d.bottle.User, repos: d.bottle.Repos}
	if d.agent != nil {
		d.r.git.user.Name = cmp.Or(d.agent.User.Name, d.r.git.user.Name)
		d.r.git.user.Email = cmp.Or(d.agent.User.Email, d.r.git.user.Email)
	}
}

// identityEnv makes the identity win also over a workspace whose own
// .git/config says otherwise: that beats every other file, and only variables
// beat it.
func identityEnv(u manifest.GitUser) map[string]string {
	env := map[string]string{}
	for _, who := range []string{"GIT_AUTHOR_", "GIT_COMMITTER_"} {
		if u.Name != "" {
			env[who+"NAME"] = u.Name
		}
		if u.Email != "" {
			env[who+"EMAIL"] = u.Email
		}
	}
	return env
}

// gitConfigFile is ours; the agent's own configuration includes it. Its last
// word holds, so the line stands at the end.
const gitConfigFile = backend.AgentHome + "/.bottle/gitconfig"

// gitFiles are the agent's git configuration, which processes with an empty
// environment read too.
func gitFiles(g gitPlan, e backend.Endpoints) []setup.File {
	return []setup.File{
		{Path: gitConfigFile, Content: []byte(gitConfig(g, e)), How: setup.Replace},
		{Path: backend.AgentHome + "/.gitconfig", Content: []byte("[include]\n\tpath = " + gitConfigFile + "\n"), How: setup.Append},
	}
}

func gitConfig(g gitPlan, e backend.Endpoints) string {
	var b strings.Builder
	b.WriteString("# Written by bottle-mcp; `git config --global` writes to ~/.gitconfig.\n")
	b.WriteString(trust.GitHTTP(e))
	// Where a workspace belongs to another user of the guest, git refuses it.
	fmt.Fprintf(&b, "[safe]\n\tdirectory = %s\n", backend.GuestWorkspace)
	if g.user != (manifest.GitUser{}) {
		b.WriteString("[user]\n")
		for _, part := range []struct{ name, value string }{{"name", g.user.Name}, {"email", g.user.Email}} {
			if part.value != "" {
				fmt.Fprintf(&b, "\t%s = %s\n", part.name, gitQuote(part.value))
			}
		}
	}
	b.WriteString(gateRewrites(g, e))
	return b.String()
}

// gateRewrites lead the upstreams' URLs to the git gate, for fetch and push. The
// longest prefix wins in git, and of two alike the first that is read; so a
// workspace's own rewrites lose to these.
func gateRewrites(g gitPlan, e backend.Endpoints) string {
	if e.GitGate == "" {
		return ""
	}
	var b strings.Builder
	gate := strings.TrimSuffix(e.GitGate, "/")
	if strings.HasPrefix(gate, "http") {
		// The gate is beside the proxy, not behind it.
		fmt.Fprintf(&b, "[http %s]\n\tproxy = \"\"\n", gitQuote(gate))
	}
	for _, name := range slices.Sorted(maps.Keys(g.repos)) {
		fmt.Fprintf(&b, "[url %s]\n", gitQuote(gate+"/"+name+".git"))
		for _, alias := range upstreamAliases(g.repos[name].URL) {
			fmt.Fprintf(&b, "\tinsteadOf = %[1]s\n\tpushInsteadOf = %[1]s\n", gitQuote(alias))
		}
	}
	return b.String()
}

// upstreamAliases are the ways to write an SSH upstream: as a URL and in scp's
// form, with and without .git.
func upstreamAliases(upstream string) []string {
	bases := []string{strings.TrimSuffix(upstream, ".git")}
	if u, err := url.Parse(upstream); err == nil && u.Scheme == "ssh" {
		if u.Port() == "" {
			bases = append(bases, at(u.User.Username())+u.Hostname()+":"+strings.TrimSuffix(strings.TrimPrefix(u.Path, "/"), ".git"))
		}
	} else if host, p, ok := strings.Cut(bases[0], ":"); ok && !strings.Contains(upstream, "://") {
		bases = append(bases, "ssh://"+host+"/"+strings.TrimPrefix(p, "/"))
	}
	var out []string
	for _, b := range bases {
		out = append(out, b+".git", b)
	}
	return out
}

func at(user string) string {
	if user == "" {
		return ""
	}
	return user + "@"
}

// gitQuote writes a value, or a section's name, of a git configuration.
func gitQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}
