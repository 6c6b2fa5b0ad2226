// Command goproxy is github.com/elazarl/goproxy as a bare interceptor: every
// CONNECT is opened, leaves are cached, one header is set. It serves the
// listener at descriptor 3.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/elazarl/goproxy"
)

// leaves keeps what was signed.
type leaves struct{ m sync.Map }

// Fetch implements goproxy.CertStorage.
func (l *leaves) Fetch(host string, sign func() (*tls.Certificate, error)) (*tls.Certificate, error) {
	if c, ok := l.m.Load(host); ok {
		return c.(*tls.Certificate), nil
	}
	c, err := sign()
	if err == nil {
		l.m.Store(host, c)
	}
	return c, err
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "goproxy:", err)
		os.Exit(1)
	}
}

func run() error {
	cert := flag.String("cert", "", "the authority's certificate, PEM")
	key := flag.String("key", "", "its key, PEM")
	roots := flag.String("roots", "", "the authorities of servers, PEM")
	flag.Parse()
	ca, err := tls.LoadX509KeyPair(*cert, *key)
	if err != nil {
		return err
	}
	pem, err := os.ReadFile(*roots)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	proxy := goproxy.NewProxyHttpServer()
	proxy.CertStore = &leaves{}
	// As the product's: more idle connections than net/http's two.
	proxy.Tr = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: 64, DisableCompression: true}
	action := &goproxy.ConnectAction{Action: goproxy.ConnectMitm, TLSConfig: goproxy.TLSConfigFromCA(&ca)}
	proxy.OnRequest().HandleConnectFunc(func(host string, _ *goproxy.ProxyCtx) (*goproxy.ConnectAction, string) { return action, host })
	proxy.OnRequest().DoFunc(func(r *http.Request, _ *goproxy.ProxyCtx) (*http.Request, *http.Response) {
		r.Header.Set("Authorization", "Bearer of-the-bench")
		return r, nil
	})
	l, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return err
	}
	return (&http.Server{Handler: proxy, ReadHeaderTimeout: time.Minute}).Serve(l)
}
