package manifest

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

const (
	maxRepos    = 64
	maxRepoName = 100
	maxURL      = 1024
	maxIdentity = 256
)

// Providers of a gate's key.
const (
	// KeyStatic is a private key in a file of the host.
	KeyStatic = "static"
	// KeyGitea makes a key at launch, registers it with a Gitea server and
	// removes it with the bottle.
	KeyGitea = "gitea"
)

// GitUser is a git identity; both may be empty.
type GitUser struct{ Name, Email string }

// Repo is one repository behind the git gate.
type Repo struct {
	// URL is the upstream's, SSH in either form.
	URL string
	// Key is what the gate logs in with; the guest never has it.
	Key RepoKey
	// HostKey pins the upstream's host key, such as "ssh-ed25519 AAAA…". The
	// gate forwards nothing to an upstream that it does not know; "" = unknown.
	HostKey string
}

// RepoKey says where the key of a repository comes from. The three ways to write
// it (identity, provisioned_key and key) are one here.
type RepoKey struct {
	Provider string // KeyStatic or KeyGitea; "" = not declared
	Path     string // static: the private key's file
	TokenEnv string // gitea: the host variable with the server's token
	APIURL   string // gitea: the server; "" = https on the upstream's host
}

// keyForms are the ways to write a key, which exclude each other.
var keyForms = []string{"identity", "provisioned_key", "key"}

// gate reads the whole block.
func (p *parser) gate(a at, b *Bottle) {
	p.mapping(a, keys{read: map[string]func(at){
		"user":  func(a at) { b.User = p.gitUser(a) },
		"repos": func(a at) { b.Repos = p.repos(a) },
	}})
}

func (p *parser) gitUser(a at) GitUser {
	var u GitUser
	p.mapping(a, keys{read: map[string]func(at){
		"name":  func(a at) { u.Name = p.identityPart(a) },
		"email": func(a at) { u.Email = p.email(a) },
	}})
	return u
}

// identityPart reads what git writes into a commit's header.
func (p *parser) identityPart(a at) string {
	s := p.line(a, maxIdentity)
	if strings.ContainsAny(s, "<>") {
		p.fail(a, "git accepts no '<' and '>' in an identity", "name and email are written apart")
		return ""
	}
	return s
}

func (p *parser) email(a at) string {
	s := p.identityPart(a)
	if s != "" && (!strings.Contains(s, "@") || strings.Contains(s, " ")) {
		p.fail(a, fmt.Sprintf("%.80q is not an e-mail address", s), `write for example "agent@example.com"`)
		return ""
	}
	return s
}

var repoName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

func (p *parser) repos(a at) map[string]Repo {
	out := map[string]Repo{}
	p.named(a, maxRepos, "a mapping of names to repositories", func(name, v at) {
		n := name.node.Value
		if !repoName.MatchString(n) || len(n) > maxRepoName || strings.HasSuffix(n, ".git") || strings.HasSuffix(n, ".lock") {
			p.fail(name, fmt.Sprintf("%.80q is not the name of a repository", n), "use letters, digits, '.', '_' and '-', without .git at the end")
			return
		}
		for other := range out {
			if strings.EqualFold(other, n) {
				p.fail(name, fmt.Sprintf("it differs from %q only in case", other), "rename one of the two; they would be one directory on some hosts")
				return
			}
		}
		out[n] = p.repo(v)
	})
	return out
}

func (p *parser) repo(a at) Repo {
	var r Repo
	if !p.clean(func() bool {
		return p.mapping(a, keys{read: map[string]func(at){
			"url":             func(v at) { r.URL = p.sshURL(v) },
			"identity":        func(v at) { r.Key = RepoKey{Provider: KeyStatic, Path: p.keyPath(v)} },
			"provisioned_key": func(v at) { r.Key = p.provisionedKey(v) },
			"key":             func(v at) { r.Key = p.repoKey(v) },
			"host_key":        func(v at) { r.HostKey = p.hostKey(v) },
		}})
	}) {
		return r
	}
	var given []string
	for i := 0; i+1 < len(a.node.Content); i += 2 {
		if name := a.node.Content[i].Value; slices.Contains(keyForms, name) {
			given = append(given, name)
		}
	}
	if len(given) > 1 {
		p.fail(a, strings.Join(given, " and ")+" both say which key is used", "keep one of them")
	}
	return r
}

// keyPath reads the path of a private key.
func (p *parser) keyPath(a at) string {
	if strings.Contains(a.node.Value, "PRIVATE KEY") {
		p.fail(a, "it must be the path of the key's file, never the key itself", `write for example "~/.ssh/id_ed25519"`)
		return ""
	}
	return p.path(a)
}

func (p *parser) provisionedKey(a at) RepoKey {
	var k RepoKey
	p.mapping(a, keys{read: map[string]func(at){
		"provider":  func(v at) { k.Provider = p.choice(v, KeyGitea) },
		"token_env": func(v at) { k.TokenEnv = p.hostVariable(v) },
		"api_url":   func(v at) { k.APIURL = p.apiURL(v) },
	}})
	p.complete(a, k, "token_env")
	return k
}

func (p *parser) repoKey(a at) RepoKey {
	var k RepoKey
	p.mapping(a, keys{read: map[string]func(at){
		"provider":        func(v at) { k.Provider = p.choice(v, KeyStatic, KeyGitea) },
		"path":            func(v at) { k.Path = p.keyPath(v) },
		"forge_token_env": func(v at) { k.TokenEnv = p.hostVariable(v) },
		"api_url":         func(v at) { k.APIURL = p.apiURL(v) },
	}})
	p.complete(a, k, "forge_token_env")
	return k
}

// complete checks that a key has what its provider needs and nothing else.
func (p *parser) complete(a at, k RepoKey, token string) {
	if a.node.Kind != yaml.MappingNode {
		return
	}
	given := map[string]bool{}
	for i := 0; i+1 < len(a.node.Content); i += 2 {
		given[a.node.Content[i].Value] = true
	}
	needed, foreign := []string{token}, []string{"path"}
	if k.Provider == KeyStatic {
		needed, foreign = []string{"path"}, []string{token, "api_url"}
	}
	switch {
	case !given["provider"]:
		p.fail(a, "a key needs a provider", "write for example {provider: gitea, "+token+": NAME_OF_A_HOST_VARIABLE}")
		return
	case k.Provider == "":
		return // said already
	}
	for _, name := range needed {
		if !given[name] {
			p.fail(a, fmt.Sprintf("a key of provider %s needs %s", k.Provider, name), "add it")
		}
	}
	for _, name := range foreign {
		if given[name] {
			p.fail(a, fmt.Sprintf("a key of provider %s has no %s", k.Provider, name), "remove it or change the provider")
		}
	}
}

// sshURL reads an upstream. It is never repeated: people put passwords there.
func (p *parser) sshURL(a at) string {
	s, ok := p.str(a)
	if !ok {
		return ""
	}
	if err := CheckSSHURL(s); err != nil {
		p.fail(a, err.Error(), `write for example "ssh://git@git.example.com/team/app.git" or "git@git.example.com:team/app.git"`)
		return ""
	}
	return s
}

var (
	sshUser   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)
	scpForm   = regexp.MustCompile(`^(?:([^@/:]+)@)?([^@/:]+):([^:].*)$`)
	plainPath = regexp.MustCompile(`^[A-Za-z0-9._/~+-]+$`)
)

// CheckSSHURL reports why s is not the URL of a repository behind SSH, without
// repeating it.
func CheckSSHURL(s string) error {
	if len(s) > maxURL {
		return fmt.Errorf("a URL may have at most %d bytes", maxURL)
	}
	if !strings.Contains(s, "://") {
		m := scpForm.FindStringSubmatch(s)
		if m == nil {
			return errors.New("it is not the URL of a repository behind SSH")
		}
		return checkSSHParts(m[1], m[2], m[3])
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return errors.New("it is not a URL")
	case u.Scheme != "ssh":
		return errors.New("only SSH is accepted: the gate logs in with a key")
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return errors.New("an SSH URL has no query and no fragment")
	}
	if _, has := u.User.Password(); has {
		return errors.New("an SSH URL holds no password")
	}
	if n, err := strconv.ParseUint(u.Port(), 10, 16); u.Port() != "" && (err != nil || n == 0) {
		return errors.New("its port is no number from 1 to 65535")
	}
	return checkSSHParts(u.User.Username(), u.Hostname(), strings.TrimPrefix(u.EscapedPath(), "/"))
}

// checkSSHParts refuses what a shell or ssh itself could read as something else.
func checkSSHParts(user, host, path string) error {
	switch {
	case user != "" && !sshUser.MatchString(user):
		return errors.New("its user has characters that no user has")
	case strings.HasPrefix(host, "*") || CheckHost(strings.ToLower(host)) != nil:
		return errors.New("its host is not one")
	case path == "" || strings.HasPrefix(path, "-") || !plainPath.MatchString(path):
		return errors.New("its path must have letters, digits and . _ / ~ + - and must not begin with '-'")
	}
	return nil
}

// apiURL reads the address of a forge.
func (p *parser) apiURL(a at) string {
	s, ok := p.str(a)
	if !ok {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Contains(u.Host, "*") || CheckHost(strings.ToLower(u.Hostname())) != nil {
		p.fail(a, "it must be an https URL without user, query and fragment", `write for example "https://git.example.com"`)
		return ""
	}
	return s
}

// hostKeyTypes are the kinds of host keys that are accepted. DSA is none.
var hostKeyTypes = []string{
	"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa",
	"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
}

// hostKey reads "type base64", as it stands in a known_hosts file behind the
// name of the host.
func (p *parser) hostKey(a at) string {
	s, ok := p.str(a)
	if !ok {
		return ""
	}
	const how = "take the last two fields of a line of 'ssh-keyscan HOST', and compare them with what the server's operator publishes"
	if strings.Contains(s, "PRIVATE KEY") {
		p.fail(a, "it must be the server's public host key, never a private key", how)
		return ""
	}
	fields := strings.Fields(s)
	if len(fields) != 2 || strings.ContainsAny(s, "\r\n") {
		p.fail(a, "a host key is its type and its base64 text with one blank between", how)
		return ""
	}
	if !slices.Contains(hostKeyTypes, fields[0]) {
		p.fail(a, fmt.Sprintf("%.40q is not a type of host key", fields[0]), suggestion(fields[0], hostKeyTypes)+"allowed here: "+strings.Join(hostKeyTypes, ", "))
		return ""
	}
	raw, err := base64.StdEncoding.DecodeString(fields[1])
	if err != nil || keyType(raw) != fields[0] {
		p.fail(a, "the base64 text is not a key of that type", how)
		return ""
	}
	return fields[0] + " " + fields[1]
}

// keyType is the name that begins a public key in SSH's wire format.
func keyType(raw []byte) string {
	const length = 4
	if len(raw) < length {
		return ""
	}
	n := binary.BigEndian.Uint32(raw)
	if rest := raw[length:]; uint64(n) < uint64(len(rest)) {
		return string(rest[:n])
	}
	return ""
}
