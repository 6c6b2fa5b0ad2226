package provision

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode"

	"github.com/bottle-mcp/bottle-mcp/provision/provider"
	"github.com/bottle-mcp/bottle-mcp/provision/setup"
)

// Bounds of skills.
const (
	maxSkillFiles = 1000
	maxSkillDepth = 16
	// maxSkillFile is what the guest's half reads back of one file.
	maxSkillFile  = 8 << 20
	maxSkillBytes = 32 << 20
)

// hostSkills is where skills are looked for, below the home. A workspace has no
// say: what an agent can do is the operator's.
const hostSkills = ".claude/skills"

// skill is one skill of this host.
type skill struct {
	name  string
	dir   string // on the host, without links
	guest string // directory in the guest
}

// skills finds what an agent's file names. Everything about them that can be
// wrong is a problem of the plan.
func (d *draft) skills(names []string, r *provider.Resolved) []skill {
	const field = "skills of the agent"
	if len(names) == 0 {
		return nil
	}
	if r.SkillsDir == "" {
		d.fail(field, "the provider %s has no place for skills; remove them or choose another provider", r.Provider)
		return nil
	}
	home, ok := d.m.cfg.LookupEnv("HOME")
	if !ok || !filepath.IsAbs(home) {
		d.fail(field, "the variable HOME, below which %s is, is not set", hostSkills)
		return nil
	}
	var out []skill
	room := maxSkillBytes
	for _, name := range names {
		s := skill{name: name, guest: path.Join(r.SkillsDir, name)}
		at := filepath.Join(home, hostSkills, name)
		dir, err := filepath.EvalSymlinks(at) // people link skills from where they write them
		if errors.Is(err, fs.ErrNotExist) {
			d.fail(field, "there is no skill %q: %s does not exist", name, at)
			continue
		}
		s.dir = dir
		if err == nil {
			_, err = s.walk(&room, false)
		}
		if err != nil {
			d.fail(field, "the skill %q cannot be used: %v", name, cause(err))
			continue
		}
		out = append(out, s)
	}
	return out
}

// read gives the skill's files with their content.
func (s skill) read(room *int) ([]setup.File, error) {
	files, err := s.walk(room, true)
	if err != nil {
		return nil, fmt.Errorf("the skill %q cannot be used: %w", s.name, err)
	}
	return files, nil
}

// walk lists all files of the skill, sorted. Whatever links it has, nothing
// outside of it is read.
func (s skill) walk(room *int, content bool) ([]setup.File, error) {
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	if info, err := root.Stat("SKILL.md"); err != nil || !info.Mode().IsRegular() {
		return nil, errors.New("it has no file SKILL.md")
	}
	w := &skillWalk{skill: s, root: root, room: room, content: content}
	err = w.dir(".", 0)
	return w.files, err
}

// skillWalk is one walk through a skill.
type skillWalk struct {
	skill

	root    *os.Root
	room    *int
	content bool
	files   []setup.File
}

func (w *skillWalk) dir(rel string, depth int) error {
	if depth > maxSkillDepth {
		return fmt.Errorf("%s is nested deeper than %d directories; is a link in it leading in a circle?", rel, maxSkillDepth)
	}
	d, err := w.root.Open(rel)
	if err != nil {
		return err
	}
	entries, err := d.ReadDir(-1)
	_ = d.Close()
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, e := range entries {
		if err := w.entry(path.Join(rel, e.Name()), depth); err != nil {
			return err
		}
	}
	return nil
}

// entry takes a file or what a link inside of the skill leads to.
func (w *skillWalk) entry(rel string, depth int) error {
	if strings.ContainsFunc(rel, unicode.IsControl) {
		return fmt.Errorf("%q is not a name that a skill may have", rel)
	}
	info, err := w.root.Stat(rel)
	switch {
	case err != nil:
		return fmt.Errorf("%s is a link that leads out of the skill or nowhere: %w", rel, cause(err))
	case info.IsDir():
		return w.dir(rel, depth+1)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is neither a file nor a directory", rel)
	case info.Size() > maxSkillFile:
		return fmt.Errorf("%s is larger than %d bytes", rel, maxSkillFile)
	case len(w.files) == maxSkillFiles:
		return fmt.Errorf("it has more than %d files", maxSkillFiles)
	}
	f := setup.File{Path: path.Join(w.guest, rel), How: setup.Replace, Mode: 0o644}
	if info.Mode()&0o100 != 0 {
		f.Mode = 0o755
	}
	size := int(info.Size())
	if w.content {
		if f.Content, err = w.load(rel); err != nil {
			return err
		}
		size = len(f.Content)
	}
	if *w.room -= size; *w.room < 0 {
		return fmt.Errorf("the skills of one agent have more than %d bytes", maxSkillBytes)
	}
	w.files = append(w.files, f)
	return nil
}

func (w *skillWalk) load(rel string) ([]byte, error) {
	f, err := w.root.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxSkillFile+1))
	if err == nil && len(data) > maxSkillFile {
		err = fmt.Errorf("%s is larger than %d bytes", rel, maxSkillFile)
	}
	return data, err
}
