package selftest

import (
	"context"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

func lanSpec(uid int) Spec {
	s := For(backend.GuestFacts{OwnKernel: true, Network: true, NoNewPrivs: true, Interfaces: []string{"lo", "eth0"}})
	s.HostAddresses = []string{decoyHost, decoyHost6, "127.0.0.1"}
	s.ProxyURL, s.SidecarPorts = "http://"+lanSidecar+":9099", []int{9100}
	s.AllowedHost, s.BottleID, s.Canary = "allowed.test", "otter", lanCanary
	s.ExpectUID = uid
	return s
}

// TestNetworkGuest builds the network of a bottle around a guest: where it is
// sound every check is green, and each fault turns the right ones red and no
// other.
func TestNetworkGuest(t *testing.T) {
	tests := map[fault]struct {
		red []string
		say string // in the first of red
	}{
		sound:          {nil, ""},
		routesOut:      {[]string{nameTCP4, nameUDP}, lanCanary + ":80/tcp: it answered"},
		hostOpen:       {[]string{nameHost}, decoyHost + ":443/tcp: it answered"},
		gatewayOpen:    {[]string{nameGateway}, lanGateway + " accepted 445"},
		gatewayRefuses: {[]string{nameGateway}, lanGateway + " refused 22"},
		gatewayUDP:     {[]string{nameGateway}, lanGateway + " refused 123/udp 137/udp 500/udp"},
		resolverUDP:    {[]string{nameResolver}, lanGateway + ":53/udp: it answered a DNS question"},
		resolverTCP:    {[]string{nameResolver, nameGateway}, lanGateway + ":53/tcp: it answered a DNS question"},
		resolverMDNS:   {[]string{nameResolver}, lanGateway + ":5353 answered a multicast DNS question"},
		imageResolver:  {[]string{nameDNS}, lanResolver + ":53/udp: it answered"},
		peerThere:      {[]string{namePeers}, "other machines are on this guest's network: " + lanPeer},
		peerThere6:     {[]string{namePeers}, "other machines are on this guest's network: fe80::"},
		router6:        {[]string{nameIPv6}, lanCanary6 + " accepted 443"},
		router6Own:     {[]string{nameIPv6}, lanGatewayOwn + " accepted 5000"},
		hostLinkLocal:  {[]string{nameLinkLocal}, lanGatewayLink + "%eth0 accepted 22"},
		routerLink:     {[]string{nameLinkLocal, nameGateway}, lanGatewayLink + "%eth0 accepted 22"},
		sidecarExtra:   {[]string{nameSidecar}, lanSidecar + " accepted 9420"},
		sidecarDNS:     {[]string{nameSidecar}, lanSidecar + " accepted 53/udp"},
		extraUp:        {[]string{nameInterfaces}, "tunl9"},
		capsBack:       {[]string{nameCaps}, "CapEff 0000000000000001"},
		capsAdmin:      {[]string{nameCaps, nameGain, nameNetConfig}, "CapEff 0000000000001000"},
		capsInit:       {[]string{nameInit}, "process 1: capabilities are held"},
		freshAddress:   {nil, ""},
		stuckAddress: {
			[]string{nameLinkLocal, nameGateway, nameResolver, namePeers, nameIPv6, nameSidecar}, "address fd00:64::5 is still not ready",
		},
	}
	needNamespaces(t)
	outcomes := probeAll(t.Context(), slices.Collect(maps.Keys(tests)))
	for f, tt := range tests {
		t.Run(string(f), func(t *testing.T) {
			spec, o := lanSpec(0), <-outcomes[f]
			if o.err != nil {
				t.Fatal(o.err)
			}
			r := o.Result
			green, red := verdicts(r)
			if got, want := slices.Sorted(maps.Keys(red)), slices.Sorted(slices.Values(tt.red)); !slices.Equal(got, want) {
				t.Errorf("red are %q, want %q: %v", got, want, red)
			}
			if len(tt.red) > 0 && !strings.Contains(red[tt.red[0]], tt.say) {
				t.Errorf("%s says %q, want %q", tt.red[0], red[tt.red[0]], tt.say)
			}
			if settling := f == freshAddress || f == stuckAddress; !settling && r.Elapsed > spec.Timeout+time.Second {
				t.Errorf("the probe took %s", r.Elapsed)
			}
			if f == sound {
				t.Logf("%d checks in %s: %v", len(r.Checks), r.Elapsed, green)
			}
		})
	}
}

// atATime is how many networks are built at once. Most of a run is waiting.
const atATime = 6

// outcome is what became of a run.
type outcome struct {
	Result

	err error
}

// probeAll runs the probe with each of faults, several at a time.
func probeAll(ctx context.Context, faults []fault) map[fault]chan outcome {
	outcomes := map[fault]chan outcome{}
	room := make(chan struct{}, atATime)
	for _, f := range faults {
		done := make(chan outcome, 1)
		outcomes[f] = done
		go func() {
			room <- struct{}{}
			defer func() { <-room }()
			r, err := probeIn(ctx, "lan:"+string(f)+":0", lanSpec(0))
			done <- outcome{r, err}
		}()
	}
	return outcomes
}

// TestNetworkGuestAsAgent is the sound network seen by an ordinary user.
func TestNetworkGuestAsAgent(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("another uid takes root")
	}
	t.Parallel()
	if _, red := verdicts(probeAs(t, "lan:"+string(sound)+":1000", lanSpec(1000))); len(red) > 0 {
		t.Errorf("red are %v", red)
	}
}
