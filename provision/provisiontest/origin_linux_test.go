package provisiontest

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/sidecars/ca"
)

// arrivals is what an origin saw of requests.
type arrivals struct {
	mu   sync.Mutex
	list []Request
}

func (a *arrivals) add(r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = append(a.list, Request{Path: r.URL.Path, Header: r.Header.Clone()})
}

// before lets next answer what it saw.
func (a *arrivals) before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.add(r)
		next.ServeHTTP(w, r)
	})
}

func (a *arrivals) all() []Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.list)
}

// serveOrigin serves site with TLS at originAddr and makes name and authority
// known to whoever shares this mount namespace, which is the sidecar.
func serveOrigin(t *testing.T, site http.Handler) int {
	t.Helper()
	cert, key, err := ca.NewAuthority("origin", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	minter, err := ca.NewMinter(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(site)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(originAddr, "0"))
	if err != nil {
		t.Fatal(err)
	}
	_ = srv.Listener.Close()
	srv.Listener = listener
	srv.TLS = &tls.Config{
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return minter.Leaf(hello.ServerName) },
		MinVersion:     tls.VersionTLS12,
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	over(t, "/etc/hosts", "127.0.0.1 localhost\n"+originAddr+" "+originName+" "+controlName+"\n")
	trustOnly(t, string(cert))
	at, ok := srv.Listener.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatal("no TCP address")
	}
	return at.Port
}

// trustOnly replaces the roots of this mount namespace.
func trustOnly(t *testing.T, roots string) {
	t.Helper()
	for _, bundle := range []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"} {
		if info, err := os.Stat(bundle); err == nil && info.Mode().IsRegular() {
			over(t, bundle, roots)
		}
	}
}

// over lets path show content in this mount namespace.
func over(t *testing.T, path, content string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(file, path, "", unix.MS_BIND, ""); err != nil {
		t.Fatalf("cover %s: %v", path, err)
	}
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
}

// originSite answers every client in its own protocol. The first element of a
// path is the run's tag.
func originSite(t *testing.T) http.Handler {
	t.Helper()
	dir := t.TempDir()
	script := "set -e; cd " + dir + "; git init -q --bare repo.git; git init -q work; cd work; echo hello >file; mkdir src; : >src/lib.rs; " +
		"printf '[package]\\nname = \"left\"\\nversion = \"1.0.0\"\\n' >Cargo.toml; git add .; " +
		"git config user.name o; git config user.email o@example.com; git commit -qm one; git commit -q --allow-empty -m two; git push -q ../repo.git HEAD:refs/heads/main; git -C ../repo.git symbolic-ref HEAD refs/heads/main"
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
		case rest == "":
			_, _ = io.WriteString(w, "origin answers")
		default:
			http.NotFound(w, r)
		}
	})
}

// sourcePackage is a Python package that pip downloads without building it.
func sourcePackage(t *testing.T) []byte {
	t.Helper()
	return tarball(t, map[string]string{
		"left-1.0/PKG-INFO": "Metadata-Version: 2.1\nName: left\nVersion: 1.0\n",
		"left-1.0/setup.py": "from setuptools import setup\nsetup(name='left', version='1.0')\n",
	})
}
