package workspace

import (
	"bytes"
	"encoding/pem"
	"path"
	"regexp"
	"slices"
	"strings"
)

// maxHead bounds what is read of a file to judge it.
const maxHead = 256 << 10

// rule is one kind of file that usually holds a credential.
type rule struct {
	what  string
	match func(base, dir string) bool
	// content decides where the name alone does not; nil = the name is enough.
	content func([]byte) bool
}

// leftOut is the reason in the report.
func leftOut(what string) string {
	return "left out: " + what + "; where git tracks it, git shows it as deleted and can restore it"
}

// inGit reports whether name lies in a git directory, where names are git's.
func inGit(name string) bool { return strings.Contains("/"+name, "/.git/") }

// secretDir says what a directory is that is left out, or "".
func secretDir(name string) string {
	base := strings.ToLower(path.Base(name))
	if slices.Contains([]string{".aws", ".ssh", ".gnupg", ".azure", ".kube", ".password-store"}, base) ||
		base == "gcloud" && strings.ToLower(path.Base(path.Dir(name))) == ".config" {
		return "a directory of credentials"
	}
	return ""
}

// secretFile is the rule that a file's name falls under, or nil.
func secretFile(name string) *rule {
	base, dir := strings.ToLower(path.Base(name)), strings.ToLower(path.Base(path.Dir(name)))
	for i := range rules {
		if rules[i].match(base, dir) {
			return &rules[i]
		}
	}
	return nil
}

// rules are in order: the first that matches decides.
var rules = []rule{
	{"an environment file", dotenv, nil},
	{"a file of variables with a secret", suffix(".env", ".envrc", "gradle.properties"), holds(assignment)},
	{"a private key", privateKeyName, nil},
	{"a PEM file that is not public", suffix(".pem"), notPublic},
	{"a private key", keyLike, holds(privateKey)},
	{"a key store", suffix(".p12", ".pfx", ".jks", ".keystore", ".kdbx", ".ppk"), nil},
	{"a file of logins", named(".netrc", "_netrc", ".pgpass", ".my.cnf", ".git-credentials", ".pypirc", ".dockercfg", ".htpasswd",
		".vault-token", ".boto", ".s3cfg", ".terraformrc", "credentials.tfrc.json", "kubeconfig", ".credentials.json"), nil},
	{"a file of logins", in(".cargo", "credentials", "credentials.toml"), nil},
	{"a file of logins", in(".gem", "credentials"), nil},
	{"a file of logins", in(".docker", "config.json"), holds(regexp.MustCompile(`"auth"\s*:\s*"[^"]`))},
	{"a file of logins", in(".m2", "settings.xml"), holds(regexp.MustCompile(`<(password|passphrase)>\s*[^$<\s]`))},
	{"a registry's token", named(".npmrc", ".yarnrc", ".yarnrc.yml"),
		holds(regexp.MustCompile(`(?m)^[^#;\n]*(_authToken|_auth|_password|npmAuthToken|npmAuthIdent)"?\s*[=:]\s*["']?[^\s"'$]`))},
	{"a registry's login", named("pip.conf", "pip.ini", ".condarc", "nuget.config"),
		holds(regexp.MustCompile(`://[^/\s:@]+:[^/\s@$]+@|(?i:cleartextpassword)`))},
	{"a login", named("auth.json"), holds(regexp.MustCompile(`"(access_token|refresh_token|id_token|token|github-oauth|http-basic|OPENAI_API_KEY)"`))},
	{"an account's key", keyFile, holds(regexp.MustCompile(`"(private_key|client_secret)"\s*:\s*"[^"]`))},
	{"a state file of Terraform, which holds secrets", suffix(".tfstate", ".tfstate.backup"), nil},
}

var (
	privateKey = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY`)
	// assignment is a variable whose name promises a secret, with a value that is
	// no reference to another.
	assignment = regexp.MustCompile(`(?im)^\s*(?:export\s+)?[\w.]*(?:SECRET|TOKEN|PASSWORD|PASSWD|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY|CREDENTIALS?)\w*\s*[=:]\s*['"]?[^\s'"$<]{6}`)
)

func named(names ...string) func(base, dir string) bool {
	return func(base, _ string) bool { return slices.Contains(names, base) }
}

func in(where string, names ...string) func(base, dir string) bool {
	return func(base, dir string) bool { return dir == where && slices.Contains(names, base) }
}

func suffix(ends ...string) func(base, dir string) bool {
	return func(base, _ string) bool {
		return slices.ContainsFunc(ends, func(end string) bool { return strings.HasSuffix(base, end) })
	}
}

func holds(pattern *regexp.Regexp) func([]byte) bool { return pattern.Match }

// dotenv is .env and its variants, but not those that show how to write one.
func dotenv(base, _ string) bool {
	rest, ok := strings.CutPrefix(base, ".env")
	if !ok || rest != "" && rest[0] != '.' {
		return false
	}
	last := rest[strings.LastIndexByte(rest, '.')+1:]
	return !slices.Contains([]string{"example", "sample", "template", "tpl", "dist", "defaults", "schema"}, last)
}

// privateKeyName is how ssh-keygen names keys.
func privateKeyName(base, _ string) bool {
	for _, name := range []string{"id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "id_xmss"} {
		if strings.HasPrefix(base, name) {
			return !strings.HasSuffix(base, ".pub")
		}
	}
	return false
}

// keyLike are names under which keys are kept, and other things too.
func keyLike(base, _ string) bool {
	ext := path.Ext(base)
	if slices.Contains([]string{".key", ".pk8", ".rsa"}, ext) {
		return true
	}
	bare := strings.TrimSuffix(base, ext)
	return (ext == "" || ext == ".txt") &&
		(strings.HasSuffix(bare, "_key") || strings.HasSuffix(bare, "-key") || strings.Contains(bare, "privkey") || strings.Contains(bare, "private"))
}

// keyFile are the names under which clouds hand keys out.
func keyFile(base, _ string) bool {
	if path.Ext(base) != ".json" {
		return false
	}
	for _, part := range []string{"service-account", "service_account", "serviceaccount", "credential", "client_secret", "client-secret", "gcp", "firebase"} {
		if strings.Contains(base, part) {
			return true
		}
	}
	return false
}

// notPublic reports whether a PEM file holds anything but certificates and other
// public things. A file that is no PEM at all may hold everything.
func notPublic(content []byte) bool {
	if privateKey.Match(content) || len(content) >= maxHead {
		return true
	}
	blocks := 0
	for rest := content; ; blocks++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return blocks == 0 || bytes.Contains(rest, []byte("-----BEGIN"))
		}
		switch block.Type {
		case "CERTIFICATE", "TRUSTED CERTIFICATE", "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST", "X509 CRL", "PUBLIC KEY", "RSA PUBLIC KEY",
			"SSH2 PUBLIC KEY", "DH PARAMETERS", "EC PARAMETERS", "PKCS7", "CMS":
		default:
			return true
		}
	}
}
