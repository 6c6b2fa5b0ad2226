package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

const (
	// backdate allows for a guest whose clock is behind the host's.
	backdate = 24 * time.Hour
	// maxName is what X.509 allows in a common name (ub-common-name).
	maxName = 64

	certBlock = "CERTIFICATE"
	keyBlock  = "PRIVATE KEY"
)

// NewAuthority makes the certificate authority of one bottle: an ECDSA P-256
// key with a random serial number, which may sign leaves only (path length 0),
// valid from a day ago until notAfter. The key is PKCS#8 in PEM.
func NewAuthority(bottle string, notAfter time.Time) (certPEM []byte, key secret.Value, err error) {
	if err := checkName(bottle); err != nil {
		return nil, secret.Value{}, fmt.Errorf("certificate authority of bottle %.80q: %w", bottle, err)
	}
	now := time.Now()
	if !notAfter.After(now) {
		return nil, secret.Value{}, fmt.Errorf("certificate authority of bottle %q: it would end at %s, which is past; give a later time",
			bottle, notAfter.Format(time.RFC3339))
	}
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, secret.Value{}, fmt.Errorf("certificate authority of bottle %q: generate key: %w", bottle, err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, secret.Value{}, fmt.Errorf("certificate authority of bottle %q: %w", bottle, err)
	}
	name := pkix.Name{CommonName: bottle, Organization: []string{"bottle-mcp egress authority"}}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               name,
		NotBefore:             now.Add(-backdate),
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &priv.PublicKey, priv)
	if err != nil {
		return nil, secret.Value{}, fmt.Errorf("certificate authority of bottle %q: sign: %w", bottle, err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		return nil, secret.Value{}, fmt.Errorf("certificate authority of bottle %q: encode key: %w", bottle, err)
	}
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: keyDER})
	return pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: der}), secret.New(string(keyPEM)), nil
}

// checkName keeps the common name to what every client displays the same way.
func checkName(bottle string) error {
	if bottle == "" || len(bottle) > maxName {
		return fmt.Errorf("the name must have 1 to %d characters", maxName)
	}
	for _, c := range []byte(bottle) {
		if c <= ' ' || c > '~' {
			return errors.New("the name must be printable ASCII without blanks")
		}
	}
	return nil
}

// newSerial is random, so that two bottles with one name never issue the same
// issuer and serial number, which clients reject.
func newSerial() (*big.Int, error) {
	var raw [16]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return nil, fmt.Errorf("draw serial number: %w", err)
	}
	raw[0] = raw[0]&0x3f | 0x40 // positive, and never zero
	return new(big.Int).SetBytes(raw[:]), nil
}
