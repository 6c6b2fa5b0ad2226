package trust

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"encoding/pem"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/setup"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ca"
)

var update = flag.Bool("update", false, "rewrite testdata/*.golden")

var endpoints = backend.Endpoints{Egress: "http://192.168.64.2:9099", NoProxy: []string{"192.168.64.2"}}

func authority(t *testing.T) []byte {
	t.Helper()
	cert, _, err := ca.NewAuthority("a-bottle", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// TestFiles shows everything that is written, as it is. A change of a golden file
// is a change of what clients in guests are told.
func TestFiles(t *testing.T) {
	for name, e := range map[string]backend.Endpoints{"proxy": endpoints, "none": {}} {
		t.Run(name, func(t *testing.T) {
			cert := authority(t)
			home, err := Home(e, cert)
			if err != nil {
				t.Fatal(err)
			}
			system, err := System(e, cert, backend.DefaultAccount())
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for _, f := range slices.Concat(home, system, Stores(cert)) {
				text := string(f.Content)
				switch {
				case bytes.Equal(f.Content, cert):
					text = "(the bottle's CA)\n"
				case bytes.Contains(f.Content, []byte{0xfe, 0xed, 0xfe, 0xed}):
					text = "(Java's trust store)\n"
				}
				fmt.Fprintf(&b, "== %s (%s)\n%s", f.Path, f.How, text)
			}
			golden := filepath.Join("testdata", "files-"+name+".golden")
			if *update {
				if err := os.MkdirAll("testdata", 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if b.String() != string(want) {
				t.Errorf("got:\n%s", b.String())
			}
			if _, err := setup.Encode(slices.Concat(home, system)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestNoDirectWay: nothing that is written names another way out than the proxy.
func TestNoDirectWay(t *testing.T) {
	files, err := Home(endpoints, authority(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.Contains(strings.ToLower(string(f.Content)), "all_proxy") || strings.Contains(string(f.Content), "socks") {
			t.Errorf("%s names a SOCKS proxy", f.Path)
		}
	}
}

// TestExports: a shell gives programs exactly these variables.
func TestExports(t *testing.T) {
	file := filepath.Join(t.TempDir(), "env.sh")
	if err := os.WriteFile(file, []byte(exports(endpoints)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", ". "+file+" && env")
	cmd.Env = []string{}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range variables(endpoints) {
		if !strings.Contains("\n"+string(out), "\n"+name+"="+value+"\n") {
			t.Errorf("the shell lacks %s=%s", name, value)
		}
	}
}

// TestJavaStore reads the format field by field, as Java's own reader does.
func TestJavaStore(t *testing.T) {
	cert := authority(t)
	store, err := JavaStore(cert)
	if err != nil {
		t.Fatal(err)
	}
	again, err := JavaStore(cert)
	if err != nil || !bytes.Equal(store, again) {
		t.Errorf("the second store differs, %v", err)
	}
	body, digest := store[:len(store)-sha1.Size], store[len(store)-sha1.Size:]
	h := sha1.New()
	for _, c := range storePassword {
		h.Write([]byte{0, byte(c)})
	}
	h.Write([]byte("Mighty Aphrodite"))
	h.Write(body)
	if !bytes.Equal(digest, h.Sum(nil)) {
		t.Error("the digest is wrong")
	}
	block, _ := pem.Decode(cert)
	head := binary.BigEndian.AppendUint32(nil, 0xfeedfeed)
	for _, n := range []uint32{2, 1, 2} {
		head = binary.BigEndian.AppendUint32(head, n)
	}
	head = append(head, "\x00\x0abottle-mcp"...)
	tail := append(binary.BigEndian.AppendUint32([]byte("\x00\x05X.509"), uint32(len(block.Bytes))), block.Bytes...)
	if !bytes.HasPrefix(body, head) || !bytes.HasSuffix(body, tail) || len(body) != len(head)+8+len(tail) {
		t.Errorf("the store is % x", body[:40])
	}
}

// TestJavaReadsStore asks a real Java, where there is one.
func TestJavaReadsStore(t *testing.T) {
	keytool, err := exec.LookPath("keytool")
	if err != nil {
		t.Skip("there is no keytool; the client test in package provision has Java itself")
	}
	cert := authority(t)
	store, err := JavaStore(cert)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "cacerts.jks")
	if err := os.WriteFile(file, store, 0o600); err != nil {
		t.Fatal(err)
	}
	sum, err := Fingerprint(cert)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), keytool, "-list", "-keystore", file, "-storepass", storePassword).CombinedOutput()
	if err != nil || !strings.Contains(strings.ReplaceAll(string(out), ":", ""), strings.ToUpper(sum)) || !strings.Contains(string(out), "trustedCertEntry") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestNoCertificate(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "no PEM": "hello", "a key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		"broken": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := JavaStore([]byte(text)); err == nil {
				t.Error("a store was made")
			}
			if _, err := Fingerprint([]byte(text)); err == nil {
				t.Error("a fingerprint was made")
			}
			if _, err := Home(endpoints, []byte(text)); err == nil {
				t.Error("files were made")
			}
		})
	}
}
