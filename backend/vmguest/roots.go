package vmguest

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

// MaxRoots bounds a CA bundle in bytes; Debian's has 0.2 MiB.
const MaxRoots = 4 << 20

// maxCertificates bounds the work that a hostile bundle makes.
const maxCertificates = 2048

// certificateBlock is the type of a PEM block that holds a certificate.
const certificateBlock = "CERTIFICATE"

// ParseRoots keeps the valid certificates of what "guest roots" printed, one
// after the other and without what stood around them. None is no error: the
// image may have no CAs.
func ParseRoots(text []byte) ([]byte, error) {
	if len(text) > MaxRoots {
		return nil, fmt.Errorf("the image's CA bundle has more than %d bytes: use an image with a smaller one", MaxRoots)
	}
	var out bytes.Buffer
	for n := 0; ; {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return out.Bytes(), nil
		}
		if block.Type != certificateBlock {
			continue
		}
		if n++; n > maxCertificates {
			return nil, fmt.Errorf("the image's CA bundle has more than %d certificates: use an image with a smaller one", maxCertificates)
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			continue
		}
		if err := pem.Encode(&out, &pem.Block{Type: certificateBlock, Bytes: block.Bytes}); err != nil {
			return nil, fmt.Errorf("write a certificate: %w", err)
		}
	}
}

// Bundle is the file of CAs that the guest's programs trust: the image's and the
// bottle's own.
func Bundle(roots, ca []byte) []byte {
	out := bytes.Clone(roots)
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, '\n')
	}
	return append(out, ca...)
}
