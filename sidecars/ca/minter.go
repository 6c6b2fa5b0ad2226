package ca

import (
	"container/list"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

const (
	// leafLife is how long a leaf is valid from its making.
	leafLife = 24 * time.Hour
	// renewBefore is the rest of validity at which a cached leaf is replaced,
	// so that a connection never starts on one about to end.
	renewBefore = time.Hour
	// maxLeaves bounds the cache: under a wildcard route the guest chooses the
	// names.
	maxLeaves = 512
)

// ErrNoName is returned for a ClientHello that names no server.
var ErrNoName = errors.New("the client named no server")

// Minter signs one leaf certificate per host with the authority's key. All
// leaves share one key, made once per Minter: a key per host would cost time
// and protect nothing, as all of them live in this process. It is safe for
// concurrent use; callers that ask for one host at once get one leaf.
type Minter struct {
	authority *x509.Certificate
	signer    *ecdsa.PrivateKey
	leafKey   *ecdsa.PrivateKey
	now       func() time.Time

	mu     sync.Mutex
	leaves map[string]*list.Element // of *leaf
	recent *list.List               // front: used last
}

// leaf is one cache entry; ready is closed when cert or err is set.
type leaf struct {
	host  string
	ready chan struct{}
	cert  *tls.Certificate
	err   error
}

// NewMinter reads an authority made by NewAuthority. It refuses a certificate
// that may not sign leaves and a key that does not belong to it.
func NewMinter(certPEM []byte, key secret.Value) (*Minter, error) {
	authority, err := parseAuthority(certPEM)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	signer, err := parseKey(key)
	if err != nil {
		return nil, fmt.Errorf("certificate authority's key: %w", err)
	}
	if !signer.PublicKey.Equal(authority.PublicKey) {
		return nil, errors.New("certificate authority: the key is not that of the certificate; hand over both of one bottle")
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate leaf key: %w", err)
	}
	return &Minter{
		authority: authority,
		signer:    signer,
		leafKey:   leafKey,
		now:       time.Now,
		leaves:    map[string]*list.Element{},
		recent:    list.New(),
	}, nil
}

func parseAuthority(certPEM []byte) (*x509.Certificate, error) {
	block, rest := pem.Decode(certPEM)
	if block == nil || block.Type != certBlock {
		return nil, errors.New("no PEM certificate found")
	}
	if next, _ := pem.Decode(rest); next != nil {
		return nil, errors.New("more than one PEM block found; give the authority alone")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse certificate: %w", err)
	}
	if !cert.IsCA || !cert.BasicConstraintsValid || cert.KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, errors.New("the certificate may not sign others")
	}
	return cert, nil
}

// parseKey never puts the key's bytes into its errors.
func parseKey(key secret.Value) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(key.Reveal()))
	if block == nil || block.Type != keyBlock {
		return nil, errors.New("no PKCS#8 key in PEM found")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("it cannot be parsed as PKCS#8")
	}
	signer, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("it is not an ECDSA key")
	}
	return signer, nil
}

// GetCertificate serves tls.Config.GetCertificate: the leaf for the name the
// client asked for. The caller must have checked that name against its policy.
func (m *Minter) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if hello.ServerName == "" {
		return nil, ErrNoName
	}
	return m.Leaf(hello.ServerName)
}

// Leaf returns a certificate for exactly host (a DNS name or an IP address),
// from the cache or newly signed. Host must be in canonical form: lower case,
// no trailing dot.
func (m *Minter) Leaf(host string) (*tls.Certificate, error) {
	entry, mine := m.claim(host)
	if mine {
		entry.cert, entry.err = m.mint(host)
		if entry.err != nil {
			m.forget(entry)
		}
		close(entry.ready)
	}
	<-entry.ready
	return entry.cert, entry.err
}

// claim returns the cache entry of host, and whether the caller must fill it.
func (m *Minter) claim(host string) (entry *leaf, mine bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.leaves[host]; ok {
		entry = e.Value.(*leaf)
		if m.fresh(entry) {
			m.recent.MoveToFront(e)
			return entry, false
		}
		m.drop(e)
	}
	entry = &leaf{host: host, ready: make(chan struct{})}
	m.leaves[host] = m.recent.PushFront(entry)
	if m.recent.Len() > maxLeaves {
		m.drop(m.recent.Back())
	}
	return entry, true
}

// fresh is also true for an entry still being made, and for one that ends with
// the authority: another would end no later.
func (m *Minter) fresh(l *leaf) bool {
	select {
	case <-l.ready:
		return l.err == nil && (m.now().Add(renewBefore).Before(l.cert.Leaf.NotAfter) || !l.cert.Leaf.NotAfter.Before(m.authority.NotAfter))
	default:
		return true
	}
}

func (m *Minter) drop(e *list.Element) {
	delete(m.leaves, e.Value.(*leaf).host)
	m.recent.Remove(e)
}

// forget removes a failed entry, so that the next caller tries again.
func (m *Minter) forget(entry *leaf) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.leaves[entry.host]; ok && e.Value.(*leaf) == entry {
		m.drop(e)
	}
}

func (m *Minter) mint(host string) (*tls.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, fmt.Errorf("certificate for %q: %w", host, err)
	}
	now := m.now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"bottle-mcp egress"}},
		NotBefore:             later(now.Add(-backdate), m.authority.NotBefore),
		NotAfter:              earlier(now.Add(leafLife), m.authority.NotAfter),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		template.IPAddresses = append(template.IPAddresses, addr.AsSlice())
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, m.authority, &m.leafKey.PublicKey, m.signer)
	if err != nil {
		return nil, fmt.Errorf("certificate for %q: sign: %w", host, err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certificate for %q: parse own work: %w", host, err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: m.leafKey, Leaf: parsed}, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
