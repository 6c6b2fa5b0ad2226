package macoscontainer

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// maxRoots bounds the file of CAs that is handed to the sidecar.
const maxRoots = 4 << 20

// hostRootFiles are where systems keep the CAs they trust, in one file each.
// macOS has the first.
var hostRootFiles = []string{ //nolint:gochecknoglobals // a constant
	"/etc/ssl/cert.pem", "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
}

// hostRoots are the CAs that upstreams are verified with: the sidecar's image
// has none of its own, so that it trusts what this host trusts. SSL_CERT_FILE
// names another file, as for every program.
func (b *Backend) hostRoots() ([]byte, error) {
	files := hostRootFiles
	if named, ok := b.cfg.LookupEnv("SSL_CERT_FILE"); ok && named != "" {
		files = []string{named}
	}
	for _, path := range files {
		data, err := readBounded(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the CAs that this host trusts: %w", err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("%s holds no certificate; name a file of CAs in SSL_CERT_FILE", path)
		}
		return data, nil
	}
	return nil, fmt.Errorf("no file of CAs at %q; name one in SSL_CERT_FILE", files)
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxRoots+1))
	if err == nil && len(data) > maxRoots {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxRoots)
	}
	return data, err
}
