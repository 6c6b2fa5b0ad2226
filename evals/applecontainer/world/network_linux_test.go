package world_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world/internet"
)

func asExit(err error, exit **exec.ExitError) bool { return errors.As(err, exit) }

func kill(t *testing.T, pid string) {
	t.Helper()
	n, err := strconv.Atoi(pid)
	if err == nil {
		err = unix.Kill(n, unix.SIGKILL)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func podman(t *testing.T, args ...string) string {
	t.Helper()
	out, err := world.Podman(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// network makes a network and returns its gateway and bridge.
func network(t *testing.T, name string, options ...string) (gateway, bridge string) {
	t.Helper()
	podman(t, append(append([]string{"network", "create"}, options...), name)...)
	t.Cleanup(func() { _, _ = world.Podman(context.Background(), "network", "rm", "--force", "--time", "0", name) })
	facts := podman(t, "network", "inspect", "--format", "{{(index .Subnets 0).Gateway}} {{.NetworkInterface}}", name)
	gateway, bridge, _ = strings.Cut(facts, " ")
	return gateway, bridge
}

// guest starts a container; image and options are podman run's.
func guest(t *testing.T, name, image string, options ...string) {
	t.Helper()
	args := append([]string{"run", "--detach", "--name", name}, options...)
	podman(t, append(args, image, "sleep", "1000")...)
	t.Cleanup(func() { _, _ = world.Podman(context.Background(), "rm", "--force", "--time", "0", name) })
}

// in runs a shell line in a container and returns what it printed.
func in(t *testing.T, name, line string) string {
	t.Helper()
	out, _ := world.Podman(t.Context(), "exec", name, "sh", "-c", line)
	return strings.TrimSpace(out)
}

// inAll runs shell lines in a container at the same time, for probes that wait
// for an answer, and returns what each printed.
func inAll(t *testing.T, name string, lines map[string]string) map[string]string {
	t.Helper()
	var script strings.Builder
	names := slices.Sorted(maps.Keys(lines))
	for i, n := range names {
		fmt.Fprintf(&script, "( %s ) >/tmp/probe%d 2>/dev/null &\n", lines[n], i)
	}
	script.WriteString("wait\n")
	for i := range names {
		fmt.Fprintf(&script, "cat /tmp/probe%d; printf '\\000'\n", i)
	}
	printed := strings.Split(podman(t, "exec", name, "sh", "-c", script.String()), "\x00")
	if len(printed) != len(names)+1 {
		t.Fatalf("%d probes gave %d answers: %q", len(names), len(printed)-1, printed)
	}
	got := map[string]string{}
	for i, n := range names {
		got[n] = strings.TrimSpace(printed[i])
	}
	return got
}

// bed is an agent on an internal network and a sidecar that is also outside.
type bed struct {
	w               *world.World
	gateway, bridge string
	sidecar         string // its address on the internal network
	linkLocal       string // of the bridge, "" when IPv6 is off there
}

func newBed(t *testing.T, hardened bool, agentOptions ...string) bed {
	w := world.New(t)
	w.Images(t)
	b := bed{w: w}
	b.gateway, b.bridge = network(t, "inner", "--internal")
	network(t, "outer")
	if hardened {
		if err := world.HardenInternal(t.Context(), b.bridge); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := world.SoftenInternal(context.Background(), b.bridge); err != nil {
				t.Error(err)
			}
		})
	}
	guest(t, "sidecar", world.ToolsImage, "--dns", world.DNSAddress, "--network", "outer", "--network", "inner", "--volume", w.OriginCA+":/ca.pem:ro")
	guest(t, "agent", world.AgentImage, append([]string{"--network", "inner"}, agentOptions...)...)
	b.sidecar = podman(t, "inspect", "--format", "{{.NetworkSettings.Networks.inner.IPAddress}}", "sidecar")
	podman(t, "exec", "--detach", "sidecar", "nc", "-l", "-l", "-p", "9099", "-e", "echo", "the proxy")
	b.linkLocal = bridgeLinkLocal(t, b.bridge)
	// Until its own address is settled the agent cannot even ask over IPv6.
	podman(t, "exec", "agent", "timeout", "10", "sh", "-c", "while ip -6 addr show dev eth0 | grep -q tentative; do sleep 0.1; done")
	return b
}

func bridgeLinkLocal(t *testing.T, bridge string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ip", "-6", "-o", "addr", "show", "dev", bridge, "scope", "link").Output()
	if err != nil {
		t.Fatal(err)
	}
	if fields := strings.Fields(string(out)); len(fields) > 3 {
		address, _, _ := strings.Cut(fields[3], "/")
		return address
	}
	return ""
}

func TestGuestsReachWhatTheyShould(t *testing.T) {
	for name, hardened := range map[string]bool{"as Podman makes it": false, "hardened": true} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, hardened)
			for url, want := range map[string]string{
				"http://allowed.example/plain":      "origin allowed.example at " + world.PublicAddress + ":80",
				"https://allowed.example/secure":    "origin allowed.example at " + world.PublicAddress + ":443",
				"http://unheard-of.example/":        "origin unheard-of.example at " + world.SentinelAddress + ":80",
				"http://documentation.example:8080": "origin documentation.example:8080 at " + world.DocumentationAddress + ":8080",
			} {
				if got := in(t, "sidecar", "curl -sS -m 5 --cacert /ca.pem "+url); got != want {
					t.Errorf("the sidecar got %q from %s, want %q", got, url, want)
				}
			}
			e := b.w.AwaitEvent(t, func(e internet.Event) bool { return e.Path == "/secure" })
			if !e.TLS || e.Method != "GET" || e.Host != "allowed.example" || !strings.HasPrefix(e.Header.Get("User-Agent"), "curl/") {
				t.Errorf("the origin wrote down %+v", e)
			}
			if got := in(t, "sidecar", "curl -sS -m 5 https://allowed.example/; echo $?"); got != "60" {
				t.Errorf("without the CA curl said %q, want code 60", got)
			}
			if got := in(t, "agent", "nc -w 3 "+b.sidecar+" 9099"); got != "the proxy" {
				t.Errorf("the agent got %q from the sidecar", got)
			}
			if got := in(t, "agent", "timeout 3 wget -O - http://"+world.PublicAddress+"/ 2>&1"); !strings.Contains(got, "unreachable") {
				t.Errorf("the agent reached the outside: %q", got)
			}
		})
	}
}

// TestLeaks is the reason for HardenInternal: every row is open as Podman makes
// an internal network, which also proves that the probe works, and closed
// after; all but the sidecar's. NET_ADMIN stands for a guest that makes itself a route.
func TestLeaks(t *testing.T) {
	for name, hardened := range map[string]bool{"as Podman makes it": false, "hardened": true} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, hardened, "--cap-add", "NET_ADMIN,NET_RAW")
			// The bridge comes after the rules, so it has IPv6: they must do alone.
			if b.linkLocal == "" {
				t.Fatal("the bridge has no IPv6 address: its row would prove nothing")
			}
			in(t, "agent", "ip route add default via "+b.gateway)
			const banner, open = "a service of the Mac", "Address: " + world.SentinelAddress
			rows := map[string]struct{ line, open string }{
				"TCP on the gateway":         {"nc -w 2 " + b.gateway + " 22", banner},
				"another port there":         {"nc -w 2 " + b.gateway + " 5900", banner},
				"TCP on the bridge's fe80":   {"nc -w 2 " + b.linkLocal + "%eth0 22", banner},
				"ICMP on the gateway":        {"ping -c 1 -W 2 " + b.gateway + " | grep -o '1 packets received'", "1 packets received"},
				"the gateway's resolver":     {"timeout 5 nslookup -type=a tunnel.example " + b.gateway + " | grep " + world.SentinelAddress, open},
				"the host's other addresses": {"nc -w 2 " + world.HostAddress + " 8080", banner},
				"the sidecar":                {"nc -w 2 " + b.sidecar + " 9099", "the proxy"},
			}
			lines := map[string]string{}
			for probe, row := range rows {
				lines[probe] = row.line
			}
			for probe, got := range inAll(t, "agent", lines) {
				want := rows[probe].open
				if hardened && probe != "the sidecar" {
					want = ""
				}
				if got != want {
					t.Errorf("%s gave %q, want %q", probe, got, want)
				}
			}
			// The service sends the request back, which is no TFTP: the event tells.
			in(t, "agent", "timeout 2 tftp -g -r x "+b.gateway+" 5353")
			if !hardened {
				b.w.AwaitEvent(t, func(e internet.Event) bool { return e.Kind == internet.KindUDP && e.Place == internet.PlaceHost })
			}
			for _, e := range b.w.Events(t, nil) {
				if hardened && (e.Place == internet.PlaceHost || e.Name == "tunnel.example") {
					t.Errorf("it arrived: %+v", e)
				}
			}
		})
	}
}

// TestInternalThatRoutesOut is Apple's worst report: an internal network that
// is none. The events outside show it, and the rules close even that.
func TestInternalThatRoutesOut(t *testing.T) {
	w := world.New(t)
	w.Images(t)
	_, bridge := network(t, "inner") // without --internal
	guest(t, "agent", world.AgentImage, "--network", "inner")
	probe := func() map[string]string {
		lines := map[string]string{"dns": "timeout 5 nslookup -type=a x.example 1.1.1.1 | grep -o " + world.SentinelAddress}
		for _, a := range []string{"1.1.1.1", "169.254.169.254", "100.100.100.200", world.LANAddress} {
			lines[a] = "timeout 2 wget -q -O - http://" + a + "/"
		}
		return inAll(t, "agent", lines)
	}
	for target, got := range probe() {
		if got == "" {
			t.Errorf("%s shows no leak", target)
		}
	}
	for _, a := range []string{"1.1.1.1", "169.254.169.254", "100.100.100.200", world.LANAddress} {
		w.AwaitEvent(t, world.Reached(a))
	}
	if err := world.HardenInternal(t.Context(), bridge); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = world.SoftenInternal(context.Background(), bridge) })
	quiet := len(w.Events(t, nil))
	for target, got := range probe() {
		if got != "" {
			t.Errorf("%s is open: %q", target, got)
		}
	}
	if left := w.Events(t, nil)[quiet:]; len(left) != 0 {
		t.Errorf("packets arrived outside: %+v", left)
	}
	if left := bridgeLinkLocal(t, bridge); left != "" {
		t.Errorf("the bridge kept %s", left)
	}
}

func TestHardeningIsIdempotent(t *testing.T) {
	w := world.New(t)
	before := w.Engine(t)
	for range 2 {
		if err := world.HardenInternal(t.Context(), "podman77"); err != nil {
			t.Fatal(err)
		}
	}
	if err := world.HardenInternal(t.Context(), "podman7"); err != nil {
		t.Fatal(err)
	}
	if n := len(w.Engine(t).Since(before)); n != 12 {
		t.Errorf("%d rules for two bridges, want 12: %v", n, w.Engine(t).Since(before))
	}
	if err := world.SoftenInternal(t.Context(), "podman7"); err != nil {
		t.Fatal(err)
	}
	if n := len(w.Engine(t).Since(before)); n != 6 {
		t.Errorf("%d rules for one bridge, want 6: %v", n, w.Engine(t).Since(before))
	}
	if err := world.SoftenInternal(t.Context(), "podman77"); err != nil {
		t.Fatal(err)
	}
	if left := w.Engine(t).Since(before); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	for _, bad := range []string{"", "-F", "a b", "a\n-F", "!", "a/b"} {
		if world.HardenInternal(t.Context(), bad) == nil {
			t.Errorf("%q passed for a bridge", bad)
		}
	}
}

func TestNoWayOut(t *testing.T) {
	world.New(t)
	// The world's only cards are lo, the uplink to the fake Internet, and
	// Podman's own.
	cards, err := os.ReadDir("/sys/class/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cards {
		n := c.Name()
		if n != "lo" && n != "en0" && n != "bonding_masters" && !strings.HasPrefix(n, "podman") && !strings.HasPrefix(n, "veth") {
			t.Errorf("the world has a card %s", n)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "curl", "-sS", "http://one.one.one.one/who").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "at "+world.SentinelAddress) {
		t.Errorf("a real name got %q, %v; want the fake Internet", out, err)
	}
}
