package provisiontest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer"
	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/images"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world/internet"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
)

// program is the build that guests and sidecars of the stand-in run.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "bottle-mcp-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "bottle-mcp")
	cmd := exec.Command("go", "build", "-o", path, "github.com/bottle-mcp/bottle-mcp/cmd/bottle-mcp")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", &exec.Error{Name: string(out), Err: err}
	}
	return path, nil
})

// TestStandIn runs the suite on the macos-container backend, in both topologies
// and on an image with a user and a home of its own.
func TestStandIn(t *testing.T) {
	w := world.New(t)
	w.Images(t)
	site(t, w)
	for name, tt := range map[string]struct {
		topology, image string
		account         backend.Account
	}{
		"two-network":     {"two-network", world.ToolsImage, backend.DefaultAccount()},
		"socket":          {"socket", world.ToolsImage, backend.DefaultAccount()},
		"an image's user": {"two-network", devImage(t), backend.Account{Name: "dev", UID: 1234, GID: 1300, Home: "/srv/dev"}},
	} {
		t.Run(name, func(t *testing.T) {
			Run(t, func(t *testing.T) Bed {
				store, err := state.Open(filepath.Join(t.TempDir(), "state"))
				if err != nil {
					t.Fatal(err)
				}
				return Bed{
					Backend: mac(t, w, store, tt.topology), Store: store, Canary: world.CanaryAddresses()[0].String(),
					Image: tt.image, Account: tt.account, Origin: origin(w),
					Clients: []string{"curl", "git", "go net/http"},
				}
			})
		})
	}
}

// mac is the backend on the stand-in.
func mac(t *testing.T, w *world.World, store *state.Store, topology string) backend.Backend {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatalf("build the guests' program: %v", err)
	}
	settings := map[string]string{
		images.EnvLinuxBinary:      path,
		images.EnvDNS:              world.DNSAddress,
		images.EnvAgentImage:       world.AgentImage,
		macoscontainer.EnvTopology: topology,
		"SSL_CERT_FILE":            w.OriginCA,
	}
	return macoscontainer.New(macoscontainer.Config{
		BottlesDir: store.BottlesDir(), Owner: store.Owner(),
		LookupEnv: func(name string) (string, bool) { v, ok := settings[name]; return v, ok },
	})
}

// origin is one of the world's web sites.
func origin(w *world.World) *Origin {
	return &Origin{
		URL: "https://" + world.AllowedName, Route: "host: " + world.AllowedName + ", git: {fetch: true}",
		Requests: func(t testing.TB) []Request {
			var out []Request
			for _, e := range w.Events(t, func(e internet.Event) bool { return e.Kind == internet.KindHTTP && e.Host == world.AllowedName }) {
				path, _, _ := strings.Cut(e.Path, "?")
				out = append(out, Request{Path: path, Header: e.Header})
			}
			return out
		},
	}
}

// site is what the clients of the tools image ask for: a file, or a repository
// that a plain web server serves.
func site(t *testing.T, w *world.World) {
	t.Helper()
	dir := t.TempDir()
	script := "set -e; cd " + dir + "; mkdir bare site; git init -q --bare bare; git init -q work; cd work; echo hello >file; git add file; " +
		"git -c user.name=o -c user.email=o@example.com commit -qm one; git push -q ../bare HEAD:refs/heads/main; git -C ../bare symbolic-ref HEAD refs/heads/main; git -C ../bare update-server-info"
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make a repository: %v: %s", err, out)
	}
	put(t, filepath.Join(dir, "site/v1/messages"), "an answer\n", 0o644)
	put(t, filepath.Join(dir, "site/requests-get"), "origin answers\n", 0o644)
	for _, c := range Clients() {
		for _, tag := range c.Tags() {
			at := filepath.Join(dir, "site", tag)
			if c.Name != "git" {
				put(t, at, "origin answers\n", 0o644)
				continue
			}
			if err := os.CopyFS(filepath.Join(at, "repo.git"), os.DirFS(filepath.Join(dir, "bare"))); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.PublishSite(t, world.AllowedName, os.DirFS(filepath.Join(dir, "site")))
}

// devImage has a user of its own, whose home is elsewhere and holds something.
func devImage(t *testing.T) string {
	t.Helper()
	const name = "bottle-mcp.invalid/test-dev:1"
	dir := t.TempDir()
	put(t, filepath.Join(dir, "Dockerfile"), "FROM "+world.ToolsImage+"\n"+
		"RUN echo staff:x:1300: >> /etc/group && echo dev:x:1234:1300::/srv/dev:/bin/sh >> /etc/passwd && "+
		"mkdir -p /srv/dev && echo '# of the image' > /srv/dev/.profile && chown -R dev:staff /srv/dev\nUSER dev\n", 0o644)
	if _, err := world.Podman(t.Context(), "build", "--quiet", "--network", "none", "--tag", name, dir); err != nil {
		t.Fatal(err)
	}
	return name
}
