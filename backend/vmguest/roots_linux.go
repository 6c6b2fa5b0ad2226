package vmguest

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// bundleFiles are where images keep the CAs they trust in one file.
var bundleFiles = []string{ //nolint:gochecknoglobals // a constant
	"/etc/ssl/certs/ca-certificates.crt",                // Debian, Alpine, Arch
	"/etc/pki/tls/certs/ca-bundle.crt",                  // Fedora
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Fedora, newer
	"/etc/ssl/ca-bundle.pem",                            // SUSE
	"/var/lib/ca-certificates/ca-bundle.pem",            // SUSE, newer
	"/etc/ssl/cert.pem",                                 // Alpine without the package, BSD
}

// rootsMain is "guest roots": it prints the first bundle there is.
func rootsMain(args []string, stdout io.Writer) error {
	if err := parseFlags(flags(verbRoots), args); err != nil {
		return err
	}
	for _, path := range bundleFiles {
		data := readBundle(path)
		if len(data) == 0 {
			continue
		}
		if _, err := stdout.Write(data); err != nil {
			return fmt.Errorf("write the CA bundle: %w", err)
		}
		return nil
	}
	return nil
}

// readBundle reads a regular file of a bearable size; anything else is none.
func readBundle(path string) []byte {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe would block
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > MaxRoots {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxRoots))
	if err != nil {
		return nil
	}
	return data
}
