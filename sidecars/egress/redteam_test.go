package egress

import (
	"crypto/x509"
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

// field is where attacks take place: a bed whose origin and whose attacker keep
// every byte, and beside it a proxy through which everything gets out.
type field struct {
	*bed
	*egresstest.Field
}

func newField(t *testing.T) *field {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs a second loopback address, which this system has not by itself")
	}
	const originIP, sinkIP = "127.0.0.1", "127.0.0.2"
	roots, key, err := ca.NewAuthority("origins", time.Now().Add(time.Hour))
	check(t, err)
	trusted, err := ca.NewMinter(roots, key)
	check(t, err)
	f := &field{}
	scene := egresstest.Scene{EvilIP: netip.MustParseAddr(sinkIP), Token: testToken, Known: testKnown, Canary: testCanary}
	f.Field, err = egresstest.NewField(t.Context(), trusted, scene, originIP)
	check(t, err)
	t.Cleanup(f.Close)
	f.bed = newBed(t, func(b *bed, c *bedConfig) {
		c.routes = f.Scene.Routes(originIP)
		for _, host := range egresstest.Origins() {
			b.names.set(host, originIP)
		}
		for _, host := range egresstest.Sinks() {
			b.names.set(host, sinkIP)
		}
		c.opts.RootCAs = x509.NewCertPool()
		c.opts.RootCAs.AppendCertsFromPEM(roots)
		b.known = []sidecars.Named{{Name: "DB_PASSWORD", Value: secret.New(testKnown)}}
		b.canaries = []sidecars.Named{{Name: "canary", Value: secret.New(testCanary)}}
	})
	return f
}

// TestRedTeam is the catalogue's classes H, P and X. Each attack fails at the
// proxy, which has the reason on record, and succeeds at one that is naive. With
// -short it is one attack of each row.
func TestRedTeam(t *testing.T) {
	f := newField(t)
	attacks := f.Scene.Attacks()
	if testing.Short() {
		attacks = egresstest.Sample(attacks)
	}
	rows := map[string]bool{}
	for _, a := range attacks {
		rows[a.Row] = true
		t.Run(a.Title(), func(t *testing.T) {
			before := len(f.decisions())
			seen := f.Try(t.Context(), f.addr, a)
			if leak := a.Leak(f.Scene, seen); leak != "" {
				t.Errorf("%s; answers %v %q", leak, seen.Answer.Statuses, seen.Answer.Reasons)
			}
			f.onRecord(t, a, before, seen.Answer)
			if leak, control := f.Control(t.Context(), a); leak == "" {
				t.Errorf("control: a naive proxy lets nothing through, so this proves nothing: %v %s, origin %.300q", control.Answer.Statuses, control.Answer.Fault, control.Origin.Bytes)
			}
		})
	}
	if len(rows) != 35 {
		t.Errorf("%d rows of the catalogue, want all 35 of its classes H, P and X", len(rows))
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
	if strings.Contains(f.log.String(), f.Scene.Known) {
		t.Error("the log holds the secret")
	}
}
