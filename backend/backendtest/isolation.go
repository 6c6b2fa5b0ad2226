package backendtest

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/selftest"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

func (s *suite) isolation(t *testing.T) {
	for _, class := range s.caps.Isolation {
		t.Run("self-test "+class, func(t *testing.T) {
			b := s.launch(t, isolated(class))
			for _, user := range b.users() {
				b.selfTest(t, user)
			}
		})
	}
	b := s.launch(t)
	t.Run("environment", b.noLeakedEnvironment)
	t.Run("two bottles", b.twoBottles)
	t.Run("host name", b.hostName)
	t.Run("read-only root", b.readOnlyRoot)
	t.Run("private tmp", b.privateTmp)
	t.Run("certificates", b.certificates)
	t.Run("set-id programs", b.setID)
	t.Run("init survives", b.initSurvives)
}

// selfTest runs the probe through the exec path, as every launch does.
func (b *bottle) selfTest(t *testing.T, user string) {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "secret")
	writeHost(t, filepath.Dir(secret), "secret", "host secret")
	spec := selftest.For(b.s.caps.Guest)
	spec.HostAddresses, spec.ProxyURL, spec.BottleID = b.s.caps.HostAddresses, b.endpoints.Egress, string(b.id)
	spec.AllowedHost, spec.Canary = allowedHost, b.s.Canary
	if b.endpoints.Bottles != "" {
		spec.SidecarPorts = []int{sidecars.BottlesPort}
	}
	spec.SecretPaths = append(append(spec.SecretPaths, secret), b.s.SecretPaths...)
	spec.Timeout *= 3 // the machine is busy with tests
	if user == "root" {
		spec.ExpectUID = 0
	}
	data, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	cmd := backend.Command{Argv: []string{backend.GuestBinary, "guest", "selftest"}, Dir: "/", User: user}
	r := b.run(t, cmd, string(data))
	result, err := selftest.DecodeResult([]byte(r.stdout), spec)
	if err != nil {
		t.Fatalf("as %q: %v: code %d, %s", user, err, r.Code, r.stderr)
	}
	for _, c := range result.Failed() {
		t.Errorf("as %q: %s is red: %s", user, c.Name, c.Detail)
	}
	t.Logf("as %q: %d checks in %s", user, len(result.Checks), result.Elapsed)
}

func (b *bottle) noLeakedEnvironment(t *testing.T) {
	canary := os.Getenv(canaryEnv)
	if canary == "" {
		t.Fatal("the canary is not set: this case proves nothing")
	}
	for _, user := range b.users() {
		cmd := script0("env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null; exit 0")
		cmd.User = user
		r := b.run(t, cmd, "")
		if strings.Contains(r.stdout, canary) || strings.Contains(r.stdout, canaryEnv) {
			t.Errorf("as %q the server's environment is in the guest", user)
		}
		if !strings.Contains(r.stdout, "MARK=from the launch") {
			t.Errorf("as %q the bottle's own environment is missing", user)
		}
	}
}

func (b *bottle) twoBottles(t *testing.T) {
	other := b.s.launch(t)
	mark := sleepMarks(1)[0]
	b.sh(t, "echo here > /tmp/of-one; echo here > "+backend.AgentHome+"/of-one; echo here > /dev/shm/of-one")
	other.sh(t, "setsid sleep $1 > /dev/null 2>&1 &", mark)
	for _, user := range b.users() {
		look := script0("cat /tmp/of-one " + backend.AgentHome + "/of-one /dev/shm/of-one; cat /proc/[0-9]*/cmdline 2>/dev/null")
		look.User = user
		if r := other.run(t, look, ""); strings.Contains(r.stdout, "here") {
			t.Errorf("as %q one bottle reads another's files", user)
		}
		if r := b.run(t, look, ""); strings.Contains(r.stdout, mark) {
			t.Errorf("as %q one bottle sees another's processes", user)
		}
		killAll := script0("kill -9 -1; exit 0")
		killAll.User = user
		b.try(t.Context(), killAll, "")
	}
	other.answers(t)
	b.answers(t)
}

func (b *bottle) hostName(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	out := strings.TrimSpace(b.sh(t, "cat /proc/sys/kernel/hostname"))
	if out == "" || out == host {
		t.Errorf("the guest is named %q, the host %q", out, host)
	}
}

func (b *bottle) readOnlyRoot(t *testing.T) {
	paths := []string{"/new", "/usr/new", "/etc/new", "/etc/passwd", "/bin/new", "/proc/sys/kernel/hostname", "/.bottle/new", backend.GuestBinary, backend.GuestCACert}
	for _, user := range b.users() {
		if user == "root" && b.s.OwnRoot {
			paths = slices.DeleteFunc(paths, func(p string) bool { return !strings.HasPrefix(p, "/.bottle/") })
		}
		for _, path := range paths {
			cmd := script0(`echo x >> "$1"`, path)
			cmd.User = user
			if r := b.run(t, cmd, ""); r.Code == 0 {
				t.Errorf("as %q %s is writable", user, path)
			}
		}
	}
}

func (b *bottle) privateTmp(t *testing.T) {
	name := "bottle-" + string(b.id)
	onHost := filepath.Join(os.TempDir(), name+"-host")
	writeHost(t, filepath.Dir(onHost), filepath.Base(onHost), "host's")
	defer func() { _ = os.Remove(onHost) }()
	if r := b.run(t, script0(`cat "$1"; echo guest > "/tmp/$2"`, onHost, name), ""); strings.Contains(r.stdout, "host's") {
		t.Error("the guest reads the host's temporary files")
	}
	if _, err := os.Lstat(filepath.Join("/tmp", name)); err == nil {
		t.Error("the guest's temporary files are the host's")
	}
}

func (b *bottle) certificates(t *testing.T) {
	cert := b.sh(t, "cat "+backend.GuestCACert)
	if !strings.Contains(cert, "BEGIN CERTIFICATE") || strings.Contains(cert, "PRIVATE KEY") {
		t.Errorf("%s holds %.200q", backend.GuestCACert, cert)
	}
	if bundle := b.sh(t, "cat "+backend.GuestCABundle); !strings.Contains(bundle, strings.TrimSpace(cert)) {
		t.Errorf("%s lacks the bottle's certificate", backend.GuestCABundle)
	}
}

// setID runs a set-user-id copy of id: the bit must be impossible or without effect.
func (b *bottle) setID(t *testing.T) {
	if !b.s.caps.MultiUser {
		return // nobody else's bit could be set
	}
	// Root makes it, the agent runs it.
	b.run(t, asRoot(script0("cat $(command -v id) > /tmp/setid && chmod 4755 /tmp/setid")), "")
	if out := b.sh(t, "/tmp/setid -u || id -u"); out != "1000\n" {
		t.Errorf("a set-user-id program runs as uid %q", out)
	}
}

// initSurvives sends signals to process 1.
func (b *bottle) initSurvives(t *testing.T) {
	for _, user := range b.users() {
		cmd := script0("for s in HUP INT TERM USR1 QUIT STOP KILL; do kill -$s 1; done; exit 0")
		cmd.User = user
		b.run(t, cmd, "")
		b.answers(t)
	}
}

func writeHost(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// tryCopyIn copies a host directory whatever happens.
func (b *bottle) tryCopyIn(t *testing.T, dir, path string) (backend.CopyReport, error) {
	t.Helper()
	var buf bytes.Buffer
	packHost(t, &buf, dir)
	return b.s.Backend.Copy(t.Context(), b.id, backend.CopySpec{Direction: backend.CopyIn, Path: path, Reader: &buf})
}
