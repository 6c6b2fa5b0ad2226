package backendtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// guestAsk is where the guest's HTTP client is put, so that every user may run
// it.
const guestAsk = "/tmp/ask"

// hostServer stands for the MCP server on the host's side of the socket.
type hostServer struct {
	socket string
	token  string

	mu   sync.Mutex
	seen []string // method, target, host, authorization and body of each request
}

func newHostServer(t *testing.T) *hostServer {
	t.Helper()
	// Short: a socket's path is. Its directory is what keeps others out.
	dir, err := os.MkdirTemp("", "bm-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &hostServer{socket: filepath.Join(dir, "mcp.sock"), token: rand.Text()}
}

// listen serves until stop is called or t ends.
func (h *hostServer) listen(t *testing.T) (stop func()) {
	t.Helper()
	l, err := net.Listen("unix", h.socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(h.socket, 0o600); err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	go func() { _ = srv.Serve(l) }()
	stop = func() { _ = srv.Close() }
	t.Cleanup(stop)
	return stop
}

func (h *hostServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	h.seen = append(h.seen, fmt.Sprintf("%s %s %s %q %s", r.Method, r.RequestURI, r.Host, r.Header["Authorization"], body))
	h.mu.Unlock()
	_, _ = io.WriteString(w, "served")
}

func (h *hostServer) last() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.seen) == 0 {
		return ""
	}
	return h.seen[len(h.seen)-1]
}

// leading gives a bottle the way to the host's server.
func leading(h *hostServer) option {
	return func(sc *backend.SidecarSpec, _ *backend.AgentSpec) {
		sc.Services = append(slices.Clone(sc.Services), sidecars.Bottles)
		sc.Secrets.BottlesToken = secret.New(h.token)
		sc.HostSocket = h.socket
	}
}

// bottles is the way from a guest to the MCP server of its host.
func (s *suite) bottles(t *testing.T) {
	h := newHostServer(t)
	stop := h.listen(t)
	if !slices.Contains(s.caps.Services, sidecars.Bottles) {
		s.refusesWay(t, func(sc *backend.SidecarSpec) { leading(h)(sc, nil) })
		return
	}
	b := s.launch(t, leading(h))
	b.giveAsk(t)
	if !strings.HasSuffix(b.endpoints.Bottles, sidecars.BottlesPath) {
		t.Fatalf("endpoint %q", b.endpoints.Bottles)
	}
	t.Run("arrives", func(t *testing.T) { b.reachesServer(t, h) })
	t.Run("token", func(t *testing.T) { b.lacks(t, h.token) })
	t.Run("listed", func(t *testing.T) {
		i, ok := s.instance(t, b.id)
		if alive, known := i.Services[sidecars.Bottles]; !ok || !alive || !known || len(i.Services) != 2 {
			t.Errorf("services %v", i.Services)
		}
	})
	t.Run("server gone", func(t *testing.T) {
		stop()
		if code, body := b.ask(t, "", "POST", b.endpoints.Bottles); code != 503 || !strings.Contains(body, "server_not_running") || strings.Contains(body, h.socket) {
			t.Errorf("%d %s", code, body)
		}
		h.listen(t)
		b.reachesServer(t, h)
	})
	t.Run("self-test", func(t *testing.T) {
		for _, user := range b.users() {
			b.selfTest(t, user)
		}
	})
	t.Run("not asked for", func(t *testing.T) {
		plain := s.launch(t)
		plain.giveAsk(t)
		if plain.endpoints.Bottles != "" {
			t.Errorf("endpoint %q", plain.endpoints.Bottles)
		}
		if r := plain.run(t, plain.askCommand("", "GET", strings.Replace(plain.endpoints.Egress, fmt.Sprint(sidecars.EgressPort), fmt.Sprint(sidecars.BottlesPort), 1)), ""); r.Code == 0 {
			t.Errorf("something answers: %s", r.stdout)
		}
	})
	t.Run("incomplete", s.incompleteWay)
}

// reachesServer has every user's request arrive with the bottle's token.
func (b *bottle) reachesServer(t *testing.T, h *hostServer) {
	t.Helper()
	for _, user := range b.users() {
		code, body := b.ask(t, user, "POST", b.endpoints.Bottles, "Authorization=Bearer of-the-guest", "Content-Type=application/json")
		if code != 200 || body != "served" {
			t.Errorf("as %q: %d %q", user, code, body)
		}
		if want := fmt.Sprintf("POST %s %s %q hello", sidecars.BottlesPath, sidecars.BottlesHost, []string{"Bearer " + h.token}); h.last() != want {
			t.Errorf("as %q the server saw %s, want %s", user, h.last(), want)
		}
	}
	// The control: another path is not the server's to see.
	before := h.last()
	if code, _ := b.ask(t, "", "POST", b.endpoints.Bottles+"/x"); code != 404 || h.last() != before {
		t.Errorf("another path: %d, the server saw %s", code, h.last())
	}
}

// lacks demands that nothing a guest's user can read holds the text.
func (b *bottle) lacks(t *testing.T, text string) {
	t.Helper()
	for _, user := range b.users() {
		cmd := script0("env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null; cat /.bottle/* /etc/* 2>/dev/null | head -c 4000000; exit 0")
		cmd.User = user
		r := b.run(t, cmd, "")
		if strings.Contains(r.stdout, text) || !strings.Contains(r.stdout, "MARK=from the launch") {
			t.Errorf("as %q the guest holds the token, or what was looked at is not its environment", user)
		}
	}
}

// incompleteWay has a start without token or socket fail and leave nothing.
func (s *suite) incompleteWay(t *testing.T) {
	h := newHostServer(t)
	h.listen(t)
	for name, spoil := range map[string]func(*backend.SidecarSpec){
		"no token":  func(sc *backend.SidecarSpec) { sc.Secrets.BottlesToken = secret.Value{} },
		"no socket": func(sc *backend.SidecarSpec) { sc.HostSocket = "" },
	} {
		t.Run(name, func(t *testing.T) {
			s.refusesWay(t, func(sc *backend.SidecarSpec) {
				leading(h)(sc, nil)
				spoil(sc)
			})
		})
	}
}

// refusesWay demands that a start fails and leaves nothing.
func (s *suite) refusesWay(t *testing.T, change func(*backend.SidecarSpec)) {
	t.Helper()
	sidecar, _ := s.specs(t, newID())
	change(&sidecar)
	s.removeLater(t, sidecar.ID)
	ctx, cancel := context.WithTimeout(t.Context(), callTime)
	defer cancel()
	if _, err := s.Backend.StartSidecar(ctx, sidecar); err == nil {
		t.Error("it starts")
	}
	if i, ok := s.instance(t, sidecar.ID); ok {
		t.Errorf("it left %+v", i)
	}
}

// ask sends a request from the guest and returns the status and the body.
func (b *bottle) ask(t *testing.T, user, method, url string, headers ...string) (int, string) {
	t.Helper()
	r := b.run(t, b.askCommand(user, method, url, headers...), "hello")
	var code int
	head, body, _ := strings.Cut(r.stdout, "\n")
	if _, err := fmt.Sscan(head, &code); r.Code != 0 || err != nil {
		t.Fatalf("ask %s %s ended with %d: %s %s", method, url, r.Code, r.stdout, r.stderr)
	}
	return code, body
}

func (b *bottle) askCommand(user, method, url string, headers ...string) backend.Command {
	argv := []string{guestAsk + "/ask"}
	if b.s.Ask == "" {
		argv = []string{backend.GuestBinary, "guest", "ask"}
	}
	return backend.Command{Argv: append(append(argv, method, url), headers...), User: user}
}

// giveAsk copies the client in, where the guest has none.
func (b *bottle) giveAsk(t *testing.T) {
	t.Helper()
	if b.s.Ask == "" {
		return
	}
	dir := t.TempDir()
	data, err := os.ReadFile(b.s.Ask)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ask"), data, 0o755); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	packHost(t, &buf, dir)
	if _, err := b.s.Backend.Copy(t.Context(), b.id, backend.CopySpec{Direction: backend.CopyIn, Path: guestAsk, Reader: &buf}); err != nil {
		t.Fatalf("copy the guest's client in: %v", err)
	}
}
