package ca

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

func newTestMinter(t *testing.T, life time.Duration) (*Minter, *x509.CertPool) {
	t.Helper()
	certPEM, key, err := NewAuthority("fizzy-otter", time.Now().Add(life))
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewMinter(certPEM, key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(certPEM) {
		t.Fatal("the authority's PEM holds no certificate")
	}
	return m, pool
}

func TestNewAuthority(t *testing.T) {
	end := time.Now().Add(72 * time.Hour).Truncate(time.Second)
	certPEM, key, err := NewAuthority("fizzy-otter", end)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := parseAuthority(certPEM)
	if err != nil {
		t.Fatal(err)
	}
	if cert.MaxPathLen != 0 || !cert.MaxPathLenZero {
		t.Errorf("path length = %d (zero: %v), want 0", cert.MaxPathLen, cert.MaxPathLenZero)
	}
	if got := time.Since(cert.NotBefore); got < 23*time.Hour || got > 25*time.Hour {
		t.Errorf("certificate starts %s ago, want one day", got)
	}
	if !cert.NotAfter.Equal(end) {
		t.Errorf("certificate ends %s, want %s", cert.NotAfter, end)
	}
	if cert.Subject.CommonName != "fizzy-otter" {
		t.Errorf("common name = %q", cert.Subject.CommonName)
	}
	if s := fmt.Sprintf("%v %+v %s", key, key, key); strings.Contains(s, "PRIVATE") {
		t.Errorf("printing the key shows %q", s)
	}
	other, _, err := NewAuthority("fizzy-otter", end)
	if err != nil {
		t.Fatal(err)
	}
	again, err := parseAuthority(other)
	if err != nil {
		t.Fatal(err)
	}
	if again.SerialNumber.Cmp(cert.SerialNumber) == 0 {
		t.Error("two authorities of one name have one serial number")
	}
}

func TestNewAuthorityRefuses(t *testing.T) {
	hour := time.Now().Add(time.Hour)
	tests := []struct {
		name, bottle string
		end          time.Time
	}{
		{"empty name", "", hour},
		{"long name", strings.Repeat("x", 65), hour},
		{"control byte in name", "a\nb", hour},
		{"blank in name", "a b", hour},
		{"end in the past", "otter", time.Now().Add(-time.Minute)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, err := NewAuthority(tt.bottle, tt.end); err == nil {
				t.Errorf("NewAuthority(%q, %s) gave no error", tt.bottle, tt.end)
			}
		})
	}
}

func TestNewMinterRefuses(t *testing.T) {
	certPEM, key, err := NewAuthority("a", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	_, otherKey, err := NewAuthority("b", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewMinter(certPEM, key)
	if err != nil {
		t.Fatal(err)
	}
	notCA, err := m.Leaf("x.test")
	if err != nil {
		t.Fatal(err)
	}
	leafPEM := pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: notCA.Certificate[0]})
	tests := []struct {
		name string
		cert []byte
		key  secret.Value
		want string
	}{
		{"no certificate", nil, key, "no PEM certificate"},
		{"two certificates", bytes.Repeat(certPEM, 2), key, "more than one"},
		{"a leaf", leafPEM, key, "may not sign"},
		{"no key", certPEM, secret.Value{}, "no PKCS#8"},
		{"key of another", certPEM, otherKey, "not that of the certificate"},
		{"broken key", certPEM, secret.New("-----BEGIN PRIVATE KEY-----\naGk=\n-----END PRIVATE KEY-----\n"), "cannot be parsed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewMinter(tt.cert, tt.key)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestLeaf(t *testing.T) {
	m, pool := newTestMinter(t, 72*time.Hour)
	for _, host := range []string{"api.example.com", "10.1.2.3", "a_b.example.com"} {
		t.Run(host, func(t *testing.T) {
			cert, err := m.Leaf(host)
			if err != nil {
				t.Fatal(err)
			}
			if host != "a_b.example.com" { // crypto/x509 itself refuses the underscore on verification
				if _, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: pool}); err != nil {
					t.Errorf("verify: %v", err)
				}
			}
			if n := len(cert.Leaf.DNSNames) + len(cert.Leaf.IPAddresses); n != 1 {
				t.Errorf("%d names in the certificate, want 1", n)
			}
			if left := time.Until(cert.Leaf.NotAfter); left > 24*time.Hour {
				t.Errorf("valid for another %s, want at most 24h", left)
			}
			again, err := m.Leaf(host)
			if err != nil {
				t.Fatal(err)
			}
			if again != cert {
				t.Error("the second call made a new certificate")
			}
		})
	}
	a, _ := m.Leaf("api.example.com")
	if err := a.Leaf.VerifyHostname("x.api.example.com"); err == nil {
		t.Error("certificate is valid for a name below it")
	}
}

func TestLeafEndsWithAuthority(t *testing.T) {
	m, _ := newTestMinter(t, 2*time.Hour)
	cert, err := m.Leaf("x.test")
	if err != nil {
		t.Fatal(err)
	}
	if cert.Leaf.NotAfter.After(m.authority.NotAfter) {
		t.Errorf("leaf ends %s, after its authority %s", cert.Leaf.NotAfter, m.authority.NotAfter)
	}
}

func TestLeafIsRenewed(t *testing.T) {
	m, _ := newTestMinter(t, 72*time.Hour)
	first, err := m.Leaf("x.test")
	if err != nil {
		t.Fatal(err)
	}
	m.now = func() time.Time { return time.Now().Add(leafLife - renewBefore/2) }
	second, err := m.Leaf("x.test")
	if err != nil {
		t.Fatal(err)
	}
	if second == first || !second.Leaf.NotAfter.After(first.Leaf.NotAfter) {
		t.Error("a leaf about to end was served again")
	}
}

// Near the end of a bottle no other leaf could last longer.
func TestLastLeafIsKept(t *testing.T) {
	m, _ := newTestMinter(t, renewBefore/2)
	first, err := m.Leaf("x.test")
	if err != nil {
		t.Fatal(err)
	}
	second, err := m.Leaf("x.test")
	if err != nil {
		t.Fatal(err)
	}
	if second != first {
		t.Error("a leaf that ends with its authority was made anew")
	}
}

func TestLeafSingleFlight(t *testing.T) {
	m, _ := newTestMinter(t, time.Hour*48)
	const callers = 32
	got := make([]*tls.Certificate, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() { got[i], _ = m.Leaf("x.test") })
	}
	wg.Wait()
	for i, c := range got {
		if c == nil || c != got[0] {
			t.Fatalf("caller %d got another certificate", i)
		}
	}
}

func TestLeafCacheIsBounded(t *testing.T) {
	m, _ := newTestMinter(t, 48*time.Hour)
	first, err := m.Leaf("h0.test")
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < maxLeaves+10; i++ {
		if _, err := m.Leaf(fmt.Sprintf("h%d.test", i)); err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 { // keeps the first one recent
			if _, err := m.Leaf("h0.test"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(m.leaves) != maxLeaves || m.recent.Len() != maxLeaves {
		t.Errorf("%d leaves, %d in the list, want %d", len(m.leaves), m.recent.Len(), maxLeaves)
	}
	if again, _ := m.Leaf("h0.test"); again != first {
		t.Error("the leaf in use was dropped before the unused ones")
	}
	if _, ok := m.leaves["h1.test"]; ok {
		t.Error("the least recently used leaf is still there")
	}
}

func TestGetCertificateHandshake(t *testing.T) {
	m, pool := newTestMinter(t, 48*time.Hour)
	if _, err := m.GetCertificate(&tls.ClientHelloInfo{}); !errors.Is(err, ErrNoName) {
		t.Errorf("no server name: error = %v, want ErrNoName", err)
	}
	c, s := net.Pipe()
	defer c.Close()
	defer s.Close()
	deadline := time.Now().Add(10 * time.Second)
	_ = c.SetDeadline(deadline)
	_ = s.SetDeadline(deadline)
	served := make(chan error, 1)
	go func() { served <- tls.Server(s, &tls.Config{GetCertificate: m.GetCertificate}).Handshake() }()
	if err := tls.Client(c, &tls.Config{ServerName: "x.test", RootCAs: pool}).Handshake(); err != nil {
		t.Errorf("client: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("server: %v", err)
	}
}

func BenchmarkMint(b *testing.B) {
	certPEM, key, err := NewAuthority("bench", time.Now().Add(time.Hour))
	if err != nil {
		b.Fatal(err)
	}
	m, err := NewMinter(certPEM, key)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := m.mint("x.test"); err != nil {
			b.Fatal(err)
		}
	}
}
