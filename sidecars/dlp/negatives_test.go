package dlp

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Texts in which there is nothing to find: what agents send and read all day.

const (
	negativeSize = 48 << 10
	eachClass    = 700
)

// holdsKey finds, without the scanner, the files of source trees that hold a
// key for tests: they are no negatives.
func holdsKey(text []byte) bool {
	return regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY`).Match(text)
}

// files are every nth file below a directory with one of the endings.
func files(t *testing.T, root string, most int, endings ...string) [][]byte {
	t.Helper()
	var names []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			for _, e := range endings {
				if strings.HasSuffix(path, e) {
					names = append(names, path)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for i := 0; i < len(names); i += max(1, len(names)/most) {
		text, err := os.ReadFile(names[i])
		if err != nil || len(text) == 0 || holdsKey(text) {
			continue
		}
		all = append(all, text[:min(len(text), negativeSize)])
	}
	return all
}

// modules are the directories of the modules this one is built from.
func modules(t *testing.T) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "all").Output()
	if err != nil {
		t.Logf("modules are not among the negatives: %v", err)
		return nil
	}
	return strings.Fields(string(out))
}

func goroot(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		return runtime.GOROOT() //nolint:staticcheck // only where there is no go command
	}
	return strings.TrimSpace(string(out))
}

func (g generator) negatives(t *testing.T) []sample {
	root := goroot(t)
	sources := files(t, filepath.Join(root, "src"), 1600, ".go")
	var all []sample
	add := func(class string, texts ...[]byte) {
		for _, text := range texts {
			all = append(all, sample{class: class, texts: []Text{{Body, text}}})
		}
	}
	add("Go sources", sources...)
	add("assembly, scripts, pages", files(t, root, 500, ".s", ".sh", ".html", ".md", ".js", ".css", ".txt", ".json", ".yml", ".mod", ".sum")...)
	add("images and archives", files(t, root, 200, ".png", ".gif", ".jpeg", ".gz", ".zip", ".wasm", ".syso")...)
	for _, dir := range modules(t) {
		add("sources of modules", files(t, dir, 30, ".go", ".md", ".yml", ".yaml", ".json", ".txt", ".sum", ".toml")...)
	}
	for i, text := range sources {
		switch i % 4 {
		case 0:
			add("chats in JSON", g.chat(text))
		case 1:
			add("minified code", minified(text))
		case 2:
			add("code in a query or a form", []byte("action=save&text="+strings.NewReplacer(" ", "+", "\n", "%0A", "&", "%26", "\"", "%22").Replace(string(text[:min(len(text), 8000)]))))
		}
	}
	for range 250 {
		add("package locks", g.lock())
		add("logs and identifiers", g.log())
		add("noise", g.noise(4096))
		add("noise in base64", []byte(`{"image": "data:image/png;base64,`+base64.StdEncoding.EncodeToString(g.noise(3000))+`"}`))
		add("hex dumps", []byte(hex.Dump(g.noise(1000))), []byte(hex.EncodeToString(g.noise(2000))))
	}
	return all
}

func (g generator) noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return b
}

func (g generator) chat(text []byte) []byte {
	b, err := json.Marshal(map[string]any{"model": "some-model-4", "max_tokens": 4096, "stream": true, "messages": []map[string]any{
		{"role": "system", "content": "You are a careful engineer. Never print passwords, tokens or API keys."},
		{"role": "user", "content": "Why does the login fail with `token: expected string`? Here is the file:\n" + string(text)},
		{"role": "assistant", "content": []map[string]any{{"type": "tool_use", "id": "toolu_" + g.alnum(24), "name": "read_file", "input": map[string]string{"path": "/srv/app/config.yaml"}}}},
		{"role": "user", "content": []map[string]any{{"type": "tool_result", "tool_use_id": "toolu_" + g.alnum(24), "content": "password: ${DB_PASSWORD}\ntoken: <your-token-here>\napi_key: os.environ[\"API_KEY\"]"}}},
	}})
	if err != nil {
		return text
	}
	return b
}

// minified is code without comments' line ends and indentation.
func minified(text []byte) []byte {
	return []byte(strings.Join(strings.Fields(string(text)), " "))
}

func (g generator) lock() []byte {
	var b strings.Builder
	b.WriteString("{\n  \"lockfileVersion\": 3,\n  \"packages\": {\n")
	for range 60 {
		name := strings.ToLower(g.alnum(3 + g.IntN(9)))
		fmt.Fprintf(&b, "    \"node_modules/%s\": {\n      \"version\": \"%d.%d.%d\",\n      \"resolved\": \"https://registry.example.test/%s/-/%s-1.0.0.tgz\",\n      \"integrity\": \"sha512-%s\"\n    },\n",
			name, g.IntN(20), g.IntN(20), g.IntN(20), name, name, base64.StdEncoding.EncodeToString(g.noise(64)))
		fmt.Fprintf(&b, "[[package]]\nname = \"%s\"\nchecksum = \"%s\"\nexample.test/%s v1.2.3 h1:%s\n", name, hex.EncodeToString(g.noise(32)), name, base64.StdEncoding.EncodeToString(g.noise(32)))
	}
	return []byte(b.String())
}

func (g generator) log() []byte {
	var b strings.Builder
	at := time.Unix(1_700_000_000, 0).UTC()
	for range 80 {
		at = at.Add(time.Duration(g.IntN(5000)) * time.Millisecond)
		fmt.Fprintf(&b, "%s INFO trace_id=%s span=%s user=%d \"GET /api/v2/sessions/%s?page=%d&token_type=bearer HTTP/1.1\" 200 %d etag=W/\"%s\" request-id: %s\n",
			at.Format(time.RFC3339Nano), hex.EncodeToString(g.noise(16)), hex.EncodeToString(g.noise(8)), g.IntN(1e6), g.uuid(), g.IntN(30), g.IntN(1e5), hex.EncodeToString(g.noise(20)), g.uuid())
		fmt.Fprintf(&b, "commit %s\nAuthor: A <a@example.test>\nindex %s..%s 100644\n", hex.EncodeToString(g.noise(20)), hex.EncodeToString(g.noise(4))[:7], hex.EncodeToString(g.noise(4))[:7])
	}
	return []byte(b.String())
}

func (g generator) uuid() string {
	h := hex.EncodeToString(g.noise(16))
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
