package internet

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOrigin(t *testing.T) {
	dir := t.TempDir()
	log, err := OpenLog(filepath.Join(dir, "events"), PlaceInternet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.file.Close() })
	site := filepath.Join(dir, "sites", "files.example")
	if err := os.MkdirAll(site, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(site, "page"), []byte("a page"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, method, url, body string
		code                    int
		want, location          string
	}{
		{"who answers", "GET", "http://any.example/x", "", 200, "origin any.example at \n", ""},
		{"echo", "POST", "http://any.example/x", "sent", 200, "sent", ""},
		{"bytes", "GET", "http://any.example/bytes/3", "", 200, "\x00\x00\x00", ""},
		{"no bytes", "GET", "http://any.example/bytes/-1", "", 400, "no such size\n", ""},
		{"status", "GET", "http://any.example/status/418", "", 418, "", ""},
		{"no status", "GET", "http://any.example/status/7", "", 400, "", ""},
		{"redirect", "HEAD", "http://any.example/redirect/https://b.example/c", "", 302, "", "https://b.example/c"},
		{"a site's file", "GET", "http://files.example:80/page", "", 200, "a page", ""},
		{"not the site's", "GET", "http://files.example/nothing", "", 404, "404 page not found\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			origin{log, filepath.Join(dir, "sites")}.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), c.method, c.url, strings.NewReader(c.body)))
			if w.Code != c.code || w.Body.String() != c.want || w.Header().Get("Location") != c.location {
				t.Errorf("%d %q to %q", w.Code, w.Body.String(), w.Header().Get("Location"))
			}
		})
	}
	for _, host := range []string{"..", ".", "../sites/files.example", ""} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "http://x/page", nil)
		r.Host = host
		w := httptest.NewRecorder()
		origin{log, filepath.Join(dir, "sites")}.ServeHTTP(w, r)
		if !strings.HasPrefix(w.Body.String(), "origin ") {
			t.Errorf("Host %q opened a directory: %q", host, w.Body.String())
		}
	}
}

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca.key")
	if err := WriteCA(cert, key); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's mode is %v, %v", info.Mode(), err)
	}
	ca, err := readCA(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pem, err := os.ReadFile(cert)
	if err != nil || !pool.AppendCertsFromPEM(pem) {
		t.Fatalf("the CA file is none: %v", err)
	}
	for name, config := range map[string]*tls.Config{
		"by name":    {RootCAs: pool, ServerName: "deep.allowed.example"},
		"by address": {RootCAs: pool, ServerName: "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: ca.certificate})
			if err != nil {
				t.Fatal(err)
			}
			server := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Second}
			go func() { _ = server.Serve(l) }()
			t.Cleanup(func() { _ = server.Close() })
			conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
			other := config.Clone()
			other.RootCAs = x509.NewCertPool()
			_, err = (&tls.Dialer{Config: other}).DialContext(t.Context(), "tcp", l.Addr().String())
			if unknown := new(tls.CertificateVerificationError); !errors.As(err, &unknown) {
				t.Errorf("a client without the CA got %v", err)
			}
		})
	}
	if _, err := readCA(filepath.Join(dir, "none"), key); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing CA gave %v", err)
	}
}

func TestReadLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if events, err := ReadLog(path); err != nil || events != nil {
		t.Errorf("no log gave %v, %v", events, err)
	}
	for text, want := range map[string]int{
		"":                                      0,
		`{"kind":"http"}` + "\n":                1,
		`{"kind":"http"}` + "\n" + `{"kind":"d`: 1,
		"\n":                                    -1,
		"[]\n":                                  -1,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		events, err := ReadLog(path)
		if (err != nil) != (want < 0) || want >= 0 && len(events) != want {
			t.Errorf("%q gave %v, %v", text, events, err)
		}
	}
}
