package provisiontest

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
)

// innerEnv marks the run in namespaces of its own.
const innerEnv = "BOTTLE_TEST_PROVISION"

// TestLinux runs the suite on the linux backend. Root makes an origin that the
// sidecars reach, in a mount and a network namespace of the test's own; an
// ordinary user's bottles have the same and reach nothing.
func TestLinux(t *testing.T) {
	if os.Getuid() == 0 && os.Getenv(innerEnv) == "" {
		again(t, unix.CLONE_NEWNS|unix.CLONE_NEWNET)
		return
	}
	Run(t, func(t *testing.T) Bed {
		store, err := state.Open(filepath.Join(t.TempDir(), "state"))
		if err != nil {
			t.Fatal(err)
		}
		bed := Bed{
			Backend: linux.New(linux.Config{BottlesDir: store.BottlesDir(), Owner: store.Owner()}),
			Store:   store, Account: backend.DefaultAccount(), Clients: Demanded(),
		}
		if _, err := bed.Backend.Check(t.Context()); err != nil {
			t.Fatalf("this host cannot run bottles: %v", err)
		}
		if os.Getuid() == 0 {
			bed.Origin = hostOrigin(t)
		}
		return bed
	})
}

// again runs the calling test once more in namespaces of its own.
func again(t *testing.T, flags uintptr) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", fmt.Sprintf("-test.short=%v", testing.Short()))
	cmd.Env = append(os.Environ(), innerEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// originAddr is not loopback: Ruby and Go go past every proxy to names that
// lead there.
const (
	originAddr = "10.213.0.1"
	originName = "origin.bottle-test.invalid"
	// controlName is the same site, for a policy that lets everything through.
	controlName = "control.bottle-test.invalid"
)

// hostOrigin serves the site of Clients at an address of this network namespace.
func hostOrigin(t *testing.T) *Origin {
	t.Helper()
	seen := &arrivals{}
	port := serveHere(t, seen.before(originSite(t)))
	return &Origin{
		URL:   fmt.Sprintf("https://%s:%d", originName, port),
		Route: routeTo(originName, port) + ", git: {fetch: true}",
		Requests: func(testing.TB) []Request {
			return seen.all()
		},
	}
}

// routeTo names one of the site's hosts in a manifest.
func routeTo(name string, port int) string {
	return fmt.Sprintf("host: %s, ports: [%d], private: [%s]", name, port, originAddr)
}

// serveHere serves a site at originAddr, which it gives to this network
// namespace, and returns the port.
func serveHere(t *testing.T, site http.Handler) int {
	t.Helper()
	quiet(t)
	for _, args := range [][]string{{"link", "set", "lo", "up"}, {"addr", "add", originAddr + "/32", "dev", "lo"}} {
		if out, err := exec.CommandContext(t.Context(), "ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
	return serveOrigin(t, site)
}

// quiet lets the sidecar find nothing of this host's.
func quiet(t *testing.T) {
	t.Helper()
	for _, name := range []string{"SSL_CERT_FILE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "SSL_CERT_DIR"} {
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
}
