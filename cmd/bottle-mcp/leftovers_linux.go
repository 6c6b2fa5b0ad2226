package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// kernelRelease is `uname -r`.
func kernelRelease() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(name.Release[:])
}

// seesProcesses reports that processes can be searched here.
func (leftoverFinder) seesProcesses() bool { return true }

// processes are those that hold something of the bottle (an argument, a
// directory, an open file or a mount whose path names it), and their children.
func (f leftoverFinder) processes() []process {
	if f.id == "" {
		return nil
	}
	parents := map[int]int{}
	all := map[int]process{}
	member := map[int]bool{}
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		p, parent, ok := readProcess(pid)
		if !ok {
			continue
		}
		all[pid], parents[pid] = p, parent
		member[pid] = f.holds(pid)
	}
	var found []process
	for pid, p := range all {
		if belongs(pid, parents, member) {
			found = append(found, p)
		}
	}
	return found
}

// belongs reports whether pid or one of its ancestors is a member.
func belongs(pid int, parents map[int]int, member map[int]bool) bool {
	for range len(parents) + 1 {
		if member[pid] {
			return true
		}
		parent, ok := parents[pid]
		if !ok {
			return false
		}
		pid = parent
	}
	return false
}

// holds reports whether the process holds something named after the bottle.
func (f leftoverFinder) holds(pid int) bool {
	dir := fmt.Sprintf("/proc/%d", pid)
	files := []string{"cmdline"}
	if ns, err := os.Readlink(filepath.Join(dir, "ns/mnt")); err != nil || ns != f.mountNamespace() {
		files = append(files, "mountinfo") // in our own they are everybody's, see mounts
	}
	for _, file := range files {
		if data, err := os.ReadFile(filepath.Join(dir, file)); err == nil && bytes.Contains(data, []byte(f.id)) {
			return true
		}
	}
	links := []string{filepath.Join(dir, "cwd"), filepath.Join(dir, "root")}
	fds, _ := filepath.Glob(filepath.Join(dir, "fd", "*"))
	for _, link := range append(links, fds...) {
		if target, err := os.Readlink(link); err == nil && strings.Contains(target, string(f.id)) {
			return true
		}
	}
	return false
}

// mountNamespace is this process's own.
func (leftoverFinder) mountNamespace() string {
	ns, _ := os.Readlink("/proc/self/ns/mnt") // "" is nobody's
	return ns
}

// readProcess reads name, start time and parent; a zombie is no process.
func readProcess(pid int) (p process, parent int, ok bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, 0, false
	}
	// The name is in parentheses and may hold anything, also a parenthesis.
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || end < open {
		return process{}, 0, false
	}
	const state, ppid, starttime = 0, 1, 19 // counted after the name
	fields := strings.Fields(string(data[end+1:]))
	if len(fields) <= starttime || fields[state] == "Z" || fields[state] == "X" {
		return process{}, 0, false
	}
	parent, _ = strconv.Atoi(fields[ppid])
	start, _ := strconv.ParseUint(fields[starttime], 10, 64)
	return process{pid: pid, start: start, name: oneLine(string(data[open+1:end]), 20)}, parent, true
}

// alive are those of the processes that still run.
func alive(before []process) []process {
	var found []process
	for _, p := range before {
		if now, _, ok := readProcess(p.pid); ok && now.start == p.start {
			found = append(found, now)
		}
	}
	return found
}

// mounts are mount points of this namespace that name the bottle.
func (f leftoverFinder) mounts() []string {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || f.id == "" {
		return nil
	}
	const mountPoint = 4
	var found []string
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > mountPoint && strings.Contains(line, string(f.id)) {
			found = append(found, fields[mountPoint])
		}
	}
	return found
}

// cgroups are control groups named after the bottle.
func (f leftoverFinder) cgroups() []string {
	if f.id == "" {
		return nil
	}
	var found []string
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return fs.SkipDir // groups come and go while we look
		}
		if entry.IsDir() && strings.Contains(entry.Name(), string(f.id)) {
			found = append(found, path)
			return fs.SkipDir
		}
		return nil
	})
	return found
}
