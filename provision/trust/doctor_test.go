package trust

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/setup"
)

// guest is a root directory as provisioning leaves it, with a proxy that listens.
type guest struct {
	Guest

	t *testing.T
}

func newGuest(t *testing.T) *guest {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	e := backend.Endpoints{Egress: "http://" + l.Addr().String(), NoProxy: []string{"192.0.2.9"}}
	g := &guest{t: t, Guest: Guest{Root: t.TempDir(), Now: time.Now()}}
	cert := authority(t)
	g.put(backend.GuestCACert, string(cert))
	g.put(backend.GuestCABundle, "roots\n"+string(cert))
	g.put("/etc/ssl/certs/ca-certificates.crt", "roots\n"+string(cert))
	files, err := Home(e, cert)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.How != setup.Extend {
			g.put(f.Path, string(f.Content))
		}
	}
	for name, value := range variables(e) {
		g.set(name, value)
	}
	g.set("PATH", "/usr/bin")
	return g
}

func (g *guest) put(path, text string) {
	g.t.Helper()
	path = filepath.Join(g.Root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		g.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		g.t.Fatal(err)
	}
}

func (g *guest) set(name, value string) {
	g.unset(name)
	g.Environ = append(g.Environ, name+"="+value)
}

func (g *guest) unset(name string) {
	g.Environ = slices.DeleteFunc(g.Environ, func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
}

func (g *guest) remove(path string) {
	g.t.Helper()
	if err := os.Remove(filepath.Join(g.Root, path)); err != nil {
		g.t.Fatal(err)
	}
}

func TestDiagnose(t *testing.T) {
	tests := []struct {
		name   string
		change func(*guest)
		want   []string // one for each finding; none = healthy
	}{
		{"healthy", func(*guest) {}, nil},
		{"healthy, more for Java", func(g *guest) { g.set(JavaOptions, g.env()[JavaOptions]+" -Xmx1g") }, nil},
		{"healthy, more lines in a file", func(g *guest) {
			old, err := g.read(backend.AgentHome + "/.npmrc")
			if err != nil {
				g.t.Fatal(err)
			}
			g.put(backend.AgentHome+"/.npmrc", "fund=false\n"+string(old))
		}, nil},
		{"one variable gone", func(g *guest) { g.unset("SSL_CERT_FILE") }, []string{"lacks the variables SSL_CERT_FILE:"}},
		{"one changed", func(g *guest) { g.set("https_proxy", "http://elsewhere:1") }, []string{"were changed, so clients take another way or trust others: https_proxy"}},
		{"no environment", func(g *guest) { g.Environ = nil }, []string{"lacks the variables AWS_CA_BUNDLE"}},
		{"no environment, Java", func(g *guest) {
			g.put("/usr/bin/java", "")
			g.Environ = []string{"PATH=/usr/bin"}
		}, []string{"lacks the variables", "Java reads no proxy variable"}},
		{"Java", func(g *guest) { g.put("/usr/bin/java", "") }, nil},
		{"nothing provisioned", func(g *guest) { g.remove(envFile) }, []string{"env.sh cannot be read"}},
		{"no CA", func(g *guest) { g.remove(backend.GuestCACert) }, []string{"ca.pem cannot be read"}},
		{"a broken CA", func(g *guest) { g.put(backend.GuestCACert, "no certificate at all") }, []string{"no certificate in PEM", "the bundle", "the system's CAs in /etc/ssl/certs/ca-certificates.crt"}},
		{"an old CA", func(g *guest) { g.Now = g.Now.Add(48 * time.Hour) }, []string{"no longer valid"}},
		{"bundle replaced", func(g *guest) { g.put(backend.GuestCABundle, "others") }, []string{"ca-bundle.pem lacks the bottle's CA"}},
		{"system store", func(g *guest) { g.put("/etc/ssl/cert.pem", "others") }, []string{"/etc/ssl/cert.pem lack the bottle's"}},
		{"files", func(g *guest) {
			g.remove(backend.AgentHome + "/.curlrc")
			g.put(backend.AgentHome+"/.config/pip/pip.conf", "[global]\n")
		}, []string{"/home/agent/.curlrc, /home/agent/.config/pip/pip.conf"}},
		{"proxy dead", func(g *guest) {
			old, err := g.read(envFile)
			if err != nil {
				g.t.Fatal(err)
			}
			proxy := g.env()["https_proxy"]
			g.put(envFile, strings.ReplaceAll(string(old), proxy, "http://127.0.0.1:1"))
		}, []string{"were changed", "these files are not", "http://127.0.0.1:1 does not answer"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newGuest(t)
			tt.change(g)
			found := Diagnose(t.Context(), g.Guest)
			if len(found) != len(tt.want) {
				t.Fatalf("found %+v", found)
			}
			for i, f := range found {
				if !strings.Contains(f.Problem, tt.want[i]) || f.Fix == "" {
					t.Errorf("found %+v, want %q", f, tt.want[i])
				}
			}
		})
	}
}

func TestNodeReadsProxy(t *testing.T) {
	for version, want := range map[string]bool{
		"18.19.0": false, "20.20.2": false, "22.20.0": false, "22.21.0": true, "22.22.1": true, "23.11.0": false, "24.0.0": true, "26.1.0": true, "odd": true,
	} {
		if got := nodeReadsProxy(version); got != want {
			t.Errorf("Node %s reads proxy variables: %v", version, got)
		}
	}
}

// TestDoctorOutsideAGuest: what people see, and the code that scripts see.
func TestDoctorOutsideAGuest(t *testing.T) {
	if _, err := os.Stat(envFile); err == nil {
		t.Skip("this is a guest")
	}
	var out bytes.Buffer
	if code := DoctorMain(t.Context(), &out); code != 1 || !strings.Contains(out.String(), "env.sh cannot be read") || !strings.Contains(out.String(), "\n  fix: ") {
		t.Errorf("%d: %s", code, out.String())
	}
}
