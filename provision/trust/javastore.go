package trust

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // the format's checksum; the store holds nothing secret
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
	"unicode/utf16"
)

// storePassword is what every Java has as the password of its own trust store.
// Nothing in the store is secret.
const storePassword = "changeit"

// The parts of a JKS file, see sun.security.provider.JavaKeyStore.
const (
	storeMagic   = 0xfeedfeed
	storeVersion = 2
	storeTrusted = 2 // an entry that is a trusted certificate
	storeAlias   = "bottle-mcp"
	storeSalt    = "Mighty Aphrodite"
)

// JavaStore makes a trust store with the certificate alone, in the format that
// every Java since 1.2 reads (PKCS #12 needs a key derivation of which old ones
// know one half and hardened ones the other). Its time is the certificate's, so
// that the same certificate gives the same bytes.
func JavaStore(certPEM []byte) ([]byte, error) {
	cert, err := parse(certPEM)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	number := func(n uint32) { b.Write(binary.BigEndian.AppendUint32(nil, n)) }
	text := func(s string) {
		b.Write(binary.BigEndian.AppendUint16(nil, uint16(len(s)))) //nolint:gosec // constants of this file
		b.WriteString(s)
	}
	number(storeMagic)
	number(storeVersion)
	number(1) // entries
	number(storeTrusted)
	text(storeAlias)
	b.Write(binary.BigEndian.AppendUint64(nil, uint64(max(0, cert.NotBefore.UnixMilli()))))
	text("X.509")
	number(uint32(len(cert.Raw))) //nolint:gosec // a parsed certificate is far below 4 GiB
	b.Write(cert.Raw)
	digest := sha1.New() //nolint:gosec // as above
	for _, unit := range utf16.Encode([]rune(storePassword)) {
		digest.Write(binary.BigEndian.AppendUint16(nil, unit))
	}
	digest.Write([]byte(storeSalt))
	digest.Write(b.Bytes())
	return digest.Sum(b.Bytes()), nil
}

// parse reads the one certificate of a bottle's CA.
func parse(certPEM []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(certPEM)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("the bottle's CA is no certificate in PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the bottle's CA: %w", err)
	}
	return cert, nil
}

// expired reports whether the certificate is no longer valid.
func expired(cert *x509.Certificate, now time.Time) bool { return now.After(cert.NotAfter) }
