package world

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
)

// Podman runs one command of the engine under the stand-in and returns its
// standard output.
func Podman(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, find("podman"), args...)
	var out, complaint strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("podman %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(complaint.String()))
	}
	return out.String(), nil
}

// Engine is what there is in the world, as the engine and the kernel tell it
// themselves; the stand-in is not asked. Each list is sorted.
type Engine struct {
	Containers []string // names; those of unfinished builds too
	Networks   []string // without Podman's default one
	Volumes    []string
	Images     []string // names, or ids of the nameless
	Links      []string // network cards, without lo and the uplink
	Rules      []string // firewall rules of HardenInternal
	Processes  []string // of the engine and of the stand-in, by name
	Sockets    []string // bound UNIX sockets in the file system
	Files      []string // below the state directory, beside the contract's own
}

// Engine lists everything.
func (w *World) Engine(t testing.TB) Engine {
	t.Helper()
	e, err := w.listEngine(t.Context())
	if err != nil {
		t.Fatalf("the engine cannot be listed: %v", err)
	}
	return e
}

func (w *World) listEngine(ctx context.Context) (Engine, error) {
	var e Engine
	// Each of these is a program that takes its time, and they do not meet.
	queries := []struct {
		into *[]string
		args []string
	}{
		{&e.Containers, []string{"ps", "--all", "--external", "--format", "{{.Names}}"}},
		{&e.Networks, []string{"network", "ls", "--format", "{{.Name}}"}},
		{&e.Volumes, []string{"volume", "ls", "--format", "{{.Name}}"}},
		{&e.Images, []string{"images", "--all", "--format", "{{if eq .Repository \"<none>\"}}{{.ID}}{{else}}{{.Repository}}:{{.Tag}}{{end}}"}},
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, q := range queries {
		g.Go(func() error {
			out, err := Podman(gctx, q.args...)
			*q.into = sortedLines(out)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return e, err
	}
	e.Networks = slices.DeleteFunc(e.Networks, func(n string) bool { return n == "podman" })
	var errs [5]error
	e.Links, errs[0] = links()
	e.Rules, errs[1] = rules(ctx)
	e.Processes, errs[2] = processes(w.layout.standin())
	e.Sockets, errs[3] = sockets()
	e.Files, errs[4] = w.leftFiles()
	return e, errors.Join(errs[:]...)
}

// Since returns what is in e and was not in before, one line each with its
// kind in front: empty when nothing was left behind.
func (e Engine) Since(before Engine) []string {
	var left []string
	was, now := before.lists(), e.lists()
	for _, kind := range []string{"container", "network", "volume", "image", "link", "rule", "process", "socket", "file"} {
		// Lists hold a name as often as there are such things.
		rest := slices.Clone(was[kind])
		for _, name := range now[kind] {
			if i := slices.Index(rest, name); i >= 0 {
				rest = slices.Delete(rest, i, i+1)
			} else {
				left = append(left, kind+" "+name)
			}
		}
	}
	return left
}

func (e Engine) lists() map[string][]string {
	return map[string][]string{
		"container": e.Containers, "network": e.Networks, "volume": e.Volumes, "image": e.Images,
		"link": e.Links, "rule": e.Rules, "process": e.Processes, "socket": e.Sockets, "file": e.Files,
	}
}

func sortedLines(out string) []string {
	lines := strings.FieldsFunc(out, func(r rune) bool { return r == '\n' })
	slices.Sort(lines)
	return lines
}

func links() ([]string, error) {
	entries, err := os.ReadDir("/sys/class/net")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		// Beside its directory of links the kernel has files here (bonding).
		if e.Name() != "lo" && e.Name() != uplink && e.Type()&fs.ModeSymlink != 0 {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func rules(ctx context.Context) ([]string, error) {
	var found []string
	for _, family := range families() {
		rules, err := listRules(ctx, family)
		if err != nil {
			return nil, err
		}
		for _, rule := range rules {
			found = append(found, family+" "+rule)
		}
	}
	slices.Sort(found)
	return found, nil
}

// processes names those that an abandoned call or guest leaves: the engine's,
// and the stand-in's under whatever name it runs.
func processes(standin string) ([]string, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	engines := []string{"conmon", "crun", "podman", "aardvark-dns", "netavark", "rootlessport"}
	var found []string
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		exe, _ := os.Readlink(filepath.Join("/proc", e.Name(), "exe"))
		comm, err := os.ReadFile(filepath.Join("/proc", e.Name(), "comm"))
		name := strings.TrimSpace(string(comm))
		if err == nil && (exe == standin || slices.Contains(engines, name)) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found, nil
}

func sockets() ([]string, error) {
	table, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return nil, err
	}
	var found []string
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) == 8 && strings.HasPrefix(fields[7], "/") && !slices.Contains(found, fields[7]) {
			found = append(found, fields[7])
		}
	}
	slices.Sort(found)
	return found, nil
}

func (w *World) leftFiles() ([]string, error) {
	var found []string
	state := w.layout.state()
	err := filepath.WalkDir(state, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // it went while we walked
			return nil
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(state, path)
		if err != nil {
			return err
		}
		if d.IsDir() && (name == "faults" || name == "mac") {
			return fs.SkipDir
		}
		if !d.IsDir() && name != callsFile {
			found = append(found, name)
		}
		return nil
	})
	return found, err
}
