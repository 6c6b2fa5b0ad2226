package main

import (
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/faults"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world/internet"
)

func TestNetworks(t *testing.T) {
	enter(t)
	network(t, "inside", "--internal", "--label", "dev.example.role=a=b")
	network(t, "outside")

	t.Run("documents", func(t *testing.T) {
		all := valid(t, "network list --format json", must(t, "network", "list", "--format", "json"))
		if strings.Count(all, "\n") != 1 || !strings.Contains(all, `"mode":"hostOnly"`) {
			t.Errorf("not one line with an internal network: %s", all)
		}
		one := valid(t, "network inspect", must(t, "network", "inspect", "inside"))
		if !strings.Contains(one, "\n    \"id\" : \"inside\"") || !strings.Contains(one, `"dev.example.role" : "a=b"`) {
			t.Errorf("not indented, or without its label: %s", one)
		}
	})
	t.Run("names", func(t *testing.T) {
		refuses(t, `exists: "network inside already exists"`, "network", "create", "inside")
		refuses(t, `notFound: "network not found: nobody"`, "network", "inspect", "inside", "nobody")
		refuses(t, "notFound", "network", "delete", "inside", "nobody")
		refuses(t, "builtin", "network", "delete", "default")
	})
	t.Run("in use", func(t *testing.T) {
		guest(t, "user", "--network", "inside")
		must(t, "stop", "-t", "0", "user")
		r := container(t, "network", "delete", "inside", "outside")
		if r.code != 1 || r.out != "outside\n" || !strings.Contains(r.complaint, `delete failed for one or more networks: ["inside"]`) {
			t.Errorf("exit %d, stdout %q, stderr %q", r.code, r.out, r.complaint)
		}
	})
}

// peer starts a container with a web server and returns its address on the
// network that it has last.
func peer(t *testing.T, id string, options ...string) string {
	t.Helper()
	guest(t, id, options...)
	sh(t, id, "mkdir -p /www; echo hello >/www/index.html; httpd -p 80 -h /www")
	lines := strings.Split(sh(t, id, "ip -4 -o addr show | grep -v ' lo '"), "\n")
	address, _, _ := strings.Cut(strings.Fields(lines[len(lines)-1])[3], "/")
	return address
}

func TestTwoNetworks(t *testing.T) {
	w := enter(t)
	network(t, "inside", "--internal")
	network(t, "outside")
	address := peer(t, "sidecar", "--network", "outside", "--network", "inside", "--dns", world.DNSAddress)
	guest(t, "agent", "--network", "inside", "--no-dns", "--cap-drop", "ALL")

	t.Run("the first network has the route", func(t *testing.T) {
		if route := sh(t, "sidecar", "ip route | grep ^default"); !strings.HasSuffix(route, "dev eth0") {
			t.Errorf("default route of the sidecar: %q", route)
		}
		if route := sh(t, "agent", "ip route | grep ^default"); !strings.Contains(route, ".1 dev eth0") {
			t.Errorf("an internal network has a default route too, got %q", route)
		}
	})
	t.Run("the sidecar gets out", func(t *testing.T) {
		sh(t, "sidecar", "wget -q -O - http://"+world.AllowedName+"/from-the-sidecar")
		w.AwaitEvent(t, func(e internet.Event) bool { return strings.Contains(e.Path, "from-the-sidecar") })
	})
	t.Run("the agent reaches the sidecar alone", func(t *testing.T) {
		if got := sh(t, "agent", "wget -q -O - http://"+address); got != "hello" {
			t.Errorf("the sidecar says %q", got)
		}
		if open := opened(t, "agent"); len(open) > 0 {
			t.Errorf("open: %v", open)
		}
		for _, e := range w.Events(t, world.Reached(world.PublicAddress)) {
			if e.Path != "" && !strings.Contains(e.Path, "from-the-sidecar") {
				t.Errorf("something arrived: %v", e)
			}
		}
	})
	t.Run("names of containers mean nothing", func(t *testing.T) {
		if r := container(t, "exec", "--", "sidecar", "nslookup", "agent"); strings.Contains(r.out, "192.168.") {
			t.Errorf("the name of a container has its address: %s", r.out)
		}
	})
	t.Run("addresses change", func(t *testing.T) {
		must(t, "stop", "-t", "0", "sidecar")
		must(t, "start", "sidecar")
		lines := sh(t, "sidecar", "ip -4 -o addr show dev eth1")
		if strings.Contains(lines, address+"/") {
			t.Errorf("the address is the same after a restart: %s", lines)
		}
	})
}

// defaultGateway prints a guest's gateway.
const defaultGateway = "ip route | grep ^default | cut -d' ' -f3"

// opened are the ways out that a guest on an internal network finds.
func opened(t *testing.T, id string) []string {
	t.Helper()
	probes := map[string]string{
		"outside":  "nc -w 2 " + world.PublicAddress + " 80 </dev/null",
		"host":     "nc -w 2 $(" + defaultGateway + ") 22 </dev/null",
		"uplink":   "nc -w 2 " + world.HostAddress + " 22 </dev/null",
		"resolver": "timeout 4 nslookup " + world.AllowedName + " $(" + defaultGateway + ")",
	}
	var open []string
	for name, line := range probes {
		if container(t, "exec", "--", id, "sh", "-c", line).code == 0 {
			open = append(open, name)
		}
	}
	return open
}

func TestLeaks(t *testing.T) {
	for fault, leak := range map[string]string{
		faults.RoutesOut: "outside", faults.HostOnGateway: "host", faults.GatewayResolver: "resolver",
	} {
		t.Run(fault, func(t *testing.T) {
			w := enter(t)
			w.SetFault(t, fault, "")
			network(t, "leaky", "--internal")
			guest(t, "agent", "--network", "leaky", "--no-dns")
			open := opened(t, "agent")
			if !strings.Contains(strings.Join(open, " "), leak) {
				t.Errorf("open are %v, not %s", open, leak)
			}
		})
	}
}

func TestSubnetChanges(t *testing.T) {
	w := enter(t)
	network(t, "inside", "--internal")
	guest(t, "agent", "--network", "inside")
	before := must(t, "network", "inspect", "inside")

	t.Run("at a start", func(t *testing.T) {
		w.SetFault(t, faults.SubnetChanges, "")
		must(t, "stop", "-t", "0", "agent")
		must(t, "start", "agent")
		if must(t, "network", "inspect", "inside") == before {
			t.Error("the subnet is the same")
		}
		gateway := sh(t, "agent", defaultGateway)
		if !strings.Contains(must(t, "network", "inspect", "inside"), `"`+gateway+`"`) {
			t.Errorf("the gateway %s is not the network's", gateway)
		}
		w.ClearFault(t, faults.SubnetChanges)
	})
	t.Run("now", func(t *testing.T) {
		before := must(t, "network", "inspect", "inside")
		w.SetFault(t, faults.SubnetChanges, "now")
		after := must(t, "network", "inspect", "inside")
		if after == before || must(t, "network", "inspect", "inside") != after {
			t.Error("the subnet did not change once")
		}
	})
}

func TestPublish(t *testing.T) {
	enter(t)
	guest(t, "server", "-p", "127.0.0.1:18080:80")
	sh(t, "server", "mkdir -p /www; echo hello >/www/index.html; httpd -p 80 -h /www")
	if got := fetch(t, "http://127.0.0.1:18080/"); got != "hello\n" {
		t.Errorf("the published port says %q", got)
	}
	refuses(t, "address already in use", "run", "-d", "--name", "second", "-p", "127.0.0.1:18080:80", "--", world.AgentImage, "sleep", "9")
	refuses(t, "notFound", "inspect", "second")
	must(t, "stop", "-t", "0", "server")
	eventually(t, "the port closes", func() bool { return !reachable("127.0.0.1:18080") })
}

func eventually(t *testing.T, what string, ask func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ask(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never happens that %s", what)
		}
	}
}
