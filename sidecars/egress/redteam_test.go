package egress

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ca"
	"github.com/bottle-mcp/bottle-mcp/sidecars/egress/egresstest"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// Where the two servers of the red team are.
const (
	originIP = "127.0.0.1"
	sinkIP   = "127.0.0.2"
)

// field is where attacks take place: a bed whose origin and whose attacker keep
// every byte, and beside it a proxy through which everything gets out.
type field struct {
	*bed

	scene        egresstest.Scene
	origin, sink *egresstest.Recorder
	naive        string // address
}

func testMinter(t testing.TB, name string) (*ca.Minter, string) {
	t.Helper()
	cert, key, err := ca.NewAuthority(name, time.Now().Add(time.Hour))
	check(t, err)
	m, err := ca.NewMinter(cert, key)
	check(t, err)
	return m, string(cert)
}

func newField(t *testing.T) *field {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs a second loopback address, which this system has not by itself")
	}
	f := &field{}
	trusted, roots := testMinter(t, "origins")
	stranger, _ := testMinter(t, "strangers")
	f.origin, f.sink = egresstest.NewRecorder(trusted, stranger), egresstest.NewRecorder(trusted, stranger)
	a, b, err := egresstest.Listen(t.Context(), originIP, sinkIP)
	check(t, err)
	serveUntilEnd(t, a, f.origin.Serve)
	serveUntilEnd(t, b, f.sink.Serve)
	f.scene = egresstest.Scene{Port: portOf(a), EvilIP: netip.MustParseAddr(sinkIP), Token: testToken, Known: testKnown, Canary: testCanary}
	f.bed = newBed(t, func(b *bed, c *bedConfig) {
		c.routes = f.scene.Routes(originIP)
		for _, host := range egresstest.Origins() {
			b.names.set(host, originIP)
		}
		for _, host := range egresstest.Sinks() {
			b.names.set(host, sinkIP)
		}
		c.opts.RootCAs = x509.NewCertPool()
		c.opts.RootCAs.AppendCertsFromPEM([]byte(roots))
		b.known = []sidecars.Named{{Name: "DB_PASSWORD", Value: secret.New(testKnown)}}
		b.canaries = []sidecars.Named{{Name: "canary", Value: secret.New(testCanary)}}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	minter, _ := testMinter(t, "naive")
	n := &egresstest.Naive{Minter: minter, Leads: f.leads, Token: testToken}
	serveUntilEnd(t, l, n.Serve)
	f.naive = l.Addr().String()
	return f
}

func serveUntilEnd(t testing.TB, l net.Listener, serve func(net.Listener) error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- serve(l) }()
	t.Cleanup(func() {
		_ = l.Close()
		check(t, <-done)
	})
}

// leads resolves for the naive proxy: what is not the origin's is the attacker's.
func (f *field) leads(host, port string) string {
	at := fmt.Sprint(f.scene.Port)
	if slices.Contains(egresstest.Origins(), host) && (port == "" || port == at) {
		return net.JoinHostPort(originIP, at)
	}
	return net.JoinHostPort(sinkIP, at)
}

// attack carries a out and tells what was seen.
func (f *field) attack(t *testing.T, proxy string, a egresstest.Attack) egresstest.Evidence {
	t.Helper()
	f.origin.Forget()
	f.sink.Forget()
	answer := egresstest.Carry(t.Context(), proxy, a)
	return egresstest.Evidence{Origin: f.origin.Got(), Sink: f.sink.Got(), Answer: answer}
}

// TestRedTeam is the catalogue's classes H, P and X. Each attack fails at the
// proxy, which has the reason on record, and succeeds at one that is naive.
func TestRedTeam(t *testing.T) {
	f := newField(t)
	attacks := f.scene.Attacks()
	rows := map[string]bool{}
	for _, a := range attacks {
		rows[a.Row] = true
		t.Run(a.Title(), func(t *testing.T) {
			before := len(f.decisions())
			evidence := f.attack(t, f.addr, a)
			if leak := a.Leak(f.scene, evidence); leak != "" {
				t.Errorf("%s; answers %v %q", leak, evidence.Answer.Statuses, evidence.Answer.Reasons)
			}
			f.onRecord(t, a, before, evidence.Answer)
			control := f.attack(t, f.naive, a)
			for end := time.Now().Add(testWait); a.Leak(f.scene, control) == "" && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
				control.Origin, control.Sink = f.origin.Got(), f.sink.Got() // bytes may be on their way still
			}
			if a.Leak(f.scene, control) == "" {
				t.Errorf("control: a naive proxy lets nothing through, so this proves nothing: %v %s, origin %.300q", control.Answer.Statuses, control.Answer.Fault, control.Origin.Bytes)
			}
		})
	}
	t.Logf("%d attacks of %d rows", len(attacks), len(rows))
}

// onRecord demands a line in the log since before, with a reason of the attack's.
func (f *field) onRecord(t *testing.T, a egresstest.Attack, before int, answer egresstest.Answer) {
	t.Helper()
	var given []string
	for end := time.Now().Add(testWait); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		given = nil
		for _, d := range f.decisions()[before:] {
			given = append(given, d.Reason)
		}
		if len(given) > 0 && a.Expected(given) {
			break
		}
	}
	if len(given) == 0 || !a.Expected(given) {
		t.Errorf("the log gives %q, want one of %q; answers %v %q %s", given, a.Reasons, answer.Statuses, answer.Reasons, answer.Fault)
	}
	for _, r := range answer.Reasons {
		if r != "" && !slices.Contains(given, r) {
			t.Errorf("answered %s, which is not in the log: %q", r, given)
		}
	}
	if strings.Contains(f.log.String(), f.scene.Known) {
		t.Error("the log holds the secret")
	}
}
