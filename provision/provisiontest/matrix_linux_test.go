package provisiontest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// EnvDownload makes the matrix's download as large as the variable says, in
// megabytes; without it it is 10.
const EnvDownload = "BOTTLE_TEST_DOWNLOAD_MB"

const (
	matrixToken = "placeholder-of-the-agent"
	uploadSize  = 1 << 20
	// failTime is what a client without a way out may take to say so.
	failTime = 20 * time.Second
)

// matrix is a bottle with every client, its origin, and what was planted.
type matrix struct {
	*bottle

	origin *matrixOrigin
	url    string
	upload []byte
	// planted is a secret that the manifest takes from the host.
	planted string
}

// TestMatrix lets every client make every kind of request from a bottle, in the
// environment that the bottle gives it and no other. What counts is what the
// origin saw and what the ledger says, not what a client believes.
//
// It needs root, for an origin in namespaces of its own. Under -short it is left
// out: no code of this program runs in it that other tests do not run.
func TestMatrix(t *testing.T) {
	if testing.Short() || os.Getuid() != 0 {
		t.Skip("needs root, and time")
	}
	if os.Getenv(innerEnv) == "" {
		again(t, unix.CLONE_NEWNS|unix.CLONE_NEWNET)
		return
	}
	m := newMatrix(t)
	clients := m.present(t, matrixClients())
	t.Run("Blind", m.blind)
	t.Run("Clients", func(t *testing.T) {
		for _, c := range clients {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				if c.fetch != "" {
					m.fetches(t, c)
				} else {
					m.requests(t, c)
				}
			})
		}
	})
	t.Run("Git", m.gits)
	t.Run("Control", m.control)
	for _, v := range m.origin.under(openPrefix) {
		if strings.HasPrefix(v.Path, openPrefix+"/control/") {
			continue
		}
		if said := fmt.Sprint(v.Header); strings.Contains(said, matrixToken) || strings.Contains(said, agentToken) {
			t.Errorf("what the agent sent for a credential reached the origin at %s", v.Path)
		}
	}
}

func newMatrix(t *testing.T) *matrix {
	t.Helper()
	megabytes := int64(10)
	if text := os.Getenv(EnvDownload); text != "" {
		if _, err := fmt.Sscan(text, &megabytes); err != nil {
			t.Fatalf("%s=%s: %v", EnvDownload, text, err)
		}
	}
	m := &matrix{origin: newMatrixOrigin(t, megabytes<<20), upload: body(t, uploadSize)}
	port := serveHere(t, m.origin)
	m.url = fmt.Sprintf("https://%s:%d", originName, port)
	planted := make([]byte, 20)
	if _, err := rand.Read(planted); err != nil {
		t.Fatal(err)
	}
	m.planted = hex.EncodeToString(planted)
	s := m.operate(t, port)
	m.bottle = s.launch(t, provision.LaunchRequest{Bottles: []string{"matrix"}, ID: "matrix", Workspace: s.workspace})
	m.sh(t, `printf 'a note with %s in it\n' "$PLANTED" >/tmp/secret`)
	return m
}

// operate writes the operator's manifest and workspace.
func (m *matrix) operate(t *testing.T, port int) *suite {
	t.Helper()
	home := t.TempDir()
	s := &suite{home: home, workspace: filepath.Join(home, "project")}
	put(t, filepath.Join(home, ".bot-bottle/bottles/matrix.md"), "---\nenv: {PLANTED: \"${PLANTED}\", AGENT_TOKEN: "+matrixToken+"}\n"+
		"egress:\n  routes:\n    - {"+routeTo(controlName, port)+", dlp: {outbound_detectors: false}}\n    - {"+routeTo(originName, port)+", git: {fetch: true}, auth: {scheme: Bearer, token_ref: ORIGIN_TOKEN}, "+
		"matches: [{paths: [{type: prefix, value: "+openPrefix+"}], methods: [GET, HEAD, POST]}]}\n---\n", 0o600)
	err := fs.WalkDir(os.DirFS("testdata/drive"), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join("testdata/drive", name))
		put(t, filepath.Join(s.workspace, name), string(data), 0o644)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(s.workspace, "upload"), string(m.upload), 0o644)
	store, err := state.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	s.Bed = Bed{Backend: linux.New(linux.Config{BottlesDir: store.BottlesDir(), Owner: store.Owner()}), Store: store, Account: backend.DefaultAccount()}
	s.recorder = &recorder{Backend: s.Backend}
	s.manager, err = provision.NewManager(provision.Config{
		Backends: []backend.Backend{s.recorder}, Backend: s.Backend.Name(), State: store,
		ManifestHome: filepath.Join(home, ".bot-bottle"), WorkspaceRoots: []string{s.workspace},
		LookupEnv: func(name string) (string, bool) {
			value, ok := map[string]string{"ORIGIN_TOKEN": OriginToken, "PLANTED": m.planted, "HOME": home}[name]
			return value, ok
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// present are the clients that this bottle has. The others are listed, and are a
// failure where a continuous build should have installed them.
func (m *matrix) present(t *testing.T, clients []matrixClient) []matrixClient {
	t.Helper()
	var ask strings.Builder
	for _, c := range clients {
		fmt.Fprintf(&ask, "if (%s) >/dev/null 2>&1; then echo %s; fi\n", c.need, c.name)
	}
	has := strings.Fields(m.sh(t, ask.String()))
	var missing []string
	out := slices.DeleteFunc(clients, func(c matrixClient) bool {
		if slices.Contains(has, c.name) {
			return false
		}
		missing = append(missing, c.name)
		if c.ci && os.Getenv(EnvAll) != "" {
			t.Errorf("%s is missing in the bottle, and .ci/run installs it", c.name)
		}
		return true
	})
	t.Logf("%d clients: %s", len(has), strings.Join(has, ", "))
	t.Logf("missing in this bottle: %s", strings.Join(missing, ", "))
	return out
}

// line is what a driver is told to do for a cell.
func (m *matrix) line(tag, cell string) string {
	at := m.url + cellPath(tag, cell)
	op, method, body, token := "request", "GET", "-", "-"
	switch cell {
	case "path": // that differs
	case "get":
		token = matrixToken
	case "foreign":
		token = agentToken
	case "host":
		at = "https://" + deniedHost(tag) + "/" + cell
	case "method":
		method = "DELETE"
	case "upload", "secret":
		method, body = "POST", map[string]string{"upload": "upload", "secret": "/tmp/secret"}[cell]
	case "ws":
		op, method = cell, message
	case "ws-secret":
		op, method = "ws", m.planted
	default:
		op = cell
	}
	return strings.Join([]string{op, cell, method, at, body, token}, " ")
}

// cellPath is the path of a cell's request.
func cellPath(tag, cell string) string {
	if cell == "path" {
		return closedPrefix + "/" + tag
	}
	return openPrefix + "/" + tag + "/" + cell
}

// message is what goes to and fro over a WebSocket.
const message = "round-trip"

// requests runs a driver once, with every cell.
func (m *matrix) requests(t *testing.T, c matrixClient) {
	var todo strings.Builder
	cells := slices.Concat(basicCells(), c.more)
	for _, cell := range cells {
		todo.WriteString(m.line(c.tag(), cell) + "\n")
	}
	start := time.Now()
	out, _ := m.run(t, backend.Command{Argv: []string{"sh", "-c", c.drive}}, todo.String())
	t.Logf("%d cells in %s", len(cells), time.Since(start).Round(time.Millisecond))
	answers := map[string]string{}
	for line := range strings.Lines(out) {
		if cell, answer, ok := strings.Cut(strings.TrimSpace(line), " "); ok && slices.Contains(cells, cell) {
			answers[cell] = answer
		}
	}
	for _, cell := range cells {
		if answers[cell] == "" {
			t.Errorf("%s: no answer; the driver said: %.1000s", cell, out)
			continue
		}
		m.judge(t, c, cell, answers[cell])
	}
}

// judge compares a cell's answer, the origin's view and the ledger.
func (m *matrix) judge(t *testing.T, c matrixClient, cell, answer string) {
	t.Helper()
	if why := c.limits[cell]; why != "" {
		if !strings.HasPrefix(answer, "error") {
			t.Errorf("%s: works (%s), though the matrix says: %s", cell, answer, why)
		}
		t.Logf("%s: fails, since %s", cell, why)
		return
	}
	path := cellPath(c.tag(), cell)
	if cell == "host" {
		m.refused(t, sidecars.Decision{Host: deniedHost(c.tag()), Reason: "host_not_allowed"})
		if strings.HasPrefix(answer, "2") {
			t.Errorf("host: the client has an answer from a host that is not allowed: %s", answer)
		}
		return
	}
	if reason, no := map[string]string{"foreign": "foreign_credential", "path": "path_not_allowed", "method": "method_not_allowed", "secret": "secret_in_body"}[cell]; no {
		m.refused(t, sidecars.Decision{Host: originName, Path: path, Reason: reason})
		if answer != "403" || len(m.origin.under(path)) > 0 {
			t.Errorf("%s: answer %s, want 403; the origin saw %+v", cell, answer, m.origin.under(path))
		}
		return
	}
	if cell == "ws-secret" {
		m.cutMessage(t, path, answer)
		return
	}
	m.arrival(t, path, cell)
	if want := m.answers(cell); answer != want {
		t.Errorf("%s: answer %q, want %q", cell, answer, want)
	}
}

// cutMessage demands that a WebSocket was opened and its one message, a secret,
// did not arrive.
func (m *matrix) cutMessage(t *testing.T, path, answer string) {
	t.Helper()
	m.refused(t, sidecars.Decision{Host: originName, Path: path, Reason: "secret_in_message"})
	var seen []visit
	soon(func() bool { seen = m.origin.under(path); return len(seen) > 0 })
	if len(seen) != 1 || seen[0].Bytes > 0 || !strings.HasPrefix(answer, "error") {
		t.Errorf("ws-secret: answer %s; the origin saw %+v, want one handshake and no message", answer, seen)
	}
}

// answers is what a driver says of a cell that works.
func (m *matrix) answers(cell string) string {
	switch cell {
	case "download":
		return fmt.Sprint("200 ", m.origin.download)
	case "sse":
		return "one,two"
	case "ws":
		return message
	case "trailers":
		return "200 7"
	}
	return "200"
}

// arrival demands that the origin saw the request, once, with the bottle's
// credential, and all of what was sent.
func (m *matrix) arrival(t *testing.T, path, cell string) {
	t.Helper()
	var seen []visit
	soon(func() bool { seen = m.origin.under(path); return len(seen) > 0 })
	if len(seen) != 1 {
		t.Errorf("%s: the origin saw %d requests, want 1", cell, len(seen))
		return
	}
	v := seen[0]
	if got := v.Header["Authorization"]; !slices.Equal(got, []string{"Bearer " + OriginToken}) {
		t.Errorf("%s: the origin did not see the bottle's credential alone: %d of them", cell, len(got))
	}
	sum := sha256.Sum256(m.upload)
	if cell == "upload" && (v.Method != "POST" || v.Bytes != uploadSize || v.SHA256 != hex.EncodeToString(sum[:])) {
		t.Errorf("%s: the origin got %s with %d bytes, which are not those sent", cell, v.Method, v.Bytes)
	}
	if v.Left != (cell == "cancel") {
		t.Errorf("%s: the client left before the end: %v", cell, v.Left)
	}
}

// fetches lets a package manager fetch from a registry that is allowed, from a
// path that is not, and from a host that is not.
func (m *matrix) fetches(t *testing.T, c matrixClient) {
	tag := c.tag()
	fetch := func(url string) (string, int) {
		return m.run(t, backend.Command{Argv: []string{"sh", "-c", "cd $(mktemp -d) && URL=" + url + " && " + c.fetch}}, "")
	}
	out, code := fetch(m.url + openPrefix + "/" + tag)
	seen := m.origin.under(openPrefix + "/" + tag)
	if code != 0 || len(seen) == 0 {
		t.Errorf("get: ended with %d, the origin saw %d requests: %.1000s", code, len(seen), out)
	}
	for _, v := range seen {
		if !slices.Equal(v.Header["Authorization"], []string{"Bearer " + OriginToken}) {
			t.Errorf("get: a request without the bottle's credential: %s", v.Path)
		}
	}
	fetch(m.url + closedPrefix + "/" + tag)
	m.refused(t, sidecars.Decision{Host: originName, Path: closedPrefix + "/" + tag, Reason: "path_not_allowed"})
	fetch("https://" + deniedHost(tag))
	m.refused(t, sidecars.Decision{Host: deniedHost(tag), Reason: "host_not_allowed"})
	if got := m.origin.under(closedPrefix + "/" + tag); len(got) > 0 {
		t.Errorf("the origin saw %+v", got)
	}
}
