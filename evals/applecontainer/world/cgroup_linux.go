package world

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// hierarchy is one mounted cgroup tree and the group in it that is the whole
// tree to the world: what Podman makes there goes with the world.
type hierarchy struct {
	Mount   string `json:"mount"`
	Group   string `json:"group"`
	Options string `json:"options"` // v1: controllers as a mount option
	Unified bool   `json:"unified"`
}

const groupPrefix = "bottle-world-"

// maxTasks bounds the processes and threads of a world: a test that forks
// without end shall not take the machine with it.
const maxTasks = "8192"

// makeGroups makes a group in every tree that the world will see. Where both
// versions are mounted only the first is: crun refuses the mixture, and Podman
// must not find the second.
func makeGroups() ([]hierarchy, error) {
	trees, err := mountedTrees()
	if err != nil {
		return nil, err
	}
	name := groupPrefix + strconv.Itoa(os.Getpid())
	for i, t := range trees {
		group := filepath.Join(t.Group, name)
		if err := makeGroup(t, group); err != nil {
			removeGroups(trees[:i])
			return nil, err
		}
		trees[i].Group = group
	}
	return trees, nil
}

func makeGroup(t hierarchy, group string) error {
	top := group
	if t.Unified {
		// Podman limits what these controllers can: each alone, because one
		// that the kernel lacks refuses the whole line.
		for _, c := range []string{"cpu", "cpuset", "memory", "pids", "io"} {
			_ = os.WriteFile(filepath.Join(t.Group, "cgroup.subtree_control"), []byte("+"+c), 0o644)
		}
		group = filepath.Join(group, "init")
	}
	if err := os.MkdirAll(group, 0o755); err != nil {
		return fmt.Errorf("the world's cgroup cannot be made: %w", err)
	}
	limit := filepath.Join(top, "pids.max")
	if _, err := os.Stat(limit); err == nil {
		if err := os.WriteFile(limit, []byte(maxTasks), 0o644); err != nil {
			return fmt.Errorf("the world's processes cannot be bounded: %w", err)
		}
	}
	if !strings.Contains(","+t.Options+",", ",cpuset,") {
		return nil
	}
	// A new group of this controller takes no process before it has both.
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(filepath.Dir(group), file))
		if err == nil {
			err = os.WriteFile(filepath.Join(group, file), value, 0o644)
		}
		if err != nil {
			return fmt.Errorf("the world's cgroup cannot be filled: %w", err)
		}
	}
	return nil
}

// mountedTrees finds the trees: version 1 when there is any, below the groups
// that we are in; else version 2, from its root, because a group with
// processes in it hands no controller on.
func mountedTrees() ([]hierarchy, error) {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("the mounts cannot be read: %w", err)
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("the own cgroups cannot be read: %w", err)
	}
	trees := parseTrees(string(info), string(own))
	if len(trees) == 0 {
		return nil, errors.New("no cgroup tree is mounted: mount one at /sys/fs/cgroup")
	}
	return trees, nil
}

func parseTrees(mountinfo, own string) []hierarchy {
	groups := map[string]string{} // v1 controllers → our group
	for line := range strings.Lines(own) {
		if parts := strings.SplitN(strings.TrimSpace(line), ":", 3); len(parts) == 3 {
			groups[parts[1]] = parts[2]
		}
	}
	seen := map[string]bool{} // a tree may be mounted twice
	var first []hierarchy
	var second *hierarchy
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		fields, tail := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(tail) < 3 {
			continue
		}
		root, mount := fields[3], fields[4]
		switch tail[0] {
		case "cgroup2":
			if second == nil {
				second = &hierarchy{Mount: mount, Group: mount, Unified: true}
			}
		case "cgroup":
			if t, ok := firstVersion(mount, root, tail[2], groups); ok && !seen[t.Options] {
				seen[t.Options] = true
				first = append(first, t)
			}
		}
	}
	if len(first) == 0 && second != nil {
		return []hierarchy{*second}
	}
	return first
}

func firstVersion(mount, root, super string, groups map[string]string) (hierarchy, bool) {
	has := ","
	for option := range strings.SplitSeq(super, ",") {
		has += option + ","
	}
	for controllers, group := range groups {
		if controllers == "" || !containsAll(has, controllers) {
			continue
		}
		options := controllers
		if strings.HasPrefix(controllers, "name=") {
			options = "none," + controllers
		}
		relative := strings.TrimPrefix(group, strings.TrimSuffix(root, "/"))
		return hierarchy{Mount: mount, Group: filepath.Join(mount, relative), Options: options}, true
	}
	return hierarchy{}, false
}

func containsAll(has, controllers string) bool {
	for c := range strings.SplitSeq(controllers, ",") {
		if !strings.Contains(has, ","+c+",") {
			return false
		}
	}
	return true
}

// enterGroups moves the calling process into the world's groups and makes them
// the roots of what it sees. Namespaces belong to threads: the caller must be
// locked to its thread and execute itself next.
func enterGroups(trees []hierarchy) error {
	join := func(group string) error {
		if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte("0"), 0o644); err != nil {
			return fmt.Errorf("the world's cgroup cannot be entered: %w", err)
		}
		return nil
	}
	for _, t := range trees {
		if err := join(t.Group); err != nil {
			return err
		}
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("a cgroup namespace cannot be made: %w", err)
	}
	for _, t := range trees {
		if t.Unified { // the root must hold no process, to hand controllers on
			if err := join(filepath.Join(t.Group, "init")); err != nil {
				return err
			}
		}
	}
	return nil
}

// mountGroups shows the world's groups at the usual place, and no others.
func mountGroups(trees []hierarchy) error {
	const top = "/sys/fs/cgroup"
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if len(trees) == 1 && trees[0].Unified {
		return mountAt("cgroup2", top, "cgroup2", flags, "")
	}
	if err := mountAt("tmpfs", top, "tmpfs", flags, "mode=755"); err != nil {
		return err
	}
	for _, t := range trees {
		at := filepath.Join(top, filepath.Base(t.Mount))
		if err := os.MkdirAll(at, 0o755); err != nil {
			return err
		}
		if err := mountAt("cgroup", at, "cgroup", flags, t.Options); err != nil {
			return err
		}
		for c := range strings.SplitSeq(t.Options, ",") {
			// Joined controllers are also found under each one's name.
			if !strings.HasPrefix(c, "name=") && c != "none" && c != filepath.Base(t.Mount) {
				if err := os.Symlink(filepath.Base(t.Mount), filepath.Join(top, c)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// removeGroups removes the groups of a world that has ended, children first.
func removeGroups(trees []hierarchy) {
	for _, t := range trees {
		if !strings.HasPrefix(filepath.Base(t.Group), groupPrefix) {
			continue
		}
		// The kernel may take a moment to let go of the last process.
		for end := time.Now().Add(2 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			err := removeGroup(t.Group)
			if err == nil || errors.Is(err, syscall.ENOENT) || time.Now().After(end) {
				break
			}
		}
	}
}

func removeGroup(group string) error {
	entries, err := os.ReadDir(group)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeGroup(filepath.Join(group, e.Name())); err != nil {
				return err
			}
		}
	}
	return unix.Rmdir(group)
}

func readGroups(path string) ([]hierarchy, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var trees []hierarchy
	return trees, json.Unmarshal(data, &trees)
}
