package vmguest

import (
	"bytes"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars/ca"
)

func certificate(t testing.TB, name string) []byte {
	t.Helper()
	cert, _, err := ca.NewAuthority(name, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestParseRoots(t *testing.T) {
	one, two := certificate(t, "one"), certificate(t, "two")
	block, _ := pem.Decode(one)
	headed := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: block.Bytes})
	tests := map[string]struct{ in, want []byte }{
		"nothing":       {nil, nil},
		"no PEM":        {[]byte("hello\x00\xff"), nil},
		"both":          {append(bytes.Clone(one), two...), append(bytes.Clone(one), two...)},
		"comments":      {[]byte("# one\n" + string(one) + "\n\n# two\n" + string(two) + "trailing"), append(bytes.Clone(one), two...)},
		"no certificat": {[]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + string(two)), two},
		"a key":         {append([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), two...), two},
		"cut":           {append(bytes.Clone(two), one[:len(one)/2]...), two},
		"headers":       {headed, one},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := ParseRoots(tt.in)
			if err != nil || !bytes.Equal(got, tt.want) {
				t.Errorf("%q, %v, want %q", got, err, tt.want)
			}
		})
	}
	if _, err := ParseRoots(make([]byte, MaxRoots+1)); err == nil {
		t.Error("more than MaxRoots are taken")
	}
	const empty = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"
	if _, err := ParseRoots([]byte(strings.Repeat(empty, maxCertificates+1))); err == nil {
		t.Error("any number of certificates is taken")
	}
}

func TestBundle(t *testing.T) {
	for in, want := range map[string]string{"": "ca", "roots": "roots\nca", "roots\n": "roots\nca"} {
		roots := []byte(in)
		if got := Bundle(roots, []byte("ca")); string(got) != want || string(roots) != in {
			t.Errorf("Bundle(%q) = %q", in, got)
		}
	}
}

func FuzzParseRoots(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Add(certificate(f, "seed"))
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := ParseRoots(data)
		if err != nil {
			return
		}
		again, err := ParseRoots(out)
		if err != nil || !bytes.Equal(out, again) {
			t.Fatalf("what was kept is not kept again: %v", err)
		}
	})
}
