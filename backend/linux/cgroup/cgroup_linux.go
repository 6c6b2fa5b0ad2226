package cgroup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// Root is where control groups are mounted.
const Root = "/sys/fs/cgroup"

// parent is the group all bottles live under.
const parent = "bottle-mcp"

// cpuPeriod is the kernel's default scheduling period in microseconds.
const cpuPeriod = 100000

// Group is the control groups of one bottle.
type Group struct {
	// Dirs are the directories made, by controller ("" for version 2).
	Dirs map[string]string
	// InForce and Missing say which limits hold.
	InForce []string
	Missing []backend.Missing
}

// Name is the name of a bottle's groups. It holds the owner, since control
// groups are the host's and two owners may use one id.
func Name(owner, id string) string {
	sum := sha256.Sum256([]byte(owner))
	return id + "." + hex.EncodeToString(sum[:6])
}

// SparePrefix begins the names of groups that belong to no bottle yet; the
// number of the shim that made one follows.
const SparePrefix = "spare-"

// Sweep removes spare groups whose shim is gone: what it left when it was
// killed. A living shim may be about to put its guest into an empty one.
func Sweep(root string) {
	for _, pattern := range []string{filepath.Join(root, "*", parent), filepath.Join(root, parent)} {
		left, _ := filepath.Glob(filepath.Join(pattern, SparePrefix+"*")) // the pattern is well formed
		for _, dir := range left {
			pid := strings.TrimPrefix(filepath.Base(dir), SparePrefix)
			if _, err := os.Stat("/proc/" + pid); errors.Is(err, fs.ErrNotExist) {
				_ = unix.Rmdir(dir) // refused while something is in it
			}
		}
	}
}

// Find returns the groups that exist under a bottle's name, for removal after
// whoever made them is gone.
func Find(root, name string) *Group {
	g := &Group{Dirs: map[string]string{}}
	add := func(controller, base string) {
		dir := filepath.Join(base, parent, name)
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			g.Dirs[controller] = dir
		}
	}
	for _, c := range []string{"memory", "pids", "cpu"} {
		add(c, filepath.Join(root, c))
	}
	if base, err := delegated(root); err == nil {
		add("", base)
	}
	return g
}

// Create makes the groups of a bottle below root, without limits yet: moving a
// process in takes the kernel milliseconds (it waits for an RCU grace period
// per hierarchy), which a start can spend in parallel.
func Create(root, name string) *Group {
	g := &Group{Dirs: map[string]string{}}
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		g.createV2(root, name)
		return g
	}
	for _, c := range []string{"memory", "pids", "cpu"} {
		dir := filepath.Join(root, c, parent, name)
		if err := makeDir(filepath.Join(root, c), dir); err != nil {
			g.miss(c, err)
			continue
		}
		g.Dirs[c] = dir
	}
	return g
}

func (g *Group) createV2(root, name string) {
	base, err := delegated(root)
	dir := filepath.Join(base, parent, name)
	if err == nil {
		err = makeDir(base, dir)
	}
	if err != nil {
		for _, what := range []string{"memory", "pids", "cpu"} {
			g.miss(what, err)
		}
		return
	}
	g.Dirs[""] = dir
	for _, d := range []string{base, filepath.Join(base, parent)} {
		for _, c := range []string{"+memory", "+pids", "+cpu"} {
			// A controller that cannot be passed down shows when its limit is set.
			_ = write(filepath.Join(d, "cgroup.subtree_control"), c)
		}
	}
}

// Limit sets the limits. One that cannot be set is missing, not an error.
func (g *Group) Limit(l backend.Limits) {
	cpu := quota(l.CPUs)
	g.set("memory", bytesValue(l.MemoryBytes), "memory.limit_in_bytes", "memory.max")
	g.set("pids", intValue(l.PIDs), "pids.max", "pids.max")
	if _, v2 := g.Dirs[""]; v2 && cpu != "" {
		cpu += " " + strconv.Itoa(cpuPeriod)
	}
	g.set("cpu", cpu, "cpu.cfs_quota_us", "cpu.max")
	if dir, v2 := g.Dirs[""]; v2 {
		// Kernels without swap accounting have no such file.
		_ = write(filepath.Join(dir, "memory.swap.max"), "0")
		_ = write(filepath.Join(dir, "memory.oom.group"), "1")
	}
}

// set sets one limit in version 1's controller or version 2's group.
func (g *Group) set(what, value, fileV1, fileV2 string) {
	dir, file := g.Dirs[what], fileV1
	if v2, ok := g.Dirs[""]; ok {
		dir, file = v2, fileV2
	}
	if value == "" || dir == "" { // not asked for, or told missing already
		return
	}
	if err := write(filepath.Join(dir, file), value); err != nil {
		g.miss(what, err)
		return
	}
	g.InForce = append(g.InForce, what)
}

// delegated finds the topmost group above this process that it may write to:
// on a systemd host the user's manager owns one.
func delegated(root string) (string, error) {
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", fmt.Errorf("read this process's control group: %w", err)
	}
	path := ""
	for line := range strings.Lines(string(data)) {
		if p, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			path = p
		}
	}
	best := ""
	for p := path; ; p = filepath.Dir(p) {
		dir := filepath.Join(root, p)
		if unix.Access(filepath.Join(dir, "cgroup.procs"), unix.W_OK) == nil &&
			unix.Access(dir, unix.W_OK) == nil {
			best = dir
		}
		if p == "/" || p == "." || p == "" {
			break
		}
	}
	if best == "" {
		return "", errors.New("no control group is delegated to this user (start under `systemd-run --user --scope -p Delegate=yes`, or as root)")
	}
	return best, nil
}

func (g *Group) miss(what string, err error) {
	reason := err.Error()
	var pe *fs.PathError
	if errors.As(err, &pe) {
		reason = fmt.Sprintf("control group: %v", pe.Err)
	}
	g.Missing = append(g.Missing, backend.Missing{Name: "cgroup-" + what, Reason: reason})
}

// Add moves a process into the groups.
func (g *Group) Add(pid int) error {
	for _, dir := range g.Dirs {
		if err := write(filepath.Join(dir, "cgroup.procs"), strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("move the guest into its control group: %w", err)
		}
	}
	return nil
}

// Rename gives the groups, with pid in them, the name of a bottle. Version 1
// can rename, which costs nothing; elsewhere the process moves on.
func (g *Group) Rename(name string, pid int) error {
	for c, dir := range g.Dirs {
		to := filepath.Join(filepath.Dir(dir), name)
		if os.Rename(dir, to) != nil {
			if err := makeDir(filepath.Dir(dir), to); err != nil {
				return fmt.Errorf("make the control group of the bottle: %w", err)
			}
			if err := write(filepath.Join(to, "cgroup.procs"), strconv.Itoa(pid)); err != nil {
				return fmt.Errorf("move the guest into its control group: %w", err)
			}
			_ = unix.Rmdir(dir) // Sweep tries again
		}
		g.Dirs[c] = to
	}
	return nil
}

// MemoryBytes is the memory in use, or -1 when no group counts it.
func (g *Group) MemoryBytes() int64 {
	for c, file := range map[string]string{"": "memory.current", "memory": "memory.usage_in_bytes"} {
		if dir, ok := g.Dirs[c]; ok {
			data, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				continue
			}
			if n, err := strconv.ParseInt(string(bytes.TrimSpace(data)), 10, 64); err == nil {
				return n
			}
		}
	}
	return -1
}

// Remove kills what is left in the groups and removes them. Groups that are
// gone already are fine. A dying process leaves its group a little after it
// is reaped, so removal is tried until ctx ends.
func (g *Group) Remove(ctx context.Context) error {
	var errs []error
	for _, dir := range g.Dirs {
		errs = append(errs, removeDir(ctx, dir))
	}
	return errors.Join(errs...)
}

func removeDir(ctx context.Context, dir string) error {
	for {
		err := unix.Rmdir(dir)
		if err == nil || errors.Is(err, unix.ENOENT) {
			return nil
		}
		killAll(dir)
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove control group %s: %w", dir, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func killAll(dir string) {
	if write(filepath.Join(dir, "cgroup.kill"), "1") == nil {
		return
	}
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return
	}
	for _, f := range bytes.Fields(data) {
		if pid, err := strconv.Atoi(string(f)); err == nil && pid > 1 {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// makeDir makes dir below base, which must exist: a controller that is not
// mounted must not become a plain directory.
func makeDir(base, dir string) error {
	if _, err := os.Stat(filepath.Join(base, "cgroup.procs")); err != nil {
		return errors.New("controller is not mounted")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the kernel's own directories
		return err
	}
	return unix.Access(filepath.Join(dir, "cgroup.procs"), unix.W_OK)
}

func write(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

func bytesValue(n int64) string {
	if n <= 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func intValue(n int) string { return bytesValue(int64(n)) }

func quota(cpus float64) string {
	if cpus <= 0 {
		return ""
	}
	return strconv.Itoa(int(math.Round(cpus * cpuPeriod)))
}
