package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// The names of the ways to the origin, as in the report.
const (
	nameDirect   = "direct"
	nameGoproxy  = "goproxy"
	nameMitmdump = "mitmdump"
	nameOurs     = "bottle-mcp"
)

// target is a way to the origin.
type target struct {
	name  string
	proxy string // its address; "" = there is none
	trust *x509.CertPool
	// launch starts the proxy afresh and returns with the first answer.
	launch func(context.Context) error
	*process
}

// restart starts a proxy once more.
func (t *target) restart(ctx context.Context) error {
	t.stop()
	if err := t.launch(ctx); err != nil {
		return fmt.Errorf("start %s again: %w", t.name, err)
	}
	return nil
}

func (b *bench) startProxies(ctx context.Context) error {
	for _, peer := range []struct {
		name      string
		configure func() (*target, error)
	}{{nameGoproxy, b.newGoproxy}, {nameMitmdump, b.newMitmdump}} {
		t, err := peer.configure()
		if err == nil {
			err = t.launch(ctx)
		}
		if err != nil {
			b.r.note("%s is missing: %v", peer.name, err)
			continue
		}
		b.peers = append(b.peers, t)
	}
	ours, err := newSidecar(b.dir, b.o.binary, b.origin)
	if err != nil {
		return fmt.Errorf("configure the sidecar: %w", err)
	}
	if err := ours.launch(ctx); err != nil {
		return fmt.Errorf("start the sidecar: %w", err)
	}
	b.ours, b.peers = ours, append(b.peers, ours)
	return nil
}

func (b *bench) stopProxies() {
	for _, t := range b.peers {
		t.stop()
	}
}

// newGoproxy hands its listener over, so that nothing is lost to looking whether
// it listens yet.
func (b *bench) newGoproxy() (*target, error) {
	program := filepath.Join(b.o.peers, nameGoproxy)
	if _, err := os.Stat(program); err != nil {
		return nil, err
	}
	pool, cert, key, err := authority(b.dir, nameGoproxy)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:9097")
	if err != nil {
		return nil, err
	}
	f, err := l.(*net.TCPListener).File() // it stays open, and with it the port
	if err = errors.Join(err, l.Close()); err != nil {
		return nil, err
	}
	t := &target{name: nameGoproxy, proxy: l.Addr().String(), trust: pool, process: &process{}}
	t.launch = func(ctx context.Context) error {
		cmd := exec.CommandContext(ctx, program, "-cert", cert, "-key", key, "-roots", b.origin.roots)
		cmd.ExtraFiles = []*os.File{f}
		if err := t.process.start(cmd); err != nil {
			return err
		}
		return t.ready(ctx)
	}
	return t, nil
}

const oneHeader = `class OneHeader:
    def request(self, flow):
        flow.request.headers["authorization"] = "Bearer of-the-bench"

addons = [OneHeader()]
`

func (b *bench) newMitmdump() (*target, error) {
	program, err := exec.LookPath(nameMitmdump)
	if err != nil {
		return nil, err
	}
	pool, cert, key, err := authority(b.dir, nameMitmdump)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(b.dir, "mitm")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var both []byte
	for _, file := range []string{key, cert} {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		both = append(both, data...)
	}
	addon := filepath.Join(dir, "addon.py")
	if err := os.WriteFile(filepath.Join(dir, "mitmproxy-ca.pem"), both, 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(addon, []byte(oneHeader), 0o600); err != nil {
		return nil, err
	}
	const port = "9098"
	t := &target{name: nameMitmdump, proxy: "127.0.0.1:" + port, trust: pool, process: &process{}}
	t.launch = func(ctx context.Context) error {
		cmd := exec.CommandContext(ctx, program, "-q", "--listen-host", "127.0.0.1", "-p", port, "-s", addon,
			"--set", "confdir="+dir, "--set", "stream_large_bodies=1", "--set", "ssl_verify_upstream_trusted_ca="+b.origin.roots)
		cmd.Env = []string{"HOME=" + dir}
		if err := t.process.start(cmd); err != nil {
			return err
		}
		return t.ready(ctx)
	}
	return t, nil
}

// ready waits for the first answer through a proxy.
func (t *target) ready(ctx context.Context) error {
	return t.await(ctx, func() error {
		c, err := t.connect(ctx, hostAll)
		if err != nil {
			return err
		}
		defer c.close()
		return c.kilobyte()
	})
}

// authority makes a peer's CA: a key on P-256, as the product has.
func authority(dir, name string) (pool *x509.CertPool, certFile, keyFile string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name, Organization: []string{name}}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, "", "", err
	}
	plain, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, "", "", err
	}
	certFile, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(certFile, cert, 0o644); err != nil {
		return nil, "", "", err
	}
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: plain}), 0o600); err != nil {
		return nil, "", "", err
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return pool, certFile, keyFile, nil
}
