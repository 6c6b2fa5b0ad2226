package trust

import (
	"crypto/sha256"
	"encoding/hex"
)

// Fingerprint is the SHA-256 of the certificate in hex, as tools show it.
func Fingerprint(certPEM []byte) (string, error) {
	cert, err := parse(certPEM)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:]), nil
}
