//go:build linux

package linux

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
	first, second := strings.Repeat("first-of-all-", 3), strings.Repeat("second-of-all-", 3)
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
		Secrets: sidecars.Secrets{CAKey: key, Tokens: map[string]secret.Value{"FIRST": secret.New(first)}},
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
	for name, plain := range map[string]string{"the first token": first, "the second token": second, "the CA's key": middleLine(key.Reveal())} {
		encoded := base64.StdEncoding.EncodeToString([]byte(plain))[4 : len(plain)-4]
		for process, p := range map[string]shim.Process{"shim": st.Shim, "guest": st.Guest} {
			needles := []string{plain, encoded}
			if process == "shim" {
				// What the JSON encoder leaves behind of a message is nobody's any
				// more and may lie in memory that the runtime has given to another
				// use, where no collection overwrites it.
				needles = needles[:1]
			}
			for _, needle := range needles {
				if n := inMemory(t, p.PID, needle); n > 0 {
					t.Errorf("%s is in the %s's memory, %d times, as %.6s...", name, process, n, needle)
				}
			}
		}
		if name != "the CA's key" && inMemory(t, st.Sidecar.PID, plain) == 0 {
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

// middleLine is the second line of a PEM block: the first ones are alike.
func middleLine(pem string) string { return strings.Split(pem, "\n")[2] }

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

// inMemory counts a text in what a process may write to.
func inMemory(t *testing.T, pid int, needle string) int {
	t.Helper()
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mem.Close() }()
	count, regions := 0, 0
	lines := bufio.NewScanner(bytes.NewReader(read(t, fmt.Sprintf("/proc/%d/maps", pid))))
	for lines.Scan() {
		var from, to int64
		var mode string
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode); n != 3 || !strings.HasPrefix(mode, "rw") {
			continue
		}
		regions++
		const step = 1 << 20
		buf := make([]byte, step+len(needle))
		for at := from; at < to; at += step {
			n, _ := mem.ReadAt(buf[:min(int64(len(buf)), to-at)], at) // what is not there is not read
			count += bytes.Count(buf[:n], []byte(needle))
		}
	}
	if regions == 0 {
		t.Fatalf("process %d has no memory that could be read", pid)
	}
	return count
}
