package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/shape"
)

// Logs is what the init process of a container's last run wrote, both streams
// as they came.
func (e *Engine) Logs(id string) (string, error) {
	if _, err := e.container(id); err != nil {
		return "", err
	}
	data, err := os.ReadFile(e.containerPath(id, fileLog))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return string(unframe(data)), nil
}

// Follow writes what comes after the first so many bytes of the log, for ever.
func (e *Engine) Follow(ctx context.Context, id string, from int, out io.Writer) error {
	for {
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
		text, err := e.Logs(id)
		if err != nil {
			return err
		}
		from = min(from, len(text)) // it begins anew at a start
		if _, err := io.WriteString(out, text[from:]); err != nil {
			return err
		}
		from = len(text)
	}
}

// Stats is one sample of a running container; found is false for another one.
func (e *Engine) Stats(id string) (stats shape.Stats, found bool, err error) {
	c, err := e.container(id)
	if err != nil {
		return stats, false, err
	}
	r, err := e.alive(id)
	if err != nil || r == nil {
		return stats, false, err
	}
	stats = shape.Stats{ID: id, MemoryLimitBytes: uint64(max(0, c.Config.Resources.MemoryInBytes))}
	groups, err := groupsOf(r.PID)
	if err != nil {
		return stats, false, err
	}
	stats.MemoryUsageBytes = firstNumber(groups["memory"]+"/memory.usage_in_bytes", groups[""]+"/memory.current")
	stats.CPUUsageUsec = firstNumber(groups["cpuacct"]+"/cpuacct.usage") / 1000
	stats.NumProcesses = firstNumber(groups["pids"]+"/pids.current", groups[""]+"/pids.current")
	stats.NetworkRxBytes, stats.NetworkTxBytes = traffic(r.PID)
	return stats, true, nil
}

// groupsOf are the directories of a process's control groups by controller; ""
// is the unified one's.
func groupsOf(pid int) (map[string]string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for line := range strings.Lines(string(data)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) < 3 {
			continue
		}
		for controller := range strings.SplitSeq(fields[1], ",") {
			out[controller] = "/sys/fs/cgroup/" + fields[1] + fields[2]
		}
	}
	return out, nil
}

// firstNumber reads the first of the files that is there.
func firstNumber(paths ...string) uint64 {
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64); err == nil {
			return n
		}
	}
	return 0
}

// traffic sums what a process's interfaces have received and sent.
func traffic(pid int) (rx, tx uint64) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", pid))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(data)) {
		name, counters, ok := strings.Cut(line, ":")
		fields := strings.Fields(counters)
		if !ok || strings.TrimSpace(name) == "lo" || len(fields) < 9 {
			continue
		}
		in, inErr := strconv.ParseUint(fields[0], 10, 64)
		out, outErr := strconv.ParseUint(fields[8], 10, 64)
		if inErr == nil && outErr == nil {
			rx, tx = rx+in, tx+out
		}
	}
	return rx, tx
}
