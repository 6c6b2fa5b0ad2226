//go:build linux

package linux

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// TestSpareLeads has a pair that was started before anybody knew of the socket
// lead to it, without anything of the host in the sidecar's jail.
func TestSpareLeads(t *testing.T) {
	socket := filepath.Join(shortDir(t), "mcp.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 1)
	srv := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header.Get("Authorization") })}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })

	b, first := spareBackend(t)
	startLeading(t, b, "led", socket)
	st, err := b.readState("led")
	if err != nil || st.Shim != first {
		t.Errorf("the bottle's shim is %+v, %v; want the spare %+v", st.Shim, err, first)
	}
	out, err := run(t, b, "led", backend.GuestBinary, "guest", "ask", "POST", "http://127.0.0.1:"+strconv.Itoa(sidecars.BottlesPort)+sidecars.BottlesPath)
	if err != nil || strings.TrimSpace(out) != "200" {
		t.Fatalf("%q, %v", out, err)
	}
	if got := <-seen; got != "Bearer of-the-bottle" {
		t.Errorf("the host was sent %q", got)
	}
	state := read(t, filepath.Join(b.dir("led"), "shim.json"))
	if strings.Contains(string(state), "of-the-bottle") {
		t.Error("the token is in the bottle's state")
	}
	if os.Getuid() != 0 {
		return // the rest of an undumpable process's entries is for root alone
	}
	mounts := string(read(t, filepath.Join("/proc", strconv.Itoa(st.Sidecar.PID), "mountinfo")))
	if strings.Contains(mounts, filepath.Base(filepath.Dir(socket))) || !strings.Contains(mounts, " / / ro") {
		t.Errorf("the jail has something of the host beside its root: %s", mounts)
	}
}

// shortDir is a private directory with room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bm-") //nolint:usetesting // its path is too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func startLeading(t *testing.T, b *Backend, id backend.ID, socket string) {
	t.Helper()
	spec := sidecarSpec(t, b, id)
	spec.Services = append(spec.Services, sidecars.Bottles)
	spec.Secrets.BottlesToken, spec.HostSocket = secret.New("of-the-bottle"), socket
	startSidecar(t, b, spec)
	startAgent(t, b, id)
}
