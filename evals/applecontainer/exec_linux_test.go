package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/faults"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world"
)

func fetch(t *testing.T, url string) string {
	t.Helper()
	client := &http.Client{Timeout: 5 * time.Second}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func reachable(address string) bool {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "tcp", address)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

func TestExec(t *testing.T) {
	enter(t)
	guest(t, "box", "--network", "none", "-e", "FIRST=own", "--uid", "1000", "--gid", "1000", "--workdir", "/tmp")

	t.Run("status", func(t *testing.T) {
		for line, want := range map[string]int{"true": 0, "exit 7": 7, "kill -TERM $$": 143, "kill -KILL $$": 137} {
			if r := container(t, "exec", "--", "box", "sh", "-c", line); r.code != want || r.out != "" || r.complaint != "" {
				t.Errorf("%s: exit %d, stdout %q, stderr %q; want %d", line, r.code, r.out, r.complaint, want)
			}
		}
	})
	t.Run("streams", func(t *testing.T) {
		r := container(t, "exec", "--", "box", "sh", "-c", "echo out; echo err >&2")
		if r.out != "out\n" || r.complaint != "err\n" {
			t.Errorf("stdout %q, stderr %q", r.out, r.complaint)
		}
	})
	t.Run("standard input", func(t *testing.T) {
		text := strings.Repeat("0123456789abcdef", 1<<16)
		give := func(cmd *exec.Cmd) { cmd.Stdin = strings.NewReader(text) }
		if r := run(t, give, "exec", "-i", "--", "box", "cat"); r.out != text {
			t.Errorf("%d of %d bytes came back", len(r.out), len(text))
		}
		if r := run(t, give, "exec", "--", "box", "cat"); r.out != "" || r.code != 0 {
			t.Errorf("without -i: exit %d, %d bytes", r.code, len(r.out))
		}
	})
	t.Run("what it inherits", func(t *testing.T) {
		if got := sh(t, "box", "id -u; id -g; pwd; echo $FIRST"); got != "1000\n1000\n/tmp\nown" {
			t.Errorf("user, directory and environment: %q", got)
		}
		got := sh(t, "box", "echo $FIRST $SECOND; id -u; pwd", "-e", "FIRST=mine", "-e", "SECOND=2", "--uid", "0", "--gid", "0", "-w", "/made/here")
		if got != "own 2\n0\n/made/here" {
			t.Errorf("with options: %q", got)
		}
	})
	t.Run("refusals", func(t *testing.T) {
		refuses(t, `internalError: "failed to find target executable nothing"`, "exec", "--", "box", "nothing")
		refuses(t, `failed to find target executable /tmp`, "exec", "--", "box", "/tmp")
		refuses(t, "notFound", "exec", "--", "nobody", "true")
		r := container(t, "exec", "box", "--", "ls")
		if r.code != 1 || !strings.Contains(r.complaint, "executable --") {
			t.Errorf("-- behind the id: exit %d, %q", r.code, r.complaint)
		}
	})
	t.Run("detached", func(t *testing.T) {
		if got := must(t, "exec", "-d", "--", "box", "sh", "-c", "echo done >/tmp/detached"); got != "box\n" {
			t.Errorf("printed %q", got)
		}
		eventually(t, "the detached process writes", func() bool {
			return container(t, "exec", "--", "box", "cat", "/tmp/detached").out == "done\n"
		})
	})
	t.Run("a child that holds the output", func(t *testing.T) {
		start := time.Now()
		if got := sh(t, "box", "sleep 20 & echo said"); got != "said" {
			t.Errorf("printed %q", got)
		}
		if took := time.Since(start); took < 2500*time.Millisecond || took > 8*time.Second {
			t.Errorf("it took %s; the output is waited for three seconds", took)
		}
	})
	t.Run("a limit is ignored", func(t *testing.T) {
		if with, without := sh(t, "box", "ulimit -n", "--ulimit", "nofile=77"), sh(t, "box", "ulimit -n"); with != without {
			t.Errorf("the limit is %s, not %s", with, without)
		}
	})
}

// begin starts the program and waits until its guest process has said so.
func begin(t *testing.T, argv ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "container", argv...)
	var out bytes.Buffer
	reader, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(reader, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(&out, reader) }()
	return cmd, &out
}

func TestSignals(t *testing.T) {
	enter(t)
	guest(t, "box", "--network", "none")
	trap := func(name string) []string {
		return []string{"exec", "--", "box", "sh", "-c", "trap 'exit 9' " + name + "; echo ready; while :; do sleep 0.1; done"}
	}
	for name, signal := range map[string]unix.Signal{"TERM": unix.SIGTERM, "INT": unix.SIGINT, "USR1": unix.SIGUSR1, "USR2": unix.SIGUSR2} {
		t.Run(name, func(t *testing.T) {
			cmd, _ := begin(t, trap(name)...)
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 9 {
				t.Errorf("exit %d: the signal did not arrive", code)
			}
		})
	}
	t.Run("the third one ends the program", func(t *testing.T) {
		cmd, _ := begin(t, "exec", "--", "box", "sh", "-c", "trap '' TERM; echo ready; sleep 77")
		for range 3 {
			if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 1 {
			t.Errorf("exit %d, want 1", code)
		}
		sh(t, "box", "ps | grep '[s]leep 77'")
	})
	t.Run("KILL leaves the guest's process", func(t *testing.T) {
		cmd, _ := begin(t, "exec", "--", "box", "sh", "-c", "echo ready; sleep 88")
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		sh(t, "box", "ps | grep '[s]leep 88'")
	})
}

// capabilities are a process's sets and protections as the guest's kernel has
// them.
func capabilities(t *testing.T, id string, options ...string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for line := range strings.Lines(sh(t, id, "grep -E 'Cap|NoNew|Seccomp:' /proc/self/status", options...)) {
		name, value, _ := strings.Cut(line, ":")
		out[name] = strings.TrimSpace(value)
	}
	return out
}

func TestCapabilities(t *testing.T) {
	w := enter(t)
	// CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE
	// NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP
	const defaults, none = "00000000a80425fb", "0000000000000000"
	tests := map[string]struct {
		options             []string
		bounding, effective string
	}{
		"default":        {nil, defaults, defaults},
		"another user":   {[]string{"--uid", "1000", "--gid", "1000"}, defaults, none},
		"drop all":       {[]string{"--cap-drop", "ALL"}, none, none},
		"drop all, add":  {[]string{"--cap-drop", "all", "--cap-add", "net_bind_service"}, "0000000000000400", "0000000000000400"},
		"add, user":      {[]string{"--cap-drop", "ALL", "--cap-add", "CAP_KILL", "-u", "1000"}, "0000000000000020", none},
		"drop beats add": {[]string{"--cap-drop", "KILL", "--cap-add", "KILL"}, "00000000a80425db", "00000000a80425db"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			guest(t, "box", append(test.options, "--network", "none")...)
			got := capabilities(t, "box")
			if got["CapBnd"] != test.bounding || got["CapEff"] != test.effective || got["CapInh"] != none || got["CapAmb"] != none {
				t.Errorf("exec: %v", got)
			}
			if got["NoNewPrivs"] != "0" || got["Seccomp"] != "0" {
				t.Errorf("Apple's guest has neither: %v", got)
			}
			for line := range strings.Lines(sh(t, "box", "grep -E 'CapBnd|CapEff' /proc/1/status")) {
				if field := strings.Fields(line); field[1] != got[strings.TrimSuffix(field[0], ":")] {
					t.Errorf("process 1 differs: %s", line)
				}
			}
			if root := capabilities(t, "box", "--uid", "0", "--gid", "0"); root["CapEff"] != test.bounding || root["CapBnd"] != test.bounding {
				t.Errorf("exec as root: %v; it has the container's set", root)
			}
		})
	}
	t.Run("fault", func(t *testing.T) {
		guest(t, "box", "--network", "none", "--cap-drop", "ALL")
		w.SetFault(t, faults.ExecRegainsCaps, "")
		if got := capabilities(t, "box"); got["CapEff"] != defaults {
			t.Errorf("exec has %v", got)
		}
	})
}

func TestGuest(t *testing.T) {
	enter(t)
	network(t, "inside", "--internal")
	gateway := func(id string) string { return sh(t, id, defaultGateway) }

	t.Run("names", func(t *testing.T) {
		guest(t, "box", "--network", "inside")
		if got, want := sh(t, "box", "cat /etc/resolv.conf"), "nameserver "+gateway("box"); got != want {
			t.Errorf("resolv.conf is %q, not %q", got, want)
		}
		hosts := sh(t, "box", "cat /etc/hosts")
		if !strings.HasPrefix(hosts, "127.0.0.1 localhost\n192.168.") || !strings.HasSuffix(hosts, " box") || strings.Count(hosts, "\n") != 1 {
			t.Errorf("hosts is %q", hosts)
		}
		if got := sh(t, "box", "hostname"); got != "box" {
			t.Errorf("the host's name is %q", got)
		}
		for _, file := range []string{"/run/.containerenv", "/etc/hostname"} {
			if got := sh(t, "box", "grep -c ' "+file+" ' /proc/mounts; true"); got != "0" {
				t.Errorf("%s is mounted", file)
			}
		}
	})
	t.Run("asked-for names", func(t *testing.T) {
		guest(t, "box", "--network", "inside", "--dns", "9.9.9.9", "--dns-search", "a.example")
		if got := sh(t, "box", "cat /etc/resolv.conf"); got != "nameserver 9.9.9.9\nsearch a.example" {
			t.Errorf("resolv.conf is %q", got)
		}
	})
	t.Run("no network", func(t *testing.T) {
		guest(t, "box", "--network", "none")
		if got := sh(t, "box", "ls /sys/class/net; cat /etc/resolv.conf"); got != "lo" {
			t.Errorf("interfaces and nameservers: %q", got)
		}
	})
	t.Run("init", func(t *testing.T) {
		guest(t, "box", "--network", "none", "--init", "--read-only", "--tmpfs", "/tmp", "--ulimit", "nofile=99")
		if got := sh(t, "box", "cat /proc/1/comm"); got != ".cz-init" {
			t.Errorf("process 1 is %q", got)
		}
		if got := sh(t, "box", "ulimit -n; touch /tmp/x && echo written; touch /x 2>/dev/null || echo refused"); got != "99\nwritten\nrefused" {
			t.Errorf("limits and root: %q", got)
		}
		start := time.Now()
		must(t, "stop", "-t", "20", "box")
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("with an init, stopping took %s", took)
		}
	})
}

func TestMounts(t *testing.T) {
	enter(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("text\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	refuses(t, "does not exist", "create", "--name", "box", "-v", dir+"/nothing:/x", "--", world.AgentImage)
	refuses(t, "is not a directory", "create", "--name", "box", "--mount", "type=bind,source="+file+",target=/x", "--", world.AgentImage)
	guest(t, "box", "--network", "none", "-v", dir+":/dir:ro", "-v", file+":/file", "--mount", "type=bind,source="+dir+",target=/rw")
	if got := sh(t, "box", "cat /dir/file /file; touch /dir/x 2>/dev/null || echo refused; touch /rw/new && echo written"); got != "text\ntext\nrefused\nwritten" {
		t.Errorf("in the guest: %q", got)
	}
	t.Run("a source that goes", func(t *testing.T) {
		must(t, "stop", "-t", "0", "box")
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		refuses(t, "invalidState", "start", "box")
	})
}
