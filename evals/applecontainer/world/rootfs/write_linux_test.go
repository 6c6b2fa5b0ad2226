package rootfs

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// fake is a program that lists applets as busybox does, which this machine may
// not have. Go's programs are static.
func fake(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	source, program := filepath.Join(dir, "main.go"), filepath.Join(dir, "busybox")
	text := "package main\n\nimport \"os\"\n\nfunc main() { os.Stdout.WriteString(\"sh\\ncat\\nbusybox\\n\") }\n"
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

func TestWrite(t *testing.T) {
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, []byte("roots"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := Sources{Busybox: fake(t), Roots: roots}
	var first, second bytes.Buffer
	if err := Write(t.Context(), &first, s); err != nil {
		t.Fatal(err)
	}
	if err := Write(t.Context(), &second, s); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same machine wrote two images")
	}
	_, entries := read(t, first.Bytes())
	for name, want := range map[string]tar.Header{
		"usr/bin/busybox":                   {Typeflag: tar.TypeReg, Mode: 0o755},
		"usr/bin/sh":                        {Typeflag: tar.TypeSymlink, Mode: 0o777, Linkname: "busybox"},
		"bin":                               {Typeflag: tar.TypeSymlink, Mode: 0o777, Linkname: "usr/bin"},
		"tmp":                               {Typeflag: tar.TypeDir, Mode: 0o1777},
		"root":                              {Typeflag: tar.TypeDir, Mode: 0o700},
		"home/agent":                        {Typeflag: tar.TypeDir, Mode: 0o755, Uid: AgentID, Gid: AgentID},
		"etc/ssl/certs/ca-certificates.crt": {Typeflag: tar.TypeReg, Mode: 0o644},
	} {
		got, ok := entries[name]
		if !ok || got.Typeflag != want.Typeflag || got.Mode != want.Mode || got.Linkname != want.Linkname || got.Uid != want.Uid || got.Gid != want.Gid {
			t.Errorf("%s is %+v", name, got)
		}
	}
}
