package pid1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// TestServesBottles has the guest reach the host's MCP server through a socket
// that is mounted, and nobody else reach it.
func TestServesBottles(t *testing.T) {
	for _, o := range []boxOptions{{}, {listen: "unix:/run/bottle-sockets", daemons: "egress,bottles"}} {
		t.Run(o.listen, func(t *testing.T) {
			o.host = filepath.Join(t.TempDir(), "mcp.sock")
			l, err := net.Listen("unix", o.host)
			check(t, err)
			check(t, os.Chmod(o.host, 0o666)) // as an engine mounts it
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprintf(w, "%s %s", r.URL.Path, r.Header.Get("Authorization"))
			})}
			go func() { _ = server.Serve(l) }()
			t.Cleanup(func() { _ = server.Close() })

			b := newBox(t, o)
			r := b.ready()
			if len(r.Services) != 2 || r.Services[sidecars.Bottles] != ServiceOK || r.Services[sidecars.Egress] != ServiceOK {
				t.Errorf("report = %+v", r)
			}
			if status, body := b.postBottles(o); status != 200 || body != "/mcp Bearer "+testBottles {
				t.Errorf("%d %q", status, body)
			}
			b.checkBottlesWalls(t)
			b.reloadKeepsBottles(t, r)
			if o.listen == "" {
				if c, err := b.world.dial(sidecarOutside+":"+strconv.Itoa(sidecars.BottlesPort), 2*time.Second); !errors.Is(err, unix.ECONNREFUSED) {
					t.Errorf("the other address: %v, %v; want it refused", c, err)
				}
			}
			_ = server.Close()
			if status, body := b.postBottles(o); status != 503 || !strings.Contains(body, "server_not_running") {
				t.Errorf("without a server: %d %q", status, body)
			}
			b.signal(unix.SIGTERM)
			if code := b.wait(testWait); code != 0 {
				t.Errorf("exit code %d, want 0", code)
			}
		})
	}
}

// postBottles sends a message as a guest does.
func (b *box) postBottles(o boxOptions) (int, string) {
	b.t.Helper()
	path := fmt.Sprintf("/proc/%d/root/run/bottle-sockets/%s", b.cmd.Process.Pid, SocketName(sidecars.Bottles))
	c := &http.Client{Timeout: testWait, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			if o.listen != "" {
				return net.Dial("unix", path)
			}
			return b.world.dial(sidecarInside+":"+strconv.Itoa(sidecars.BottlesPort), 5*time.Second)
		},
	}}
	resp, err := c.Post("http://bottles/mcp", "application/json", strings.NewReader("{}"))
	check(b.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	check(b.t, err)
	return resp.StatusCode, string(body)
}

// checkBottlesWalls demands a user of its own and no privilege.
func (b *box) checkBottlesWalls(t *testing.T) {
	t.Helper()
	status := readAll(t, fmt.Sprintf("/proc/%d/status", b.daemonOf(sidecars.Bottles)))
	for _, want := range []string{
		"Uid:\t" + strings.Repeat(strconv.Itoa(BottlesUID)+"\t", 3) + strconv.Itoa(BottlesUID),
		"NoNewPrivs:\t1", "CapBnd:\t0000000000000000", "CapPrm:\t0000000000000000",
	} {
		if !strings.Contains(status, want) {
			t.Errorf("its status lacks %q", want)
		}
	}
}

// reloadKeepsBottles has another policy leave the daemon and its calls alone.
func (b *box) reloadKeepsBottles(t *testing.T, before Report) {
	t.Helper()
	b.config.Routes = []sidecars.Route{{Host: "other.test"}}
	check(t, WriteConfig(b.dir, b.config, sidecars.Secrets{}, nil))
	b.signal(unix.SIGHUP)
	eventually(t, "the reload", func() bool { r, _ := b.ask(testWait); return r.Reloads > before.Reloads })
	after := b.ready()
	if after.ReloadError != "" || after.Daemons[sidecars.Bottles].PID != before.Daemons[sidecars.Bottles].PID {
		t.Errorf("after the reload: %+v, before it %+v", after, before)
	}
	log := readAll(t, filepath.Join(b.dir, sidecars.LogDir, sidecars.ErrorLog))
	if !strings.Contains(log, "the new configuration is in force") {
		t.Error("egress was not told: the test shows nothing")
	}
}
