package trust

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/command"
	"github.com/bottle-mcp/bottle-mcp/provision/setup"
)

// Bounds of the doctor's own questions.
const (
	dialTimeout    = 2 * time.Second
	versionTimeout = 5 * time.Second
)

// DoctorArgv is what runs the doctor in a guest.
func DoctorArgv() []string { return []string{backend.GuestBinary, "guest", "doctor"} }

// Guest is what the doctor looks at.
type Guest struct {
	// Root is the guest's root directory.
	Root string
	// Environ is the environment of whoever asks.
	Environ []string
	// Now is the guest's clock.
	Now time.Time
}

// Finding is something that keeps clients from the Internet, and what helps.
type Finding struct{ Problem, Fix string }

// DoctorMain is the verb: it says what is missing for a process with the
// environment that it was started in. It returns the exit code: 0 when nothing
// is, 1 otherwise.
func DoctorMain(ctx context.Context, stdout io.Writer) int {
	found := Diagnose(ctx, Guest{Root: "/", Environ: os.Environ(), Now: time.Now()})
	for _, f := range found {
		_, _ = fmt.Fprintf(stdout, "- %s\n  fix: %s\n", f.Problem, f.Fix)
	}
	// Said whatever else is wrong: it needs neither proxy nor CA.
	if url := os.Getenv(BottlesVariable); url != "" && len(bottles(ctx, url)) == 0 {
		defer func() {
			_, _ = fmt.Fprintf(stdout, "This bottle may launch others: the MCP server at %s (%s) answers.\n", url, BottlesVariable)
		}()
	}
	if len(found) > 0 {
		return 1
	}
	_, _ = fmt.Fprintln(stdout, "Variables, files and CA are in place, and the proxy answers. A host that is refused all the same is not in this bottle's policy.")
	return 0
}

// Diagnose looks for what keeps clients from the Internet.
func Diagnose(ctx context.Context, g Guest) []Finding {
	wanted, err := g.wanted()
	if err != nil {
		return []Finding{{fmt.Sprintf("%s cannot be read, so nothing says what a process needs: %v", envFile, err), "launch the bottle again; its file was removed or changed"}}
	}
	var found []Finding
	found = append(found, g.variables(wanted)...)
	found = append(found, g.authority()...)
	found = append(found, g.files(wanted)...)
	found = append(found, g.proxy(ctx, wanted["https_proxy"])...)
	found = append(found, bottles(ctx, wanted[BottlesVariable])...)
	return append(found, g.clients(ctx)...)
}

func (g Guest) read(path string) ([]byte, error) { return os.ReadFile(filepath.Join(g.Root, path)) }

func (g Guest) env() map[string]string {
	env := map[string]string{}
	for _, kv := range g.Environ {
		if name, value, ok := strings.Cut(kv, "="); ok {
			env[name] = value
		}
	}
	return env
}

// wanted are the variables that provisioning wrote down.
func (g Guest) wanted() (map[string]string, error) {
	text, err := g.read(envFile)
	if err != nil {
		return nil, cause(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		if !ok {
			continue
		}
		value = strings.Trim(value, `'"`)
		value = strings.TrimSuffix(strings.TrimPrefix(value, "${"+name+":-"), "}")
		out[name] = value
	}
	return out, nil
}

// cause leaves out the path, which the finding names.
func cause(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// variables compares the environment with what is wanted.
func (g Guest) variables(wanted map[string]string) []Finding {
	env := g.env()
	var missing, other []string
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		value, ok := env[name]
		switch {
		case !ok:
			missing = append(missing, name)
		// A manifest's options for Java stand behind ours.
		case value != wanted[name] && (name != JavaOptions || !strings.HasPrefix(value, wanted[name])):
			other = append(other, name)
		}
	}
	const load = ". " + envFile + ", or a login shell (sh -l), gives a process all of them"
	var found []Finding
	if len(missing) > 0 {
		found = append(found, Finding{"this process lacks the variables " + strings.Join(missing, ", ") +
			": Python, Ruby, Perl, Go, Node and Java find neither proxy nor CA without them", load})
	}
	if len(other) > 0 {
		found = append(found, Finding{"these variables were changed, so clients take another way or trust others: " + strings.Join(other, ", "), load})
	}
	return found
}

// authority looks for the bottle's CA where clients look.
func (g Guest) authority() []Finding {
	const again = "launch the bottle again"
	own, err := g.read(backend.GuestCACert)
	if err != nil {
		return []Finding{{fmt.Sprintf("the bottle's CA %s cannot be read: %v", backend.GuestCACert, cause(err)), again}}
	}
	var found []Finding
	if cert, err := parse(own); err != nil {
		found = append(found, Finding{err.Error(), again})
	} else if expired(cert, g.Now) {
		found = append(found, Finding{"by this clock the bottle's CA is no longer valid (" + cert.NotAfter.Format(time.RFC3339) + ")", "set the clock, or " + again})
	}
	if bundle, err := g.read(backend.GuestCABundle); err != nil || !bytes.Contains(bundle, own) {
		found = append(found, Finding{"the bundle " + backend.GuestCABundle + " lacks the bottle's CA, so every client refuses the proxy's certificates", again})
	}
	for _, store := range Stores(own) {
		if system, err := g.read(store.Path); err == nil && !bytes.Contains(system, own) {
			found = append(found, Finding{"the system's CAs in " + store.Path + " lack the bottle's: clients that read no variable refuse the proxy's certificates",
				"as root: cat " + backend.GuestCACert + " >>" + store.Path})
		}
	}
	return found
}

// files compares the configuration of clients with what provisioning brings.
func (g Guest) files(wanted map[string]string) []Finding {
	own, err := g.read(backend.GuestCACert)
	if err != nil {
		return nil // said already
	}
	e := backend.Endpoints{Egress: wanted["https_proxy"], Bottles: wanted[BottlesVariable]}
	if names := strings.Split(wanted["no_proxy"], ","); len(names) > len(noProxy(backend.Endpoints{})) {
		e.NoProxy = names[len(noProxy(backend.Endpoints{})):]
	}
	files, err := Home(e, own)
	if err != nil {
		return nil // said already
	}
	var lacking []string
	for _, f := range files {
		now, err := g.read(f.Path)
		if f.How == setup.Extend && err != nil {
			continue
		}
		if err != nil || !bytes.Contains(now, f.Content) {
			lacking = append(lacking, f.Path)
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	return []Finding{{"these files are not as provisioning brings them, the image's own or changed since: " + strings.Join(lacking, ", ") +
		"; their programs need the variables", "set proxy " + e.Egress + " and the CA bundle " + backend.GuestCABundle + " there"}}
}

// proxy asks whether somebody listens.
func (g Guest) proxy(ctx context.Context, url string) []Finding {
	host, port, ok := hostPort(url)
	if !ok {
		return []Finding{{"this bottle has no proxy, and so no way out", "launch one with egress routes"}}
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return []Finding{{fmt.Sprintf("the proxy %s does not answer: %v", url, err), "nothing in the bottle helps: tell the operator, who launches it again"}}
	}
	_ = conn.Close()
	return nil
}

// clients looks for programs that are known not to work, or only in part.
func (g Guest) clients(ctx context.Context) []Finding {
	var found []Finding
	if version := g.version(ctx, "node", "--version"); version != "" && !nodeReadsProxy(version) {
		found = append(found, Finding{"Node " + version + " ignores proxy variables: fetch and https go nowhere (npm is not concerned)",
			"use Node 22.21, 24 or later, or undici's EnvHttpProxyAgent"})
	}
	if g.look("java") && !strings.Contains(g.env()[JavaOptions], "proxyHost") {
		found = append(found, Finding{"Java reads no proxy variable, only options, and this process has none in " + JavaOptions,
			"set it from " + envFile + "; HttpClient needs proxy(ProxySelector.getDefault()) besides"})
	}
	return found
}

// look finds a program on the PATH.
func (g Guest) look(name string) bool {
	for _, dir := range filepath.SplitList(g.env()["PATH"]) {
		if info, err := os.Stat(filepath.Join(g.Root, dir, name)); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return true
		}
	}
	return false
}

// version is what a program says of itself, "" when it is not there.
func (g Guest) version(ctx context.Context, name string, args ...string) string {
	if g.Root != "/" || !g.look(name) {
		return ""
	}
	r, err := command.Run(ctx, command.Spec{Name: name, Args: args, Env: g.Environ, Timeout: versionTimeout})
	if err != nil || r.Code != 0 {
		return ""
	}
	return strings.TrimPrefix(strings.TrimSpace(string(r.Stdout)), "v")
}

// nodeReadsProxy reports whether a version of Node knows NODE_USE_ENV_PROXY.
func nodeReadsProxy(version string) bool {
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return true // not a version: nothing is known
	}
	return major >= 24 || major == 22 && minor >= 21
}
