package provision_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/provision/trust"
)

const (
	// originAddr is not loopback: Ruby and Go go past every proxy to names that
	// lead there.
	originAddr = "10.213.0.1"
	// envAllClients makes a missing client a failure. The continuous build sets
	// it, after it has installed those that are marked.
	envAllClients = "BOTTLE_CI"
	fewestClients = 6
	// emptyShell starts a process with nothing but what every process needs.
	emptyShell = "exec env -i HOME=" + backend.AgentHome + " PATH=/usr/local/bin:/usr/bin:/bin "
)

// client is a real program that fetches something.
type client struct {
	name string
	// need says on this host's side whether a bottle has it: a command that
	// must end with 0. "" = it is looked for by name.
	need string
	// command is run by a shell in the guest. $URL is the origin, $TAG a path of
	// this run alone.
	command string
	// files is true where configuration files lead it through the proxy, false
	// where it needs variables, which a login shell reads from files.
	files bool
	ci    bool // the continuous build installs it
}

// clients are the programs of the matrix in docs/linux.md.
var clients = []client{
	{name: "curl", command: `curl -sS -f "$URL/$TAG"`, files: true, ci: true},
	{name: "git", command: `git clone -q "$URL/$TAG/repo.git" "/tmp/$TAG" && cat "/tmp/$TAG/file"`, files: true, ci: true},
	{name: "wget", command: `wget -q -O- "$URL/$TAG"`, files: true, ci: true},
	{name: "npm", command: `npm view --cache "/tmp/npm-$TAG" --registry "$URL/$TAG/" left version`, files: true, ci: true},
	{name: "pip", need: "python3 -m pip --version", command: `python3 -m pip download -q --no-deps --no-cache-dir --disable-pip-version-check -d "/tmp/$TAG" --index-url "$URL/$TAG/" left==1.0`, files: true, ci: true},
	{name: "apt", need: "test -x /usr/lib/apt/apt-helper", command: `/usr/lib/apt/apt-helper -q download-file "$URL/$TAG" "/tmp/$TAG"`, files: true, ci: true},
	{name: "gem", command: `gem fetch -q left --clear-sources --source "$URL/$TAG/"; true`, files: true, ci: true},
	{name: "cargo", command: `mkdir -p "/tmp/$TAG" && cd "/tmp/$TAG" && cargo init -q --name x . && mkdir .cargo && printf '[registries.left]\nindex = "sparse+%s/%s/"\n' "$URL" "$TAG" >.cargo/config.toml && cargo search --registry left left`, files: true},
	{name: "python3", command: `python3 -c 'import sys,urllib.request; print(urllib.request.urlopen(sys.argv[1]).read())' "$URL/$TAG"`, ci: true},
	{name: "ruby", command: `ruby -ropen-uri -e 'print URI.open(ARGV[0]).read' "$URL/$TAG"`, ci: true},
	{name: "perl", need: "perl -MHTTP::Tiny -MIO::Socket::SSL -e1", command: `perl -MHTTP::Tiny -e '$r = HTTP::Tiny->new(verify_SSL => 1)->get($ARGV[0]); print $r->{content}; exit !$r->{success}' "$URL/$TAG"`, ci: true},
	{name: "go net/http", need: "true", command: backend.GuestBinary + ` fetch "$URL/$TAG"`, ci: true},
	{name: "go command", need: "test -x /usr/local/go/bin/go", command: `GOTOOLCHAIN=local GOPROXY="$URL/$TAG" GONOSUMDB=* GOFLAGS=-mod=mod /usr/local/go/bin/go list -m -versions example.com/left@latest; true`},
	{
		name: "node", need: `node -e 'const [a,b]=process.versions.node.split(".").map(Number); process.exit(a>22||a==22&&b>=21?0:1)'`,
		command: `node -e 'fetch(process.argv[1]).then(r => r.text()).then(console.log)' "$URL/$TAG"`,
	},
	{name: "java", need: "command -v javac", command: `mkdir -p "/tmp/$TAG" && cd "/tmp/$TAG" && printf '%s' 'class F { public static void main(String[] a) throws Exception { System.out.print(new String(new java.net.URL(a[0]).openStream().readAllBytes())); } }' >F.java && java F.java "$URL/$TAG"`},
	{name: "php", need: "php -r 'exit(extension_loaded(\"curl\") ? 0 : 1);'", command: `php -r '$c = curl_init($argv[1]); exit(curl_exec($c) ? 0 : 1);' "$URL/$TAG"`},
	{name: "deno", command: `deno eval 'console.log(await (await fetch(Deno.args[0])).text())' "$URL/$TAG"`},
	{name: "bun", command: `bun -e 'console.log(await (await fetch(process.argv[1])).text())' "$URL/$TAG"`},
}

// TestClients lets real programs fetch through the proxy of a real bottle, from
// an empty environment, with what provisioning wrote to files alone. What counts
// is what the origin saw: the request, with the credential that only the sidecar
// has.
func TestClients(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("an origin with an address and a trust store of its own takes root")
	}
	if os.Getenv(innerEnv) == "" {
		again(t, unix.CLONE_NEWNS|unix.CLONE_NEWNET)
		return
	}
	host := []string{"SSL_CERT_FILE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "SSL_CERT_DIR"}
	for _, name := range host { // the sidecar and the needs below are to find nothing of this host's
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	linkUp(t)
	seen, port := startOriginAt(t, originAddr, originSite(t))
	_, m := injectingManager(t, originAddr, port)
	who := provision.Principal{Kind: provision.Operator}
	live := launchInject(t, m, who)
	if live.Setup.Files < 20 || len(live.Setup.CASHA256) != 64 || len(live.Setup.Left) > 0 {
		t.Errorf("the launch reports %+v", live.Setup)
	}
	run := func(script string) (string, int) {
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		var out bytes.Buffer
		res, err := m.Exec(ctx, who, "inject", backend.Command{Argv: []string{"sh", "-c", "exec 2>&1; " + script}, Dir: "/tmp"}, backend.Streams{Stdout: &out})
		if err != nil {
			t.Fatalf("%s: %v: %s", script, err, out.String())
		}
		return out.String(), res.Status.Code
	}
	url := "https://" + net.JoinHostPort(originHost, strconv.Itoa(port))
	var ran, missing []string
	for _, c := range clients {
		need := c.need
		if need == "" {
			need = "command -v " + c.name
		}
		if said, code := run(need); code != 0 {
			missing = append(missing, c.name)
			if os.Getenv(envAllClients) != "" && c.ci {
				t.Errorf("%s is missing in the bottle: %s", c.name, said)
			}
			continue
		}
		ran = append(ran, c.name)
		t.Run(c.name, func(t *testing.T) {
			for _, from := range []string{"files", "login"} {
				tag := strings.NewReplacer(" ", "-", "/", "-").Replace(c.name) + "-" + from
				shell := "sh -c "
				if from == "login" {
					shell = "sh -l -c "
				}
				start := time.Now()
				out, code := run(emptyShell + "URL=" + url + " TAG=" + tag + " " + shell + quoted(c.command))
				took := time.Since(start)
				reached := seen.has(tag)
				t.Logf("%s: status %d in %s, at the origin: %v", from, code, took.Round(time.Millisecond), reached)
				want := from == "login" || c.files
				switch {
				case want && (!reached || code != 0):
					t.Errorf("%s: status %d, at the origin: %v; it said: %s", from, code, reached, out)
				case !want && reached:
					t.Errorf("%s: it needs no variables any more: say so here and in docs/linux.md", from)
				case !want && took > 20*time.Second:
					t.Errorf("%s: it took %s to fail; what cannot work must fail fast", from, took)
				}
			}
		})
	}
	doctor := strings.Join(trust.DoctorArgv(), " ")
	if out, _ := run(doctor + " | grep -v '^  fix:\\|^Variables'"); strings.Contains(out, "lacks the variables") || strings.Contains(out, "these files") || strings.Contains(out, "CA") {
		t.Errorf("the doctor in a whole environment says %s", out)
	}
	if out, code := run(emptyShell + doctor); code != 1 || !strings.Contains(out, "lacks the variables") || strings.Contains(out, "these files") {
		t.Errorf("the doctor in an empty environment ends with %d: %s", code, out)
	}
	t.Logf("%d clients ran: %s", len(ran), strings.Join(ran, ", "))
	t.Logf("missing on this host: %s", strings.Join(missing, ", "))
	if len(ran) < fewestClients {
		t.Errorf("only %d clients ran: install more of %s", len(ran), strings.Join(missing, ", "))
	}
	if text := seen.text(); strings.Count(text, "Authorization: Bearer "+realToken) < len(ran) {
		t.Errorf("the origin saw requests without the credential:\n%s", text)
	}
}

// again runs the calling test once more in namespaces of its own.
func again(t *testing.T, flags uintptr) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), innerEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// linkUp gives this network namespace the origin's address.
func linkUp(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{{"link", "set", "lo", "up"}, {"addr", "add", originAddr + "/32", "dev", "lo"}} {
		if out, err := exec.CommandContext(t.Context(), "ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
}

func quoted(script string) string { return "'" + strings.ReplaceAll(script, "'", `'\''`) + "'" }

// launchInject launches the bottle "inject" and removes it with the test.
func launchInject(t *testing.T, m *provision.Manager, who provision.Principal) *provision.Bottle {
	t.Helper()
	plan, err := m.Plan(t.Context(), provision.LaunchRequest{Bottles: []string{"inject"}, ID: "inject", Principal: who})
	if err != nil {
		t.Fatal(err)
	}
	live, err := m.Launch(t.Context(), plan, func(provision.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// t.Context has ended by then.
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		items, err := m.Cleanup(ctx, provision.CleanupRequest{All: true, Principal: who}, func(provision.Event) {})
		if err != nil || len(items) != 1 || !items[0].Done {
			t.Errorf("Cleanup = %+v, %v", items, err)
		}
	})
	return live
}

// originSite answers every client in its own protocol. The first element of a
// path is the run's tag.
func originSite(t *testing.T) http.Handler {
	t.Helper()
	dir := t.TempDir()
	script := "set -e; cd " + dir + "; git init -q --bare repo.git; git init -q work; cd work; echo hello >file; git add file; " +
		"git -c user.name=o -c user.email=o@example.com commit -qm one; git push -q ../repo.git HEAD:refs/heads/main; git -C ../repo.git symbolic-ref HEAD refs/heads/main"
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make a repository: %v: %s", err, out)
	}
	core, err := exec.CommandContext(t.Context(), "git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	smart := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(core)), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1"}, InheritEnv: []string{"PATH"},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, "/"), "/", 2)
		rest := ""
		if len(parts) > 1 {
			rest = parts[1]
		}
		switch {
		case strings.HasPrefix(rest, "repo.git/"):
			http.StripPrefix("/"+parts[0], smart).ServeHTTP(w, r)
		case rest == "left" && strings.HasPrefix(parts[0], "npm"):
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"name":"left","dist-tags":{"latest":"1.0.0"},"versions":{"1.0.0":{"name":"left","version":"1.0.0","dist":{"tarball":"https://`+r.Host+`/x.tgz"}}}}`)
		case rest == "left/" && strings.HasPrefix(parts[0], "pip"):
			_, _ = io.WriteString(w, `<a href="left-1.0.tar.gz">left-1.0.tar.gz</a>`)
		case strings.HasSuffix(rest, ".tar.gz"):
			_, _ = w.Write(sourcePackage(t))
		case strings.HasSuffix(rest, "config.json"):
			_, _ = fmt.Fprintf(w, `{"dl":"https://%[1]s/dl","api":"https://%[1]s/%[2]s"}`, r.Host, parts[0])
		case strings.HasPrefix(rest, "api/v1/crates"):
			_, _ = io.WriteString(w, `{"crates":[],"meta":{"total":0}}`)
		case rest == "":
			_, _ = io.WriteString(w, "origin answers")
		default:
			http.NotFound(w, r)
		}
	})
}

// has reports whether a request with this tag and the sidecar's credential came.
func (r *record) has(tag string) bool {
	return slices.ContainsFunc(strings.Split(r.text(), "\n\n"), func(request string) bool {
		return strings.Contains(request, " /"+tag) && strings.Contains(request, "Authorization: Bearer "+realToken)
	})
}

// sourcePackage is a Python package that pip downloads without building it.
func sourcePackage(t *testing.T) []byte {
	t.Helper()
	var raw bytes.Buffer
	zip := gzip.NewWriter(&raw)
	w := tar.NewWriter(zip)
	for name, text := range map[string]string{
		"left-1.0/PKG-INFO": "Metadata-Version: 2.1\nName: left\nVersion: 1.0\n",
		"left-1.0/setup.py": "from setuptools import setup\nsetup(name='left', version='1.0')\n",
	} {
		err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))})
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	return raw.Bytes()
}

// fetch is a Go program with net/http as it comes.
func fetch(url string) int {
	client := &http.Client{Timeout: 20 * time.Second}
	res, err := client.Get(url)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer res.Body.Close()
	_, err = io.Copy(os.Stdout, res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return 1
	}
	return 0
}
