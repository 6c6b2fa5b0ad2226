package images

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
)

func copyTo(t *testing.T, from string, path ...string) string {
	t.Helper()
	to := filepath.Join(path...)
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return to
}

// of is a build with a revision.
func of(revision string) func() (*debug.BuildInfo, bool) {
	return func() (*debug.BuildInfo, bool) {
		return &debug.BuildInfo{Main: debug.Module{Path: modulePath, Version: revision}}, true
	}
}

func TestTwinOrder(t *testing.T) {
	good := buildTwin(t, "arm64")
	i := newImages(t, newFake(), env{})
	exe, err := i.host.executable()
	if err != nil {
		t.Fatal(err)
	}
	// The executable is reached by a symlink, as package managers have it.
	linked := filepath.Join(t.TempDir(), "links", "bottle-mcp")
	if err := os.MkdirAll(filepath.Dir(linked), 0o755); err != nil {
		t.Fatal(err)
	}
	copyTo(t, good, exe)
	if err := os.Symlink(exe, linked); err != nil {
		t.Fatal(err)
	}
	i.host.executable = func() (string, error) { return linked, nil }

	_, err = i.Twin(t.Context())
	mustContain(t, err, "just sidecar-linux arm64", "bottle-mcp-linux-arm64", EnvLinuxBinary)

	// Each step is found before the one that was found last.
	steps := []struct {
		name string
		put  func() string
	}{
		{"bin beside the file behind the link", func() string { return copyTo(t, good, filepath.Dir(exe), "bin", twinName("arm64")) }},
		{"beside the file behind the link", func() string { return copyTo(t, good, filepath.Dir(exe), twinName("arm64")) }},
		{"bin beside the link", func() string { return copyTo(t, good, filepath.Dir(linked), "bin", twinName("arm64")) }},
		{"beside the link", func() string { return copyTo(t, good, filepath.Dir(linked), twinName("arm64")) }},
		{"named", func() string {
			path := copyTo(t, good, t.TempDir(), "named")
			i.cfg.LookupEnv = env{EnvLinuxBinary: path}.lookup
			return path
		}},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			want := step.put()
			got, err := i.Twin(t.Context())
			if err != nil || got != want {
				t.Fatalf("Twin = %q, %v; want %q", got, err, want)
			}
		})
	}
}

func TestTwinIsThisExecutableOnLinux(t *testing.T) {
	exe := buildTwin(t, "amd64")
	i := newImages(t, newFake(), env{})
	i.cfg.Architecture = i.host.arch
	i.host.executable = func() (string, error) { return exe, nil }
	if got, err := i.Twin(t.Context()); err != nil || got != exe {
		t.Fatalf("Twin = %q, %v; want %q", got, err, exe)
	}
}

func TestEmbeddedTwin(t *testing.T) {
	good, err := os.ReadFile(buildTwin(t, "arm64"))
	if err != nil {
		t.Fatal(err)
	}
	i := newImages(t, newFake(), env{})
	i.host.twin = string(good)
	path, err := i.Twin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, good) {
		t.Fatalf("the unpacked twin differs (%v)", err)
	}
	before, err := os.Stat(path)
	if err != nil || before.Mode().Perm() != 0o755 {
		t.Fatalf("mode %v, %v; want 0755", before.Mode(), err)
	}
	t.Run("written once", func(t *testing.T) {
		fresh := newImages(t, newFake(), env{})
		fresh.cfg.CacheDir, fresh.host.twin = i.cfg.CacheDir, i.host.twin
		again, err := fresh.Twin(t.Context())
		if err != nil || again != path {
			t.Fatalf("Twin = %q, %v; want %q", again, err, path)
		}
		if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
			t.Fatalf("the file was written again (%v)", err)
		}
	})
	t.Run("a damaged copy is replaced", func(t *testing.T) {
		for name, damage := range map[string][]byte{"cut": good[:100], "changed": append([]byte{0}, good[1:]...)} {
			if err := os.WriteFile(path, damage, 0o755); err != nil {
				t.Fatal(err)
			}
			fresh := newImages(t, newFake(), env{})
			fresh.cfg.CacheDir, fresh.host.twin = i.cfg.CacheDir, i.host.twin
			if _, err := fresh.Twin(t.Context()); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if rest, err := filepath.Glob(filepath.Join(i.cfg.CacheDir, "*.*")); err != nil || len(rest) > 0 {
			t.Fatalf("left in the cache: %v, %v", rest, err)
		}
	})
	t.Run("not for other guests", func(t *testing.T) {
		i.cfg.Architecture = "riscv64"
		_, err := i.Twin(t.Context())
		mustContain(t, err, "just sidecar-linux")
	})
}

// patched changes bytes of a binary.
func patched(t *testing.T, path string, change func([]byte)) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	change(data)
	out := filepath.Join(t.TempDir(), "patched")
	if err := os.WriteFile(out, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return out
}

// withInterpreter turns the first segment that is not loaded into the name of
// a loader.
func withInterpreter(data []byte) {
	offset := binary.LittleEndian.Uint64(data[32:])
	for n := range binary.LittleEndian.Uint16(data[56:]) {
		segment := data[offset+uint64(n)*56:]
		if kind := binary.LittleEndian.Uint32(segment); kind != 1 {
			binary.LittleEndian.PutUint32(segment, 3)
			return
		}
	}
}

func TestInspectBinary(t *testing.T) {
	good := buildTwin(t, "arm64")
	other := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module example.com/other\n\ngo 1.26\n", "main.go": "package main\n\nfunc main() {}\n"} {
		if err := os.WriteFile(filepath.Join(other, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	plain := copyTo(t, good, t.TempDir(), "plain")
	if err := os.Chmod(plain, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		path, arch string
		want       []string // of the error; nil = none
	}{
		"good":          {good, "arm64", nil},
		"missing":       {filepath.Join(t.TempDir(), "nothing"), "arm64", []string{"no such file"}},
		"directory":     {t.TempDir(), "arm64", []string{"not a program file"}},
		"not ELF":       {text, "arm64", []string{"not a linux program"}},
		"not runnable":  {plain, "arm64", []string{"chmod"}},
		"wrong machine": {good, "amd64", []string{"EM_AARCH64", "EM_X86_64"}},
		"unknown arch":  {good, "m68k", []string{"m68k"}},
		"dynamic":       {patched(t, good, withInterpreter), "arm64", []string{"CGO_ENABLED=0"}},
		"an object":     {patched(t, good, func(b []byte) { b[16] = 1 }), "arm64", []string{"ET_REL"}},
		"other module":  {program{dir: other, pkg: ".", arch: "arm64"}.build(t), "arm64", []string{"example.com/other", modulePath}},
		"no build info": {patched(t, good, func(b []byte) {
			if n := bytes.Index(b, []byte("\xff Go buildinf:")); n >= 0 {
				b[n] = 0
			}
		}), "arm64", []string{"does not say what it is"}},
	} {
		t.Run(name, func(t *testing.T) {
			build, err := inspectBinary(tc.path, tc.arch)
			if tc.want != nil {
				mustContain(t, err, tc.want...)
				return
			}
			if err != nil || build.Main.Path != modulePath {
				t.Fatalf("inspectBinary = %v, %v", build, err)
			}
		})
	}
}

func TestDiffers(t *testing.T) {
	build := func(version, revision string) *debug.BuildInfo {
		b := &debug.BuildInfo{Main: debug.Module{Version: version}}
		if revision != "" {
			b.Settings = []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: revision}}
		}
		return b
	}
	for name, tc := range map[string]struct {
		host, guest *debug.BuildInfo
		differ      bool
	}{
		"same":                     {build("v1.2.3", "abc"), build("v1.2.3", "abc"), false},
		"other revision":           {build("v1.2.3", "abc"), build("v1.2.3", "def"), true},
		"other version":            {build("v1.2.3", ""), build("v1.2.4", ""), true},
		"host knows nothing":       {build("(devel)", ""), build("v1.2.4", "abc"), false},
		"guest knows nothing":      {build("v1.2.4", "abc"), build("", ""), false},
		"changes in the tree":      {build("v0.0.0-1-abc+dirty", "abc"), build("v0.0.0-1-abc", "abc"), false},
		"versions, one revision":   {build("v1.2.3", "abc"), build("v1.2.4", ""), true},
		"revision beats (devel)":   {build("(devel)", "abc"), build("(devel)", "def"), true},
		"revision of one is known": {build("(devel)", "abc"), build("(devel)", ""), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := differs(tc.host, tc.guest); (got != "") != tc.differ {
				t.Errorf("differs = %q, want a difference: %v", got, tc.differ)
			}
		})
	}
}

func TestTwinOfAnotherBuild(t *testing.T) {
	i := newImages(t, newFake(), env{})
	exe, err := i.host.executable()
	if err != nil {
		t.Fatal(err)
	}
	path := copyTo(t, buildTwin(t, "arm64"), filepath.Dir(exe), twinName("arm64"))
	ours, err := inspectBinary(path, "arm64")
	if err != nil {
		t.Fatal(err)
	}
	i.host.build = of("v9.9.9")
	// The test's twin says "(devel)", which matches everything, so a release is
	// played by its own words.
	if version(ours) != "" {
		t.Fatalf("the test's twin has the version %q", ours.Main.Version)
	}
	if _, err := i.Twin(t.Context()); err != nil {
		t.Fatalf("a build that does not know its version is refused: %v", err)
	}
	released := patched(t, path, func(b []byte) {
		for {
			n := bytes.Index(b, []byte("(devel)"))
			if n < 0 {
				return
			}
			copy(b[n:], "v1.0.00")
		}
	})
	copyTo(t, released, path)
	_, err = i.Twin(t.Context())
	mustContain(t, err, "v9.9.9", "v1.0.00", "just sidecar-linux", EnvLinuxBinary)

	t.Run("named by the operator", func(t *testing.T) {
		var log bytes.Buffer
		i.log = slog.New(slog.NewTextHandler(&log, nil))
		i.cfg.LookupEnv = env{EnvLinuxBinary: path}.lookup
		if got, err := i.Twin(t.Context()); err != nil || got != path {
			t.Fatalf("Twin = %q, %v", got, err)
		}
		if !bytes.Contains(log.Bytes(), []byte("v9.9.9")) || !bytes.Contains(log.Bytes(), []byte("level=WARN")) {
			t.Errorf("no warning: %s", &log)
		}
	})
	t.Run("named but useless", func(t *testing.T) {
		i.cfg.LookupEnv = env{EnvLinuxBinary: filepath.Join(t.TempDir(), "gone")}.lookup
		_, err := i.Twin(t.Context())
		mustContain(t, err, EnvLinuxBinary, "no such file")
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := i.Twin(ctx); err == nil {
			t.Fatal("no error")
		}
	})
}
