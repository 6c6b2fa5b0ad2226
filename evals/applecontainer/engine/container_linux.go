package engine

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/shape"
)

// container is the record of a container: what it was asked to be.
type container struct {
	Config     shape.Configuration `json:"config"`
	PodmanID   string              `json:"podman_id"`
	Image      string              `json:"image"` // Podman's id
	AutoRemove bool                `json:"auto_remove"`
	Stdin      bool                `json:"stdin"`
	Relays     []socketMount       `json:"relays"`
	GroupsAdd  []uint32            `json:"groups_add"`
}

// socketMount is a host's socket that is relayed into the guest.
type socketMount struct{ Host, Guest string }

// running is the record of a container's run. It goes when the helper has
// cleaned up, which is somewhat later than the process.
type running struct {
	PID      int                `json:"pid"`
	Ticks    uint64             `json:"ticks"` // start time, against reuse of the number
	Networks []shape.Attachment `json:"networks"`
	Stopping bool               `json:"stopping"`
}

func (r *running) alive() bool { return r.Ticks > 0 && processTicks(r.PID) == r.Ticks }

// processTicks is when a process started, 0 for one that has ended.
func processTicks(pid int) uint64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name may hold spaces and parentheses: count from behind it.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return 0
	}
	var ticks uint64
	if _, err := fmt.Sscan(fields[19], &ticks); err != nil {
		return 0
	}
	return ticks
}

func (e *Engine) containerPath(id string, elem ...string) string {
	return e.path(append([]string{"containers", id}, elem...)...)
}

// Files of a container's directory.
const (
	fileConfig  = "container.json"
	fileRunning = "running.json"
	fileProcess = "process.json" // of the init process, as the guest resolved it
	fileRootfs  = "rootfs"       // path of the mounted root file system
	fileStarted = "started"
	fileRefusal = "refusal.json" // why the hook refused the start
	filePID     = "pid"
	fileConmon  = "conmon.pid"
	fileLog     = "log"
	fileRuntime = "runtime.lock"
)

func (e *Engine) container(id string) (*container, error) {
	c := &container{}
	found, err := load(e.containerPath(id, fileConfig), c)
	if err == nil && !found {
		err = Failf(NotFound, "container with ID %s not found", id)
	}
	return c, err
}

// containers are all records, in the order of their ids.
func (e *Engine) containers() ([]*container, error) {
	paths, err := filepath.Glob(e.path("containers", "*", fileConfig))
	if err != nil {
		return nil, err
	}
	var all []*container
	for _, path := range paths {
		c := &container{}
		found, err := load(path, c)
		if err != nil {
			return nil, err
		}
		if found {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b *container) int { return cmp.Compare(a.Config.ID, b.Config.ID) })
	return all, nil
}

// run is the record of the current run, nil when there is none.
func (e *Engine) run(id string) (*running, error) {
	r := &running{}
	found, err := load(e.containerPath(id, fileRunning), r)
	if err != nil || !found {
		return nil, err
	}
	return r, nil
}

// alive is the record of the current run if its process lives.
func (e *Engine) alive(id string) (*running, error) {
	r, err := e.run(id)
	if err != nil || r == nil || !r.alive() {
		return nil, err
	}
	return r, nil
}

// Container is one container as it is printed.
func (e *Engine) Container(id string) (shape.Container, error) {
	c, err := e.container(id)
	if err != nil {
		return shape.Container{}, err
	}
	return e.shape(c)
}

func (e *Engine) shape(c *container) (shape.Container, error) {
	out := shape.Container{ID: c.Config.ID, Configuration: c.Config}
	out.Status = shape.ContainerStatus{State: shape.StateStopped, Networks: []shape.Attachment{}}
	started, err := os.ReadFile(e.containerPath(c.Config.ID, fileStarted))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return out, err
	}
	out.Status.StartedDate = string(started)
	r, err := e.alive(c.Config.ID)
	if err != nil || r == nil {
		return out, err
	}
	out.Status.State, out.Status.Networks = shape.StateRunning, r.Networks
	if r.Stopping {
		out.Status.State = shape.StateStopping
	}
	return out, nil
}

// Containers are all containers as they are printed.
func (e *Engine) Containers() ([]shape.Container, error) {
	all, err := e.containers()
	if err != nil {
		return nil, err
	}
	shapes := make([]shape.Container, 0, len(all))
	for _, c := range all {
		s, err := e.shape(c)
		if err != nil {
			return nil, err
		}
		shapes = append(shapes, s)
	}
	return shapes, nil
}
