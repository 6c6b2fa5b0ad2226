//go:build linux

package linux

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/shim"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ca"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// TestSecretsStayInTheSidecar looks for credentials wherever they pass through or
// could be left: in the memory of the processes beside the sidecar, in
// environments and arguments, and in every file of the bottle.
func TestSecretsStayInTheSidecar(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("looking into other processes' memory takes root")
	}
	b := newBackend(t)
	const id = backend.ID("secrets")
	first, second, known := rand.Text()+rand.Text(), rand.Text()+rand.Text(), rand.Text()+rand.Text()
	cert, key, err := ca.NewAuthority("secrets", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	cfg := sidecars.Config{Bottle: string(id), CACert: string(cert), Routes: []sidecars.Route{
		{Host: "a.invalid", Auth: &sidecars.Auth{Scheme: sidecars.SchemeBearer, Slot: "FIRST"}},
	}}
	t.Cleanup(func() {
		if err := b.Remove(context.Background(), id); err != nil {
			t.Errorf("Remove: %v", err)
		}
	})
	_, err = b.StartSidecar(t.Context(), backend.SidecarSpec{
		ID: id, Owner: b.cfg.Owner, Services: []sidecars.Service{sidecars.Egress}, Config: cfg, Expires: time.Now().Add(time.Minute),
		Secrets: sidecars.Secrets{CAKey: key, Tokens: map[string]secret.Value{"FIRST": secret.New(first)}, Known: []sidecars.Named{{Name: "KNOWN", Value: secret.New(known)}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.StartAgent(t.Context(), backend.AgentSpec{ID: id, Env: []string{"PATH=/usr/bin:/bin"}}); err != nil {
		t.Fatal(err)
	}
	cfg.Routes = append(cfg.Routes, sidecars.Route{Host: "b.invalid", Auth: &sidecars.Auth{Scheme: sidecars.SchemeBasic, Slot: "SECOND"}})
	tokens := sidecars.Secrets{Tokens: map[string]secret.Value{"SECOND": secret.New(second)}}
	if err := b.Reload(t.Context(), id, cfg, tokens); err != nil {
		t.Fatal(err)
	}
	st, err := b.readState(id)
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string]string{"the first token": first, "the second token": second, "a known secret": known, "the CA's key": middleOf(key.Reveal())}
	memory := map[string][]byte{"shim": memoryOf(t, st.Shim.PID), "guest": memoryOf(t, st.Guest.PID), "sidecar": memoryOf(t, st.Sidecar.PID)}
	for name, plain := range secrets {
		for _, process := range []string{"shim", "guest"} {
			for _, needle := range pieces(plain) {
				if n := bytes.Count(memory[process], []byte(needle)); n > 0 {
					t.Errorf("a piece of %s is in the %s's memory, %d times, as %.6s...", name, process, n, needle)
				}
			}
		}
		if name != "the CA's key" && !bytes.Contains(memory["sidecar"], []byte(plain)) {
			t.Errorf("control: %s is not in the sidecar's memory", name)
		}
		for _, p := range []shim.Process{st.Shim, st.Guest, st.Sidecar} {
			for _, file := range []string{"environ", "cmdline"} {
				if data := read(t, fmt.Sprintf("/proc/%d/%s", p.PID, file)); bytes.Contains(data, []byte(plain)) {
					t.Errorf("%s is in %s of process %d", name, file, p.PID)
				}
			}
		}
		inFiles(t, b.dir(id), name, plain)
	}
	for name, p := range map[string]shim.Process{"shim": st.Shim, "sidecar": st.Sidecar} {
		if limits := strings.Join(strings.Fields(string(read(t, fmt.Sprintf("/proc/%d/limits", p.PID)))), " "); !strings.Contains(limits, "Max core file size 0 0") {
			t.Errorf("the %s may dump its memory: %s", name, limits)
		}
	}
}

// pieces are parts of a secret as such and as an encoder of messages would leave
// them, each long enough to be nothing else.
func pieces(plain string) []string {
	const size = 16
	var out []string
	for _, text := range []string{
		plain,
		base64.StdEncoding.EncodeToString([]byte(plain)), base64.StdEncoding.EncodeToString([]byte(plain[1:])), base64.StdEncoding.EncodeToString([]byte(plain[2:])),
		hex.EncodeToString([]byte(plain)),
	} {
		for ; len(text) >= size; text = text[size:] {
			out = append(out, text[:size])
		}
	}
	return out
}

// middleOf is what a PEM block of a key holds of the private half alone: all keys
// begin alike, and the public half behind it is in the certificate too.
func middleOf(pem string) string { return strings.Split(pem, "\n")[2][:24] }

func inFiles(t *testing.T, dir, name, plain string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		files++
		if bytes.Contains(read(t, path), []byte(plain)) {
			t.Errorf("%s is in %s", name, path)
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Errorf("%d files, %v", files, err)
	}
}

// memoryOf reads what a process may write to.
func memoryOf(t *testing.T, pid int) []byte {
	t.Helper()
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mem.Close() }()
	var out []byte
	untouched := make([]byte, 4096)
	lines := bufio.NewScanner(bytes.NewReader(read(t, fmt.Sprintf("/proc/%d/maps", pid))))
	for lines.Scan() {
		var from, to int64
		var mode string
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode); n != 3 || !strings.HasPrefix(mode, "rw") {
			continue
		}
		buf := make([]byte, to-from)
		n, _ := mem.ReadAt(buf, from) // what is not there is not read
		for page := range slices.Chunk(buf[:n], 4096) {
			if !bytes.Equal(page, untouched[:len(page)]) {
				out = append(out, page...)
			}
		}
	}
	if len(out) == 0 {
		t.Fatalf("process %d has no memory that could be read", pid)
	}
	return out
}
