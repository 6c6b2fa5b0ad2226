package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// dialLog records what would be dialled, and refuses to.
type dialLog struct {
	mu   sync.Mutex
	seen []string
}

func (d *dialLog) dial(_ context.Context, _, address string) (net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen = append(d.seen, address)
	return nil, errors.New("not in a test")
}

func (d *dialLog) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.seen, " ")
}

// policed is what dials, with the policy it dials for.
type policed struct {
	*outbound
	table *table
}

func (o policed) dialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return o.dialFor(o.table)(ctx, network, addr)
}

func newOutboundFor(t *testing.T, d *dialLog, answers map[string]string) policed {
	t.Helper()
	table, err := newTable([]sidecars.Route{
		{Host: "public.test"}, {Host: "mixed.test"}, {Host: "rebind.test"}, {Host: "none.test"}, {Host: "many.test"}, {Host: "mapped.test"},
		{Host: "own.test"}, {Host: "metadata.test", Private: []string{"169.254.0.0/16"}}, {Host: "nat64.test"}, {Host: "loop.test"},
		{Host: "lan.test", Private: []string{"10.0.0.0/8"}}, {Host: "outside-lan.test", Private: []string{"10.0.0.0/8"}},
		{Host: "10.9.9.9", Private: []string{"10.9.9.9"}},
	}, nil)
	check(t, err)
	n := &names{table: map[string][][]netip.Addr{}}
	for host, answer := range answers {
		n.set(host, answer)
	}
	return policed{newOutbound(Options{
		Resolver: n, Dial: d.dial,
		Interfaces: func() ([]net.Addr, error) {
			return []net.Addr{&net.IPNet{IP: net.IPv4(8, 8, 4, 4), Mask: net.CIDRMask(24, 32)}, &net.IPNet{IP: net.IPv4(10, 0, 0, 5), Mask: net.CIDRMask(8, 32)}}, nil
		},
	}, Limits{}.withDefaults()), table}
}

func TestDialClassifiesEveryAnswer(t *testing.T) {
	tests := []struct {
		host, answer string
		reason       string // "" means that the addresses in dialled are tried
		dialled      string
	}{
		{"public.test", "1.1.1.1", "", "1.1.1.1:443"},
		{"public.test", "1.1.1.1 2606:4700:4700::1111", "", "1.1.1.1:443 [2606:4700:4700::1111]:443"},
		{"mapped.test", "::ffff:1.1.1.1", "", "1.1.1.1:443"},
		{"mapped.test", "::ffff:127.0.0.1", reasonAddress, ""},
		{"mixed.test", "1.1.1.1 10.0.0.1", reasonAddress, ""},
		{"mixed.test", "1.1.1.1 fd00::1", reasonAddress, ""},
		{"loop.test", "127.0.0.1", reasonAddress, ""},
		{"nat64.test", "64:ff9b::101:101", reasonAddress, ""},
		{"metadata.test", "169.254.169.254", reasonAddress, ""},
		{"metadata.test", "169.254.1.1", "", "169.254.1.1:443"},
		{"own.test", "8.8.4.4", reasonAddress, ""},
		{"lan.test", "10.1.1.1", "", "10.1.1.1:443"},
		{"lan.test", "10.1.1.1 1.1.1.1", "", "10.1.1.1:443 1.1.1.1:443"},
		{"lan.test", "10.0.0.5", reasonAddress, ""}, // own, and only in a wide prefix
		{"outside-lan.test", "192.168.0.1", reasonAddress, ""},
		{"10.9.9.9", "", "", "10.9.9.9:443"},
		{"none.test", "", reasonResolve, ""},
		{"unlisted.test", "1.1.1.1", reasonHostNotAllowed, ""},
		{"many.test", strings.Repeat("1.1.1.1 ", 20), "", strings.TrimSpace(strings.Repeat("1.1.1.1:443 ", maxAddresses))},
	}
	for _, tt := range tests {
		t.Run(tt.host+"="+tt.answer[:min(len(tt.answer), 30)], func(t *testing.T) {
			d := &dialLog{}
			answers := map[string]string{}
			if tt.answer != "" {
				answers[tt.host] = tt.answer
			}
			o := newOutboundFor(t, d, answers)
			_, err := o.dialContext(t.Context(), "tcp", tt.host+":443")
			var no *refusal
			if errors.As(err, &no) != (tt.reason != "") || no != nil && no.Reason != tt.reason {
				t.Errorf("error = %v, want %q", err, tt.reason)
			}
			if d.String() != tt.dialled {
				t.Errorf("dialled %q, want %q", d, tt.dialled)
			}
		})
	}
	t.Run("malformed", func(t *testing.T) {
		d := &dialLog{}
		if _, err := newOutboundFor(t, d, nil).dialContext(t.Context(), "tcp", "[::1]:443"); err == nil || d.String() != "" {
			t.Errorf("%v, dialled %q", err, d)
		}
	})
}

// The control hook sees what the system is about to be asked for.
func TestControl(t *testing.T) {
	o := newOutboundFor(t, &dialLog{}, nil)
	r := o.table.lookup("public.test")
	target := func(addr string) context.Context {
		return withTarget(context.Background(), dialTarget{route: r, to: netip.MustParseAddrPort(addr), out: o.outbound})
	}
	tests := []struct {
		name, address string
		ctx           context.Context
		ok            bool
	}{
		{"as decided", "1.1.1.1:443", target("1.1.1.1:443"), true},
		{"other address", "1.1.1.2:443", target("1.1.1.1:443"), false},
		{"other port", "1.1.1.1:22", target("1.1.1.1:443"), false},
		{"not permitted after all", "127.0.0.1:443", target("127.0.0.1:443"), false},
		{"a name", "localhost:443", target("1.1.1.1:443"), false},
		{"no decision", "1.1.1.1:443", context.Background(), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := control(tt.ctx, "tcp", tt.address, nil); (err == nil) != tt.ok {
				t.Errorf("error = %v", err)
			}
		})
	}
}

// Where interfaces cannot be listed, a connection to this machine is noticed
// by having one address at both ends.
func TestDialOwnAddressUnlisted(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	d := &dialLog{}
	o := newOutboundFor(t, d, nil)
	o.interfaces = func() ([]net.Addr, error) { return nil, errors.New("not permitted") }
	self := &net.TCPAddr{IP: net.IPv4(9, 9, 9, 9), Port: 443}
	o.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, l.Addr().String())
		return addressed{c, self}, err
	}
	_, err = o.dialOne(t.Context(), o.table.lookup("public.test"), netip.MustParseAddrPort("9.9.9.9:443"), 1)
	var no *refusal
	if !errors.As(err, &no) || no.Reason != reasonAddress {
		t.Errorf("error = %v", err)
	}
}

// addressed is a connection that claims one address for both ends.
type addressed struct {
	net.Conn
	addr net.Addr
}

func (a addressed) LocalAddr() net.Addr  { return a.addr }
func (a addressed) RemoteAddr() net.Addr { return a.addr }

// The real path: no private list, so loopback is refused although the name is
// allowed; the answer names the class, never the address.
func TestPrivateAddressRefused(t *testing.T) {
	b := newBed(t, func(_ *bed, c *bedConfig) {
		for i := range c.routes {
			c.routes[i].Private = nil
		}
	})
	for _, url := range []string{b.secureURL("allowed.test", "/"), b.plainURL("allowed.test", "/")} {
		resp, _ := fetch(t, b.client(false), get(t, url))
		got := refused(t, resp, 403, reasonAddress)
		if got.Rule != "allowed.test" || !strings.Contains(got.Message, classLoopback) || strings.Contains(got.Message, "127.0.0.1") {
			t.Errorf("refusal = %+v", got)
		}
	}
	b.logged("the refusal", func(d sidecars.Decision) bool {
		return d.Layer == layerAddress && d.Verdict == sidecars.Deny && d.Rule == "allowed.test"
	})
}

// A name that changes its answer gets each new connection classified anew.
func TestRebinding(t *testing.T) {
	b := newBed(t, func(b *bed, c *bedConfig) {
		b.names.set("allowed.test", "127.0.0.1", "10.0.0.1")
		c.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "close") // the next request dials again
			echo(w, r)
		})
	})
	c := b.client(false)
	resp, _ := fetch(t, c, get(t, b.secureURL("allowed.test", "/")))
	if resp.StatusCode != 200 {
		t.Fatalf("status %s", resp.Status)
	}
	resp, _ = fetch(t, c, get(t, b.secureURL("allowed.test", "/")))
	refused(t, resp, 403, reasonAddress)
}

func TestAddressAsHost(t *testing.T) {
	b := newBed(t, func(b *bed, c *bedConfig) {
		c.routes = []sidecars.Route{{Host: "127.0.0.1", Ports: []int{b.securePort, b.plainPort}, Private: []string{"127.0.0.1"}}}
	})
	for _, url := range []string{b.secureURL("127.0.0.1", "/"), b.plainURL("127.0.0.1", "/")} {
		if resp, _ := fetch(t, b.client(false), get(t, url)); resp.StatusCode != 200 {
			t.Errorf("%s: %s", url, resp.Status)
		}
	}
	resp, _ := fetch(t, b.client(false), get(t, b.plainURL("127.0.0.2", "/")))
	refused(t, resp, 403, reasonIPLiteral)
}

func TestUpstreamFailures(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	deadPort := portOf(dead)
	check(t, dead.Close())
	mute, err := net.Listen("tcp", "127.0.0.1:0") // accepts in the kernel and says nothing
	check(t, err)
	defer mute.Close()
	b := newBed(t, func(b *bed, c *bedConfig) {
		local := []string{"127.0.0.0/8"}
		c.routes = append(c.routes,
			sidecars.Route{Host: "dead.test", Ports: []int{deadPort}, Private: local},
			sidecars.Route{Host: "gone.test", Ports: []int{deadPort}, Private: local},
			sidecars.Route{Host: "slow.test", Ports: []int{portOf(mute)}, Private: local},
			sidecars.Route{Host: "not-tls.test", Ports: []int{b.plainPort}, Private: local})
		for _, host := range []string{"dead.test", "slow.test", "not-tls.test"} {
			b.names.set(host, "127.0.0.1")
		}
		c.opts.Limits = Limits{ResponseHead: 200 * time.Millisecond, Handshake: 2 * time.Second}
	})
	tests := []struct {
		name, url string
		status    int
		reason    string
	}{
		{"connection refused", fmt.Sprintf("https://dead.test:%d/", deadPort), 502, reasonUpstreamDown},
		{"no such name", fmt.Sprintf("https://gone.test:%d/", deadPort), 502, reasonResolve},
		{"no answer", fmt.Sprintf("http://slow.test:%d/", portOf(mute)), 504, reasonUpstreamTimeout},
		{"no TLS", fmt.Sprintf("https://not-tls.test:%d/", b.plainPort), 502, reasonUpstreamTLS},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp, _ := fetch(t, b.client(false), get(t, tt.url))
			got := refused(t, resp, tt.status, tt.reason)
			if got.Layer != layerUpstream {
				t.Errorf("layer = %s", got.Layer)
			}
			if d := b.loggedReason(tt.reason); d.Verdict != sidecars.Allow {
				t.Errorf("the policy allowed it, but the verdict is %s", d.Verdict)
			}
		})
	}
}

// A server that cannot prove its name never gets the request, and the agent
// never a certificate that hides it.
func TestUpstreamCertificate(t *testing.T) {
	reached := false
	b := newBed(t, func(_ *bed, c *bedConfig) {
		c.opts.RootCAs = x509.NewCertPool()
		c.handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true })
	})
	for _, h2 := range []bool{false, true} {
		resp, _ := fetch(t, b.client(h2), get(t, b.secureURL("auth.test", "/")))
		refused(t, resp, 502, reasonUpstreamCert)
	}
	if d := b.loggedReason(reasonUpstreamCert); d.Verdict != sidecars.Deny {
		t.Errorf("verdict = %s", d.Verdict)
	}
	b.stop()
	if reached {
		t.Error("the request was sent")
	}
}

// A server that wants a client's certificate is told apart from one whose TLS is
// broken, and one that can do without it is used.
func TestClientCertificates(t *testing.T) {
	for _, tt := range []struct {
		name  string
		auth  tls.ClientAuthType
		most  uint16
		fails bool
	}{
		{"asked for, TLS 1.3", tls.RequestClientCert, tls.VersionTLS13, false},
		{"asked for, TLS 1.2", tls.VerifyClientCertIfGiven, tls.VersionTLS12, false},
		{"required, TLS 1.3", tls.RequireAnyClientCert, tls.VersionTLS13, true},
		{"required, TLS 1.2", tls.RequireAndVerifyClientCert, tls.VersionTLS12, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t, func(b *bed, _ *bedConfig) {
				b.secure.TLS.ClientAuth, b.secure.TLS.MaxVersion = tt.auth, tt.most
			})
			for _, h2 := range []bool{false, true} {
				resp, _ := fetch(t, b.client(h2), get(t, b.secureURL("allowed.test", "/")))
				if !tt.fails {
					if resp.StatusCode != http.StatusOK {
						t.Errorf("over HTTP/%d: %s", resp.ProtoMajor, resp.Status)
					}
					continue
				}
				refused(t, resp, http.StatusBadGateway, reasonClientCert)
			}
		})
	}
}

// TestOldTLSUpstream: nothing below TLS 1.2 is spoken.
func TestOldTLSUpstream(t *testing.T) {
	for version, works := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			b := newBed(t, func(b *bed, _ *bedConfig) {
				b.secure.TLS.MinVersion, b.secure.TLS.MaxVersion = version, version
			})
			resp, _ := fetch(t, b.client(false), get(t, b.secureURL("allowed.test", "/")))
			if works {
				if resp.StatusCode != http.StatusOK {
					t.Errorf("%s", resp.Status)
				}
				return
			}
			refused(t, resp, http.StatusBadGateway, reasonUpstreamTLS)
		})
	}
}

// No environment variable sends requests another way.
func TestEnvironmentIsIgnored(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"} {
		t.Setenv(name, "http://127.0.0.1:1")
	}
	b := newBed(t, nil)
	for _, url := range []string{b.secureURL("allowed.test", "/"), b.plainURL("allowed.test", "/")} {
		if resp, _ := fetch(t, b.client(false), get(t, url)); resp.StatusCode != 200 {
			t.Errorf("%s: %s", url, resp.Status)
		}
	}
}
