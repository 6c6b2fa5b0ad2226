package pid1

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// hammer asks the proxy for its own page without a pause until stop is called,
// which returns how often it was answered and what went wrong.
func (b *box) hammer() (stop func() (answered int64, wrong []string)) {
	var answered atomic.Int64
	var mu sync.Mutex
	var wrong []string
	ended := make(chan struct{})
	var asking sync.WaitGroup
	for range 3 {
		asking.Go(func() {
			for c := b.guest(); ; {
				select {
				case <-ended:
					return
				default:
				}
				if status, body := get(c, "http://_egress.local/healthz"); status != 200 {
					mu.Lock()
					wrong = append(wrong, fmt.Sprintf("%d %s", status, body))
					mu.Unlock()
					continue
				}
				answered.Add(1)
			}
		})
	}
	return func() (int64, []string) {
		close(ended)
		asking.Wait()
		return answered.Load(), wrong
	}
}

// TestDaemonDies kills the daemon: the port stays open, who comes meanwhile is
// served by the next one, and the init's exit code tells of it.
func TestDaemonDies(t *testing.T) {
	b := newBox(t, boxOptions{timing: "first=3s"})
	b.ready()
	check(t, RemoveSecrets(b.dir))
	first := b.daemon()
	check(t, unix.Kill(first, unix.SIGKILL))
	eventually(t, "the init knows", func() bool { r, _ := b.ask(0); return !r.Daemons[sidecars.Egress].Alive })
	if r, code := b.ask(0); code != 1 || r.Ready {
		t.Errorf("while it is down: code %d, %+v", code, r)
	}
	started := time.Now()
	if status, body := get(b.guest(), "https://"+upstreamName+"/"); status != 200 {
		t.Errorf("who came while it was down: %d %q", status, body)
	}
	if took := time.Since(started); took < 100*time.Millisecond {
		t.Errorf("it was answered after %s: by whom?", took)
	}
	r := b.ready()
	if d := r.Daemons[sidecars.Egress]; d.Restarts != 1 || b.daemon() == first {
		t.Errorf("daemon = %+v, process %d, before %d", d, b.daemon(), first)
	}
	if sent := b.world.sent(); sent[len(sent)-1] != "Bearer "+testToken {
		t.Errorf("the second daemon has other secrets: %q", sent)
	}
	b.signal(unix.SIGINT)
	if code := b.wait(testWait); code != 137 {
		t.Errorf("exit code %d, want that of the killed daemon, 137", code)
	}
}

// TestReload changes the configuration of a sidecar that serves.
func TestReload(t *testing.T) {
	b := newBox(t, boxOptions{})
	b.ready()
	check(t, RemoveSecrets(b.dir))
	path := filepath.Join(b.dir, sidecars.ConfigFile)
	good := readAll(t, path)
	count := 0
	reload := func() Report {
		t.Helper()
		count++
		b.signal(unix.SIGHUP)
		var r Report
		eventually(t, "the reload is done", func() bool { r, _ = b.ask(0); return r.Reloads == count })
		return r
	}
	allowed := func(host string) bool {
		status, _ := get(b.guest(), "https://"+host+"/")
		return status == 200
	}

	for _, tt := range []struct{ name, text, want string }{
		{"an unknown key", strings.Replace(good, `"bottle"`, `"extra": 1, "bottle"`, 1), "unknown field"},
		{"no JSON", "{", "not JSON"},
		{"another bottle", strings.Replace(good, testBottle, "someone-else", 1), "one bottle for its life"},
		{"a slot without a token", strings.Replace(good, testSlot, "EGRESS_TOKEN_9", 1), "holds no token"},
		{"a bad host", strings.Replace(good, upstreamName, "UP.test", 1), "lower case"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := b.daemon()
			check(t, os.WriteFile(path, []byte(tt.text), 0o600))
			if r := reload(); !strings.Contains(r.ReloadError, tt.want) || !r.Ready {
				t.Errorf("reload_error = %q, ready %v; want %q and ready", r.ReloadError, r.Ready, tt.want)
			}
			if b.daemon() != before || !allowed(upstreamName) {
				t.Error("the good configuration is not in force any more")
			}
		})
	}

	t.Run("wider", func(t *testing.T) {
		before, _ := b.ask(0)
		running, err := b.guest().Get("https://" + upstreamName + "/slow")
		check(t, err)
		defer running.Body.Close()
		_, rest := firstLine(t, running)
		stop := b.hammer()
		b.config.Routes = append(b.config.Routes,
			sidecars.Route{Host: "new.test", Private: []string{worldOutside}, Auth: &sidecars.Auth{Scheme: "token", Slot: "NEW"}})
		check(t, WriteConfig(b.dir, b.config, sidecars.Secrets{Tokens: map[string]secret.Value{"NEW": secret.New("another-token")}}, nil))
		if allowed("new.test") {
			t.Error("the new route is in force before the reload")
		}
		r := reload()
		if r.ReloadError != "" || r.Daemons[sidecars.Egress] != before.Daemons[sidecars.Egress] {
			t.Errorf("reload_error = %q, daemon %+v, before %+v", r.ReloadError, r.Daemons, before.Daemons)
		}
		if !allowed("new.test") || !allowed(upstreamName) {
			t.Error("a route of the new configuration is not in force")
		}
		if sent := b.world.sent(); sent[len(sent)-2] != "token another-token" || sent[len(sent)-1] != "Bearer "+testToken {
			t.Errorf("the upstream was sent %q", sent)
		}
		if answered, wrong := stop(); answered == 0 || len(wrong) > 0 {
			t.Errorf("during the reload: %d answers, %d failures: %.3q", answered, len(wrong), wrong)
		}
		if line, err := rest.ReadString('\n'); line != "end\n" {
			t.Errorf("a response that had begun: %q, %v", line, err)
		}
	})

	t.Run("other roots", func(t *testing.T) {
		before := b.daemon()
		running, err := b.guest().Get("https://" + upstreamName + "/slow")
		check(t, err)
		defer running.Body.Close()
		check(t, WriteConfig(b.dir, b.config, sidecars.Secrets{}, append([]byte("\n"), b.world.roots...)))
		if r := reload(); r.ReloadError != "" || b.daemon() == before {
			t.Errorf("reload_error = %q, the daemon is %d as before", r.ReloadError, before)
		}
		if !allowed(upstreamName) {
			t.Error("the new daemon does not serve")
		}
	})

	t.Run("narrower", func(t *testing.T) {
		running, err := b.guest().Get("https://" + upstreamName + "/slow")
		check(t, err)
		defer running.Body.Close()
		_, rest := firstLine(t, running)
		b.config.Routes = b.config.Routes[1:]
		check(t, WriteConfig(b.dir, b.config, sidecars.Secrets{}, nil))
		if r := reload(); r.ReloadError != "" || len(b.processes()) != 2 {
			t.Errorf("reload_error = %q, processes %v", r.ReloadError, b.processes())
		}
		if allowed(upstreamName) || !allowed("new.test") {
			t.Error("the new configuration is not in force")
		}
		if line, err := rest.ReadString('\n'); err == nil {
			t.Errorf("a response under the wider policy went on: %q", line)
		}
	})
	b.signal(unix.SIGTERM)
	if code := b.wait(testWait); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// TestReloadOfHungDaemon has a daemon that takes no orders: nobody knows what it
// still does, so it ends, whatever the new settings are.
func TestReloadOfHungDaemon(t *testing.T) {
	b := newBox(t, boxOptions{timing: "start=3s,farewell=200ms"})
	b.ready()
	before := b.daemon()
	check(t, unix.Kill(before, unix.SIGSTOP))
	eventually(t, "every thread of the daemon is stopped", func() bool {
		stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", before))
		check(t, err)
		return !slices.ContainsFunc(stats, func(path string) bool {
			_, state, _ := strings.Cut(readAll(t, path), ") ")
			return !strings.HasPrefix(state, "T")
		})
	})
	b.config.Routes = append(b.config.Routes, sidecars.Route{Host: "new.test"})
	check(t, WriteConfig(b.dir, b.config, sidecars.Secrets{}, nil))
	b.signal(unix.SIGHUP)
	eventually(t, "the reload is done", func() bool { r, _ := b.ask(0); return r.Reloads == 1 && r.ReloadError == "" })
	if n := len(b.processes()); n != 2 || b.daemon() == before {
		t.Errorf("%d processes, the daemon is %d and was %d", n, b.daemon(), before)
	}
	if status, err := get(b.guest(), "https://"+upstreamName+"/"); status != 200 {
		t.Errorf("the new daemon: %d, %v", status, err)
	}
}

// TestReloadVerb asks for a reload as the host does.
func TestReloadVerb(t *testing.T) {
	b := newBox(t, boxOptions{})
	b.ready()
	ask := func() (r Report, code int) {
		t.Helper()
		digest, err := ConfigDigest(b.config)
		check(t, err)
		out, code := b.inside(ReloadArgs(digest, 5*time.Second)...)
		check(t, json.Unmarshal([]byte(out), &r))
		return r, code
	}
	b.config.Routes = append(b.config.Routes, sidecars.Route{Host: "new.test"})
	check(t, WriteConfig(b.dir, b.config, sidecars.Secrets{}, nil))
	if r, code := ask(); code != 0 || r.ReloadError != "" || r.Reloads != 1 {
		t.Errorf("code %d, %+v", code, r)
	}
	b.config.Routes[1].Auth = &sidecars.Auth{Scheme: "Bearer", Slot: "MISSING"}
	check(t, WriteConfig(b.dir, b.config, sidecars.Secrets{}, nil))
	if r, code := ask(); code != exitFailure || !strings.Contains(r.ReloadError, "holds no token") {
		t.Errorf("code %d, %+v", code, r)
	}
	// Many at once: each returns when what it expects is in force.
	b.config.Routes = b.config.Routes[:1]
	check(t, WriteConfig(b.dir, b.config, sidecars.Secrets{}, nil))
	codes := make(chan int)
	for range 4 {
		go func() { _, code := ask(); codes <- code }()
	}
	for range 4 {
		if code := <-codes; code != 0 {
			t.Errorf("one of many gives code %d", code)
		}
	}
	if _, code := b.inside("sidecar", "reload", "more"); code != exitUsage {
		t.Errorf("an argument too many gives code %d", code)
	}
}

// TestStop ends a daemon that does not want to.
func TestStop(t *testing.T) {
	b := newBox(t, boxOptions{stubborn: true, timing: "grace=1s"})
	eventually(t, "the daemon runs", func() bool { return strings.Contains(b.stderr.String(), "egress: hello") })
	b.signal(unix.SIGTERM)
	started := time.Now()
	code := b.wait(testWait)
	if took := time.Since(started); took < 900*time.Millisecond || took > 6*time.Second {
		t.Errorf("it took %s, want the grace of 1 s", took)
	}
	if code != 137 {
		t.Errorf("exit code %d, want 137", code)
	}
	log := readAll(t, filepath.Join(b.dir, sidecars.LogDir, sidecars.ErrorLog))
	for name, text := range map[string]string{"log": log, "stderr": b.stderr.String()} {
		if !strings.Contains(text, "egress: hello ?[31mxxx") || !strings.Contains(text, "egress: asked to stop\n") || strings.Contains(text, "\x1b") {
			t.Errorf("%s: %.300q", name, text)
		}
		for line := range strings.Lines(text) {
			who, _, ok := strings.Cut(line, ": ")
			if !ok || who != "egress" && who != "init" || len(line) > maxLine+20 {
				t.Errorf("%s has the line %.100q of %d bytes", name, line, len(line))
			}
		}
	}
}

// TestUntil has the bottle expire.
func TestUntil(t *testing.T) {
	t.Run("past", func(t *testing.T) {
		b := newBox(t, boxOptions{until: time.Unix(1, 0)})
		if code := b.wait(testWait); code != 0 || strings.Contains(b.stderr.String(), "serves") {
			t.Errorf("code %d, %s", code, b.stderr)
		}
	})
	for _, tt := range []struct {
		name     string
		stubborn bool
	}{{"a daemon", false}, {"one that does not stop", true}} {
		t.Run(tt.name, func(t *testing.T) {
			until := time.Now().Add(3 * time.Second).Truncate(time.Second)
			b := newBox(t, boxOptions{until: until, stubborn: tt.stubborn, timing: "farewell=500ms,grace=1m"})
			eventually(t, "the daemon runs", func() bool { return strings.Contains(b.stderr.String(), "the daemon serves") })
			if code := b.wait(testWait); code != 0 {
				t.Errorf("exit code %d, want 0", code)
			}
			if late := time.Since(until); late < 0 || late > 5*time.Second {
				t.Errorf("it ended %s after its time", late)
			}
		})
	}
}

// TestRefusesToStart gives the init what it cannot work with.
func TestRefusesToStart(t *testing.T) {
	tests := []struct {
		name    string
		options boxOptions
		code    int
		want    string
	}{
		{"an unknown daemon", boxOptions{daemons: "egress,mail"}, exitUsage, "allowed: egress"},
		{"a daemon that is not built", boxOptions{daemons: "supervise"}, exitUsage, "cannot serve supervise yet"},
		{"no such interface", boxOptions{listen: "interface:eth7", timing: "device=300ms"}, exitFailure, "eth7"},
		{"all interfaces", boxOptions{listen: "tcp:0.0.0.0"}, exitUsage, "use interface:NAME"},
		{"a bad policy", boxOptions{routes: []sidecars.Route{{Host: "*"}}}, exitFailure, "host \\\"*\\\""},
		{"no key", boxOptions{spoil: func(dir string) { _ = RemoveSecrets(dir) }}, exitFailure, "first start needs"},
		{"no log", boxOptions{spoil: func(dir string) { _ = os.Remove(filepath.Join(dir, sidecars.LogDir)) }}, exitFailure, "no such file"},
		{"a pipe as log", boxOptions{spoil: func(dir string) {
			_ = unix.Mkfifo(filepath.Join(dir, sidecars.LogDir, sidecars.EgressLog), 0o600)
		}}, exitFailure, sidecars.EgressLog},
		{"a link as log", boxOptions{spoil: func(dir string) {
			_ = os.Symlink("/etc/resolv.conf", filepath.Join(dir, sidecars.LogDir, sidecars.EgressLog))
		}}, exitFailure, sidecars.EgressLog},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBox(t, tt.options)
			if code := b.wait(testWait); code != tt.code || !strings.Contains(b.stderr.String(), tt.want) {
				t.Errorf("code %d, want %d and %q in: %s", code, tt.code, tt.want, b.stderr)
			}
			for line := range strings.Lines(b.stderr.String()) {
				if !strings.HasPrefix(line, "init: ") {
					t.Errorf("a line without its name: %q", line)
				}
			}
		})
	}
}

// TestDaemonAlone starts the daemon as a person would, who is root.
func TestDaemonAlone(t *testing.T) {
	b := newBox(t, boxOptions{})
	b.ready()
	if _, code := b.inside("sidecar", "daemon", "egress"); code == 0 {
		t.Error("a daemon without an init serves")
	}
	if r, _ := b.ask(0); !r.Ready {
		t.Errorf("afterwards: %+v", r)
	}
}
