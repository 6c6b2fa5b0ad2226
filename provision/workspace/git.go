package workspace

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend/archive"
)

// maxGitFile bounds the small files of a git directory that are looked into.
const maxGitFile = 1 << 20

// git looks at an entry that is a .git, or lies in one.
func (l *look) git(e archive.Entry) error {
	base := path.Base(e.Name)
	switch {
	case l.opts.Plain && base != "config" && base != "config.worktree":
		return nil
	case base == ".git" && !inGit(e.Name):
		return l.gitDir(e)
	case e.Type == fs.ModeDir && path.Base(path.Dir(e.Name)) == "worktrees":
		l.before.files, l.before.bytes = l.Files, l.Bytes
	case e.Type != 0:
		return nil
	case base == "config" || base == "config.worktree":
		return l.gitConfig(e)
	case base == "alternates" && strings.HasSuffix(e.Name, "/objects/info/alternates"):
		return l.alternates(e)
	case base == "gitdir" && path.Base(path.Dir(path.Dir(e.Name))) == "worktrees":
		return l.worktree(e)
	}
	return nil
}

// gitDir judges the .git of a working tree: a directory is copied, a file or link
// must lead to something that is copied too.
func (l *look) gitDir(e archive.Entry) error {
	switch e.Type {
	case fs.ModeSymlink:
		target, err := l.src.Root.Readlink(path.Join(l.src.Name, e.Name))
		if err != nil {
			return fmt.Errorf("read the link %s: %w", e.Name, err)
		}
		if filepath.IsAbs(target) || !inside(path.Join(path.Dir(e.Name), target)) {
			return refuse("%s is a link to %.200q, outside of what is copied, so git would not work in the bottle; name the checkout that has it, or make one of its own: git clone", e.Name, target)
		}
	case 0:
		return l.gitFile(e)
	}
	return nil
}

// gitFile is a .git file, which names the git directory of a submodule or of a
// linked worktree.
func (l *look) gitFile(e archive.Entry) error {
	text, err := e.Head(maxGitFile)
	if err != nil {
		return err
	}
	target, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "gitdir:")
	if !ok {
		return nil // git does not take it for one either
	}
	target = strings.TrimSpace(target)
	rel, ok := l.inWorkspace(target, path.Dir(e.Name))
	if !ok {
		return refuse("%s leads to the git directory %.300q outside of what is copied (%s), so git would not work in the bottle; %s", e.Name, target, kindOf(target), adviceFor(target))
	}
	if filepath.IsAbs(target) {
		l.change(e.Name, []byte("gitdir: "+path.Join(l.opts.Guest, rel)+"\n"), "copied with the path of its git directory in the bottle")
	}
	return nil
}

// kindOf says what a working tree is by where its git directory lies.
func kindOf(target string) string {
	switch {
	case strings.Contains(target, "/worktrees/"):
		return "it is a linked worktree"
	case strings.Contains(target, "/modules/"):
		return "it is a submodule's checkout"
	}
	return "it is kept apart from its checkout"
}

func adviceFor(target string) string {
	if main, _, ok := strings.Cut(target, "/.git/"); ok && filepath.IsAbs(target) {
		return fmt.Sprintf("name %.300q, or make a checkout of its own: git clone %.300q DIRECTORY", main, main)
	}
	return "name the checkout that has it, or make one of its own: git clone, and git submodule absorbgitdirs for submodules"
}

// inWorkspace gives target, which may be relative to dir, relative to the workspace.
func (l *look) inWorkspace(target, dir string) (string, bool) {
	if filepath.IsAbs(target) {
		rel, err := filepath.Rel(l.opts.Host, target)
		return filepath.ToSlash(rel), err == nil && inside(rel)
	}
	rel := path.Join(dir, filepath.ToSlash(target))
	return rel, inside(rel)
}

func inside(rel string) bool { return filepath.IsLocal(rel) }

// worktree is the back link of a linked worktree. One that lies elsewhere is not
// copied, and its registration is of no use.
func (l *look) worktree(e archive.Entry) error {
	text, err := e.Head(maxGitFile)
	if err != nil {
		return err
	}
	target := strings.TrimSpace(string(text))
	rel, ok := l.inWorkspace(target, path.Dir(e.Name))
	switch {
	case !ok:
		l.leave(path.Dir(e.Name), "left out: the linked worktree lies outside of what is copied")
		l.Files, l.Bytes = l.before.files, l.before.bytes
		return fs.SkipDir
	case filepath.IsAbs(target):
		l.change(e.Name, []byte(path.Join(l.opts.Guest, rel)+"\n"), "copied with the path of the worktree in the bottle")
	}
	return nil
}

// alternates are other repositories that this one takes objects from.
func (l *look) alternates(e archive.Entry) error {
	text, err := e.Head(maxGitFile)
	if err != nil {
		return err
	}
	objects := path.Dir(path.Dir(e.Name))
	var out []string
	changed := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		rel, ok := l.inWorkspace(line, objects)
		if !ok {
			return refuse("its git directory takes objects from %.300q outside of what is copied, so git would not work in the bottle; make it whole first: git repack -a -d && rm %s", line, e.Name)
		}
		if filepath.IsAbs(line) {
			line, changed = path.Join(l.opts.Guest, rel), true
		}
		out = append(out, line)
	}
	if changed {
		l.change(e.Name, []byte(strings.Join(out, "\n")+"\n"), "copied with paths in the bottle")
	}
	return nil
}

var (
	// userinfo is a login in the URL of a remote.
	userinfo = regexp.MustCompile(`(?i)(https?://)[^/@\s"]+@`)
	// header is a header with a login, as build systems leave it behind.
	header = regexp.MustCompile(`(?i)^\s*extraheader\s*=`)
)

// gitConfig takes logins out of a repository's configuration. The rest of it the
// guest's git needs.
func (l *look) gitConfig(e archive.Entry) error {
	if l.opts.Secrets {
		return nil
	}
	if e.Size > maxGitFile {
		l.leave(e.Name, "left out: it is too large to be searched for logins")
		return nil
	}
	text, err := e.Head(maxGitFile)
	if err != nil {
		return err
	}
	clean := withoutLogins(text)
	if !bytes.Equal(clean, text) {
		l.change(e.Name, clean, "copied without the login in it")
	}
	return nil
}

func withoutLogins(text []byte) []byte {
	var out []byte
	dropping := false
	for line := range bytes.Lines(text) {
		trimmed := bytes.TrimRight(line, "\r\n")
		continues := bytes.HasSuffix(trimmed, []byte(`\`))
		if dropping || header.Match(line) {
			dropping = continues
			continue
		}
		out = append(out, userinfo.ReplaceAll(line, []byte("$1"))...)
	}
	return out
}
