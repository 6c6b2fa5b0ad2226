package provision_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ca"
)

const (
	originHost = "origin.bottle-test.invalid"
	realToken  = "real-credential-5f2c9"
	agentToken = "agents-own-credential"
	innerEnv   = "BOTTLE_TEST_INJECT"
)

// TestInjectionEndToEnd shows on the real engine, with a real client and a real
// TLS origin, that the credential is put on the wire outside of the guest and
// is nowhere else: not in the guest, not in the state, not in the log. The
// origin's name and authority are known in a mount namespace of the test's own.
func TestInjectionEndToEnd(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a mount namespace with another trust store takes root")
	}
	if os.Getenv(innerEnv) == "" {
		again(t, unix.CLONE_NEWNS)
		return
	}
	seen, port := startOriginAt(t, "127.0.0.1", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "origin answers")
	}))
	store, m := injectingManager(t, "127.0.0.1", port)
	who := provision.Principal{Kind: provision.Operator}
	launchInject(t, m, who)
	guest := func(script string) string {
		var out bytes.Buffer
		res, err := m.Exec(t.Context(), who, "inject", backend.Command{Argv: []string{"sh", "-c", "exec 2>&1; " + script}}, backend.Streams{Stdout: &out})
		if err != nil || res.Status.Code != 0 {
			t.Fatalf("%s: %+v, %v: %s", script, res.Status, err, out.String())
		}
		return out.String()
	}
	url := fmt.Sprintf("https://%s:%d/path?q=1", originHost, port)
	if got := guest("curl -sS -H 'Authorization: Bearer " + agentToken + "' -H 'X-Api-Key: " + agentToken + "' " + url); !strings.Contains(got, "foreign_credential") {
		t.Errorf("with a credential of its own the guest got %q", got)
	}
	if got := seen.text(); got != "" {
		t.Errorf("the origin saw:\n%s", got)
	}
	if got := guest("curl -sS -H 'Authorization: Bearer' " + url); got != "origin answers" {
		t.Errorf("the guest got %q", got)
	}
	if got := seen.text(); !strings.Contains(got, "Authorization: Bearer "+realToken) || strings.Contains(got, agentToken) {
		t.Errorf("the origin saw:\n%s", got)
	}
	if inside := guest("env; cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'; cat ~/.[a-z]* 2>/dev/null; true"); strings.Contains(inside, realToken) {
		t.Error("the credential is in the guest")
	}
	assertNowhere(t, filepath.Join(store.BottlesDir(), "inject"), realToken, agentToken)
}

// record is what the origin saw of requests.
type record struct {
	mu  sync.Mutex
	raw strings.Builder
}

func (r *record) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.raw.String()
}

// startOriginAt serves TLS at addr and makes name and authority known to
// whoever shares this mount namespace, which is the sidecar.
func startOriginAt(t *testing.T, addr string, site http.Handler) (seen *record, port int) {
	t.Helper()
	cert, key, err := ca.NewAuthority("origin", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	minter, err := ca.NewMinter(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := minter.Leaf(originHost)
	if err != nil {
		t.Fatal(err)
	}
	seen = &record{}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.mu.Lock()
		_, _ = fmt.Fprintf(&seen.raw, "%s %s\n", r.Method, r.URL)
		_ = r.Header.Write(&seen.raw)
		seen.raw.WriteString("\n")
		seen.mu.Unlock()
		site.ServeHTTP(w, r)
	}))
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(addr, "0"))
	if err != nil {
		t.Fatal(err)
	}
	_ = srv.Listener.Close()
	srv.Listener = listener
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{*leaf}, MinVersion: tls.VersionTLS12}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	over(t, "/etc/hosts", "127.0.0.1 localhost\n"+addr+" "+originHost+"\n")
	for _, bundle := range []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"} {
		if info, err := os.Stat(bundle); err == nil && info.Mode().IsRegular() {
			over(t, bundle, string(cert))
		}
	}
	at, ok := srv.Listener.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatal("no TCP address")
	}
	return seen, at.Port
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

func injectingManager(t *testing.T, addr string, port int) (*state.Store, *provision.Manager) {
	t.Helper()
	home := t.TempDir()
	text := fmt.Sprintf("---\negress:\n  routes:\n    - host: %s\n      ports: [%d]\n      private: [%s]\n"+
		"      auth: { scheme: Bearer, token_ref: ORIGIN_TOKEN }\n      git: { fetch: true }\n---\n", originHost, port, addr)
	if err := os.MkdirAll(filepath.Join(home, "bottles"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "bottles", "inject.md"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := state.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := provision.NewManager(provision.Config{
		Backends:     []backend.Backend{linux.New(linux.Config{BottlesDir: store.BottlesDir(), Owner: store.Owner()})},
		State:        store,
		ManifestHome: home,
		LookupEnv: func(name string) (string, bool) {
			if name == "ORIGIN_TOKEN" {
				return realToken, true
			}
			return "", false
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return store, m
}

// assertNowhere searches every file of the bottle's state.
func assertNowhere(t *testing.T, dir string, secrets ...string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		files++
		data, err := os.ReadFile(path)
		for _, s := range secrets {
			if bytes.Contains(data, []byte(s)) {
				t.Errorf("%s holds a credential", filepath.Base(path))
			}
		}
		return err
	})
	if err != nil || files < 3 {
		t.Errorf("searched %d files of the bottle's state: %v", files, err)
	}
}
