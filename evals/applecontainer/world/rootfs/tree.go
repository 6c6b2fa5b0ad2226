package rootfs

import (
	"archive/tar"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// The user that agents run as; the image has it in /etc/passwd.
const (
	AgentUser = "agent"
	AgentID   = 1000
	AgentHome = "/home/agent"
)

// tree writes entries, each with its parents before it.
type tree struct {
	tar  *tar.Writer
	done map[string]bool
	err  error
}

func newTree(w io.Writer) *tree {
	return &tree{tar: tar.NewWriter(w), done: map[string]bool{"": true, ".": true, "/": true}}
}

// add writes one entry unless there was one of the name; the first error stays.
func (t *tree) add(h tar.Header, content []byte) {
	h.Name = strings.Trim(path.Clean(h.Name), "/")
	if t.err != nil || t.done[h.Name] {
		return
	}
	if parent := path.Dir(h.Name); !t.done[parent] {
		t.dir(parent, 0o755, 0)
	}
	t.done[h.Name] = true
	h.Size = int64(len(content))
	if err := t.tar.WriteHeader(&h); err != nil {
		t.err = fmt.Errorf("%s cannot be written to the image: %w", h.Name, err)
		return
	}
	if _, err := t.tar.Write(content); err != nil {
		t.err = fmt.Errorf("%s cannot be written to the image: %w", h.Name, err)
	}
}

func (t *tree) dir(name string, mode int64, id int) {
	t.add(tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: mode, Uid: id, Gid: id}, nil)
}

func (t *tree) link(name, target string) {
	t.add(tar.Header{Name: name, Typeflag: tar.TypeSymlink, Mode: 0o777, Linkname: target}, nil)
}

func (t *tree) text(name, content string) {
	t.add(tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, []byte(content))
}

// copy takes a file of this machine, its links followed.
func (t *tree) copy(name, from string, mode int64) {
	if t.err != nil || t.done[strings.Trim(path.Clean(name), "/")] {
		return
	}
	content, err := os.ReadFile(from)
	if err != nil {
		t.err = fmt.Errorf("a file of the image is missing on this machine: %w", err)
		return
	}
	t.add(tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode}, content)
}

func (t *tree) close() error {
	if t.err != nil {
		return t.err
	}
	return t.tar.Close()
}
