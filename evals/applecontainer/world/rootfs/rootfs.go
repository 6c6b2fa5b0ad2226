package rootfs

import (
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Sources are the files of this machine that an image is made from.
type Sources struct {
	Busybox string   // statically linked
	Roots   string   // CA certificates, PEM
	Tools   []string // programs with shared libraries, by path; may be empty
}

// Write writes an agent's root file system: a shell and the usual tools by
// busybox, users root and agent, the CA roots at Debian's place, and Tools with
// every library they need.
func Write(ctx context.Context, w io.Writer, s Sources) error {
	t := newTree(w)
	for _, d := range []string{"usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc", "proc", "sys", "dev", "run", "var/log", "home", "usr/share/git-core/templates"} {
		t.dir(d, 0o755, 0)
	}
	// Debian's merged layout, so that paths of this machine's programs hold.
	for _, d := range []string{"bin", "sbin", "lib", "lib64"} {
		t.link(d, "usr/"+d)
	}
	t.dir("root", 0o700, 0)
	t.dir("tmp", 0o1777, 0)
	t.dir("var/tmp", 0o1777, 0)
	t.dir(AgentHome, 0o755, AgentID)
	t.text("etc/passwd", fmt.Sprintf("root:x:0:0:root:/root:/bin/sh\n%s:x:%d:%d::%s:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/false\n", AgentUser, AgentID, AgentID, AgentHome))
	t.text("etc/group", fmt.Sprintf("root:x:0:\n%s:x:%d:\nnogroup:x:65534:\n", AgentUser, AgentID))
	t.text("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
	t.text("etc/os-release", "ID=debian\nVERSION_CODENAME=stable\nPRETTY_NAME=\"A test image\"\n")
	// Guests without a resolver of their own keep what the image has: nothing.
	t.text("etc/resolv.conf", "")
	t.text("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")
	t.copy("etc/ssl/certs/ca-certificates.crt", s.Roots, 0o644)
	t.tools(ctx, s.Tools)
	t.busybox(ctx, s.Busybox)
	return t.close()
}

// busybox adds the program and a link for each of its applets. What Tools
// brought before stays.
func (t *tree) busybox(ctx context.Context, from string) {
	if t.err != nil {
		return
	}
	if t.err = static(from); t.err != nil {
		return
	}
	out, err := exec.CommandContext(ctx, from, "--list").Output()
	if err != nil {
		t.err = fmt.Errorf("busybox does not list its applets: %w", err)
		return
	}
	t.copy("usr/bin/busybox", from, 0o755)
	for applet := range strings.FieldsSeq(string(out)) {
		t.link("usr/bin/"+path.Base(applet), "busybox")
	}
}

// static refuses a program that needs a loader the image does not have.
func static(from string) error {
	program, err := elf.Open(from)
	if err != nil {
		return fmt.Errorf("busybox cannot be read: %w", err)
	}
	defer func() { _ = program.Close() }()
	if slices.ContainsFunc(program.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return fmt.Errorf("%s is dynamically linked: apt-get install busybox-static", from)
	}
	return nil
}

// tools adds programs at their own paths, with links resolved, and libraries
// where the loader asks for them.
func (t *tree) tools(ctx context.Context, programs []string) {
	for _, p := range programs {
		t.copy(place(p), p, 0o755)
		out, err := exec.CommandContext(ctx, "ldd", p).CombinedOutput()
		if err != nil && !bytes.Contains(out, []byte("not a dynamic executable")) {
			t.err = fmt.Errorf("the libraries of %s are not known: %w: %s", p, err, out)
			return
		}
		for _, library := range libraries(string(out)) {
			t.copy(place(library), library, 0o755)
		}
	}
}

// libraries reads ldd's lines: "name => /path (address)" and "/path (address)".
func libraries(ldd string) []string {
	var found []string
	for line := range strings.Lines(ldd) {
		for field := range strings.FieldsSeq(line) {
			if filepath.IsAbs(field) {
				found = append(found, field)
				break
			}
		}
	}
	return found
}

// place is where a file of this machine stands in the image: its top directory
// may be a link there.
func place(p string) string {
	if top, _, _ := strings.Cut(strings.TrimPrefix(p, "/"), "/"); slices.Contains([]string{"bin", "sbin", "lib", "lib64"}, top) {
		return "/usr" + p
	}
	return p
}

// Programs finds commands and files by name; a path stands for itself.
func Programs(names ...string) ([]string, error) {
	var paths []string
	for _, n := range names {
		p, err := exec.LookPath(n)
		if err != nil {
			if _, err = os.Stat(n); err != nil {
				return nil, fmt.Errorf("%s is missing on this machine: %w", n, err)
			}
			p = n
		}
		paths = append(paths, p)
	}
	return paths, nil
}
