package trust

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/setup"
)

// Home is what the agent's home gets, for processes with an empty environment.
// Formats in which the last value holds are added to where the image brought a
// file; those that would break (TOML, INI, XML) are left as they are.
func Home(e backend.Endpoints, certPEM []byte) ([]setup.File, error) {
	store, err := JavaStore(certPEM)
	if err != nil {
		return nil, err
	}
	load := "if [ -r " + envFile + " ]; then . " + envFile + "; fi\n"
	files := []setup.File{
		{Path: javaStore, Content: store, How: setup.Replace},
		{Path: envFile, Content: []byte(exports(e)), How: setup.Replace},
		// A login shell reads the first; bash reads the second where it exists.
		inHome(".profile", setup.Append, load),
		inHome(".bash_profile", setup.Extend, load),
		inHome(".zshenv", setup.Append, load),
	}
	for _, c := range []struct {
		name string
		how  setup.How
		text string
	}{
		{".curlrc", setup.Append, curl(e)},
		{".wgetrc", setup.Append, wget(e)},
		{".npmrc", setup.Append, npm(e)},
		{".config/pip/pip.conf", setup.Create, pip(e)},
		{".cargo/config.toml", setup.Create, cargo(e)},
		{".gemrc", setup.Create, gem(e)},
		{".m2/settings.xml", setup.Create, maven(e)},
		{".gradle/gradle.properties", setup.Append, gradle(e)},
	} {
		if c.text != "" {
			files = append(files, inHome(c.name, c.how, c.text))
		}
	}
	return files, nil
}

func inHome(name string, how setup.How, text string) setup.File {
	return setup.File{Path: backend.AgentHome + "/" + name, Content: []byte(text), How: how}
}

// System is what /etc gets, for every user of the guest. Whoever may write there
// brings it: a backend that makes /etc itself, else root.
func System(e backend.Endpoints, certPEM []byte, agent backend.Account) ([]setup.File, error) {
	store, err := JavaStore(certPEM)
	if err != nil {
		return nil, err
	}
	return []setup.File{
		{Path: "/etc/environment", Content: []byte(environment(e)), How: setup.Append},
		{Path: "/etc/profile.d/bottle-mcp.sh", Content: []byte(exports(e)), How: setup.Create},
		{Path: "/etc/gitconfig", Content: []byte(systemGit(e, agent)), How: setup.Append},
		{Path: "/etc/wgetrc", Content: []byte(wget(e)), How: setup.Append},
		{Path: "/etc/pip.conf", Content: []byte(pip(e)), How: setup.Create},
		{Path: "/etc/apt/apt.conf.d/90bottle-mcp", Content: []byte(apt(e)), How: setup.Create},
		{Path: "/etc/ssl/certs/java/cacerts", Content: store, How: setup.Create},
	}, nil
}

// Stores are the files that clients take for the system's CAs; the bottle's
// belongs into those that the guest has.
func Stores(certPEM []byte) []setup.File {
	var out []setup.File
	for _, path := range []string{
		"/etc/ssl/certs/ca-certificates.crt", // Debian, Alpine, Arch
		"/etc/pki/tls/certs/ca-bundle.crt",   // Fedora
		"/etc/ssl/ca-bundle.pem",             // openSUSE
		"/etc/ssl/cert.pem",                  // Alpine's LibreSSL
	} {
		out = append(out, setup.File{Path: path, Content: certPEM, How: setup.Extend})
	}
	return out
}

// exports is the environment as a shell reads it.
func exports(e backend.Endpoints) string {
	var b strings.Builder
	b.WriteString(note)
	env := variables(e)
	for _, name := range slices.Sorted(maps.Keys(env)) {
		value := "'" + strings.ReplaceAll(env[name], "'", `'\''`) + "'"
		if name == JavaOptions {
			// Where the environment is whole, a manifest's options stand in it.
			value = `"${` + name + ":-" + env[name] + `}"`
		}
		fmt.Fprintf(&b, "export %s=%s\n", name, value)
	}
	return b.String()
}

// environment is the same for pam_env and systemd.
func environment(e backend.Endpoints) string {
	var b strings.Builder
	env := variables(e)
	for _, name := range slices.Sorted(maps.Keys(env)) {
		value := env[name]
		if strings.ContainsAny(value, " |#") {
			value = `"` + value + `"`
		}
		fmt.Fprintf(&b, "%s=%s\n", name, value)
	}
	return b.String()
}

// note begins the files whose format has comments.
const note = "# Written by bottle-mcp: the way out of this bottle is its proxy.\n"

// lines writes a format of one setting a line. Settings without a value, as
// there is no proxy, are left out.
func lines(format string, pairs ...string) string {
	var b strings.Builder
	b.WriteString(note)
	for pair := range slices.Chunk(pairs, 2) {
		if name, value := pair[0], pair[1]; value != "" {
			fmt.Fprintf(&b, format, name, value)
		}
	}
	return b.String()
}

func direct(e backend.Endpoints) string { return strings.Join(noProxy(e), ",") }

func curl(e backend.Endpoints) string {
	return lines("%s = \"%s\"\n", "proxy", e.Egress, "noproxy", direct(e), "cacert", backend.GuestCABundle)
}

func wget(e backend.Endpoints) string {
	return lines("%s = %s\n", "http_proxy", e.Egress, "https_proxy", e.Egress, "no_proxy", direct(e), "ca_certificate", backend.GuestCABundle)
}

func npm(e backend.Endpoints) string {
	return lines("%s=%s\n", "proxy", e.Egress, "https-proxy", e.Egress, "noproxy", direct(e), "cafile", backend.GuestCABundle)
}

func pip(e backend.Endpoints) string {
	return strings.Replace(lines("%s = %s\n", "proxy", e.Egress, "cert", backend.GuestCABundle), note, note+"[global]\n", 1)
}

func cargo(e backend.Endpoints) string {
	return strings.Replace(lines("%s = \"%s\"\n", "proxy", e.Egress, "cainfo", backend.GuestCABundle), note, note+"[http]\n", 1)
}

func gem(e backend.Endpoints) string {
	// RubyGems looks its proxy up as text and its CAs as a symbol.
	return lines("%s: %s\n", "http_proxy", e.Egress, ":ssl_ca_cert", backend.GuestCABundle)
}

func apt(e backend.Endpoints) string {
	const comment = "// Written by bottle-mcp: the way out of this bottle is its proxy.\n"
	return strings.Replace(lines("Acquire::%s \"%s\";\n",
		"http::Proxy", e.Egress, "https::Proxy", e.Egress, "https::CaInfo", backend.GuestCABundle), note, comment, 1)
}

// GitHTTP is the part of a git configuration that leads through the proxy.
func GitHTTP(e backend.Endpoints) string {
	return "[http]\n" + strings.TrimPrefix(lines("\t%s = %s\n", "proxy", e.Egress, "sslCAInfo", backend.GuestCABundle), note)
}

// systemGit is for users beside the agent, who owns the workspace.
func systemGit(e backend.Endpoints, agent backend.Account) string {
	text := note + GitHTTP(e) + "[safe]\n\tdirectory = " + backend.GuestWorkspace + "\n"
	// Git compares with where a directory really is.
	if at := agent.Workspace(); at != backend.GuestWorkspace {
		text += "\tdirectory = " + at + "\n"
	}
	return text
}

func maven(e backend.Endpoints) string {
	host, port, ok := hostPort(e.Egress)
	if !ok {
		return ""
	}
	var b strings.Builder
	b.WriteString("<!-- Written by bottle-mcp: the way out of this bottle is its proxy. -->\n<settings>\n  <proxies>\n")
	for _, scheme := range []string{"http", "https"} {
		fmt.Fprintf(&b, "    <proxy>\n      <id>bottle-%[1]s</id>\n      <active>true</active>\n      <protocol>%[1]s</protocol>\n"+
			"      <host>%[2]s</host>\n      <port>%[3]s</port>\n      <nonProxyHosts>%[4]s</nonProxyHosts>\n    </proxy>\n", scheme, host, port, javaDirect(e))
	}
	b.WriteString("  </proxies>\n</settings>\n")
	return b.String()
}

func gradle(e backend.Endpoints) string {
	host, port, _ := hostPort(e.Egress)
	names := ""
	if host != "" {
		names = javaDirect(e)
	}
	return lines("systemProp.%s=%s\n",
		"http.proxyHost", host, "http.proxyPort", port, "https.proxyHost", host, "https.proxyPort", port, "http.nonProxyHosts", names,
		"javax.net.ssl.trustStore", javaStore, "javax.net.ssl.trustStoreType", "JKS", "javax.net.ssl.trustStorePassword", storePassword)
}
