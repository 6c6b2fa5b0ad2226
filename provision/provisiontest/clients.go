package provisiontest

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// EnvAll makes clients that a continuous build installs a failure where they are
// missing.
const EnvAll = "BOTTLE_CI"

// Client is a real program that fetches something.
type Client struct {
	Name string
	// CI is true for those that the continuous build installs on its host.
	CI bool

	need    string // what ends with 0 where a guest has it; "" = looked for by name
	command string // run by a shell; $URL is the origin, $TAG a path of this run alone
	files   bool   // configuration files lead it through the proxy; others need variables
}

// Clients are the programs of the matrix in docs/linux.md.
func Clients() []Client {
	return []Client{
		{Name: "curl", command: `curl -sS -f "$URL/$TAG"`, files: true, CI: true},
		{Name: "git", command: `git clone -q "$URL/$TAG/repo.git" "/tmp/$TAG" && cat "/tmp/$TAG/file"`, files: true, CI: true},
		{Name: "wget", need: "wget --version 2>&1 | grep -q GNU", command: `wget -q -O- "$URL/$TAG"`, files: true, CI: true},
		{Name: "npm", command: `npm view --cache "/tmp/npm-$TAG" --registry "$URL/$TAG/" left version`, files: true, CI: true},
		{Name: "pip", need: "python3 -m pip --version", command: `python3 -m pip download -q --no-deps --no-cache-dir --disable-pip-version-check -d "/tmp/$TAG" --index-url "$URL/$TAG/" left==1.0`, files: true, CI: true},
		{Name: "apt", need: "test -x /usr/lib/apt/apt-helper", command: `/usr/lib/apt/apt-helper -q download-file "$URL/$TAG" "/tmp/$TAG"`, files: true, CI: true},
		{Name: "gem", command: `gem fetch -q left --clear-sources --source "$URL/$TAG/"; true`, files: true, CI: true},
		{Name: "cargo", command: `mkdir -p "/tmp/$TAG" && cd "/tmp/$TAG" && cargo init -q --name x . && printf 'left = { git = "%s/%s/repo.git" }\n' "$URL" "$TAG" >>Cargo.toml && cargo fetch -q`, files: true, CI: true},
		{Name: "python3", command: `python3 -c 'import sys,urllib.request; print(urllib.request.urlopen(sys.argv[1]).read())' "$URL/$TAG"`, CI: true},
		{Name: "ruby", command: `ruby -ropen-uri -e 'print URI.open(ARGV[0]).read' "$URL/$TAG"`, CI: true},
		{Name: "perl", need: "perl -MHTTP::Tiny -MIO::Socket::SSL -e1", command: `perl -MHTTP::Tiny -e '$r = HTTP::Tiny->new(verify_SSL => 1)->get($ARGV[0]); print $r->{content}; exit !$r->{success}' "$URL/$TAG"`, CI: true},
		{Name: "go net/http", need: "true", command: backend.GuestBinary + ` fetch "$URL/$TAG"`, CI: true},
		{Name: "go command", need: "test -x /usr/local/go/bin/go", command: `GOTOOLCHAIN=local GOPROXY="$URL/$TAG" GONOSUMDB=* GOFLAGS=-mod=mod /usr/local/go/bin/go list -m -versions example.com/left@latest; true`},
		{
			Name: "node", need: `node -e 'const [a,b]=process.versions.node.split(".").map(Number); process.exit(a>22||a==22&&b>=21?0:1)'`,
			command: `node -e 'fetch(process.argv[1]).then(r => r.text()).then(console.log)' "$URL/$TAG"`,
		},
		{Name: "java", CI: true, need: "command -v javac", command: `mkdir -p "/tmp/$TAG" && cd "/tmp/$TAG" && printf '%s' 'class F { public static void main(String[] a) throws Exception { System.out.print(new String(new java.net.URL(a[0]).openStream().readAllBytes())); } }' >F.java && java F.java "$URL/$TAG"`},
		{Name: "php", CI: true, need: "php -d extension=curl -r 'exit(extension_loaded(\"curl\") ? 0 : 1);'", command: `php -d extension=curl -r '$c = curl_init($argv[1]); exit(curl_exec($c) ? 0 : 1);' "$URL/$TAG"`},
		{Name: "deno", command: `deno eval 'console.log(await (await fetch(Deno.args[0])).text())' "$URL/$TAG"`},
		{Name: "bun", command: `bun -e 'console.log(await (await fetch(process.argv[1])).text())' "$URL/$TAG"`},
	}
}

// The places a client has its settings from, each with a tag of its own.
const (
	fromFiles = "files"
	fromLogin = "login"
)

// Tag is the first element of the paths that a client asks for.
func (c Client) Tag(from string) string {
	return strings.NewReplacer(" ", "-", "/", "-").Replace(c.Name) + "-" + from
}

// Tags are all first elements of paths.
func (c Client) Tags() []string { return []string{c.Tag(fromFiles), c.Tag(fromLogin)} }

// clients lets real programs fetch through the bottle's proxy from an empty
// environment, with what provisioning wrote to files alone. What counts is what
// the origin saw: the request, with the credential that only the sidecar has.
func (b *bottle) clients(t *testing.T) {
	if b.Origin == nil {
		t.Log("there is no origin to be reached")
		return
	}
	var ran, missing []string
	for _, c := range Clients() {
		need := c.need
		if need == "" {
			need = "command -v " + c.Name
		}
		if said, code := b.run(t, backend.Command{Argv: []string{"sh", "-c", need}, Dir: "/tmp"}, ""); code != 0 {
			missing = append(missing, c.Name)
			if slices.Contains(b.Clients, c.Name) {
				t.Errorf("%s is missing in the bottle: %s", c.Name, said)
			}
			continue
		}
		ran = append(ran, c.Name)
		t.Run(c.Name, func(t *testing.T) { b.client(t, c) })
	}
	t.Logf("%d clients ran: %s", len(ran), strings.Join(ran, ", "))
	t.Logf("missing in this bottle: %s", strings.Join(missing, ", "))
}

// client runs one program with nothing but files, and in a login shell.
func (b *bottle) client(t *testing.T, c Client) {
	for _, from := range []string{fromFiles, fromLogin} {
		shell := "sh -c "
		if from == fromLogin {
			shell = "sh -l -c "
		}
		tag, start := c.Tag(from), time.Now()
		script := emptyShell(b.Account.Home) + "URL=" + b.Origin.URL + " TAG=" + tag + " " + shell + quoted(c.command)
		out, code := b.run(t, backend.Command{Argv: []string{"sh", "-c", script}, Dir: "/tmp"}, "")
		seen := b.seen(t, tag)
		took := time.Since(start).Round(time.Millisecond)
		wanted := from == fromLogin || c.files
		switch {
		case wanted && (!seen || code != 0):
			t.Errorf("%s from %s: ended with %d, the origin saw its request: %v: %.2000s", c.Name, from, code, seen, out)
		case !wanted && seen:
			t.Errorf("%s from %s: it needs no variables any more: say so here and in docs/linux.md", c.Name, from)
		case !wanted && took > 20*time.Second:
			t.Errorf("%s from %s: it took %s to fail; what cannot work must fail fast", c.Name, from, took)
		default:
			t.Logf("%s from %s: reached: %v, in %s", c.Name, from, seen, took)
		}
	}
}

// seen reports whether a request with this tag came, with the sidecar's
// credential.
func (b *bottle) seen(t *testing.T, tag string) bool {
	t.Helper()
	return slices.ContainsFunc(b.Origin.Requests(t), func(r Request) bool {
		return strings.HasPrefix(r.Path+"/", "/"+tag+"/") && r.Header.Get("Authorization") == "Bearer "+OriginToken
	})
}

func quoted(script string) string { return "'" + strings.ReplaceAll(script, "'", `'\''`) + "'" }

// Demanded are the clients that a continuous build installs, where it runs.
func Demanded() []string {
	var names []string
	for _, c := range Clients() {
		if c.CI && os.Getenv(EnvAll) != "" {
			names = append(names, c.Name)
		}
	}
	return names
}
