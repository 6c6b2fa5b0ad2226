package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/grammar" //nolint:depguard // the contract as data, which the stand-in exists to follow
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/engine"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/shape"
)

// mount sets the mounts: --tmpfs, then --volume, then --mount.
func (c *call) mount(req *engine.CreateRequest) error {
	req.Config.Mounts = []shape.Mount{}
	for _, path := range c.parsed.Options["tmpfs"] {
		req.Config.Mounts = append(req.Config.Mounts, tmpfs(path, nil))
	}
	for _, spec := range c.parsed.Options["volume"] {
		m, err := grammar.ParseVolume(spec)
		if err != nil {
			return refused(err)
		}
		if err := addMount(req, m, false); err != nil {
			return err
		}
	}
	for _, spec := range c.parsed.Options["mount"] {
		m, err := grammar.ParseMount(spec)
		if err != nil {
			return refused(err)
		}
		if err := addMount(req, m, true); err != nil {
			return err
		}
	}
	return nil
}

func tmpfs(path string, options []string) shape.Mount {
	return shape.Mount{
		Type: map[string]any{shape.MountTmpfs: map[string]any{}}, Source: "tmpfs", Destination: path, Options: append([]string{}, options...),
	}
}

// addMount looks at the source with the caller's rights. --mount takes nothing
// but directories, --volume also single files and sockets.
func addMount(req *engine.CreateRequest, m grammar.Mount, onlyDirectories bool) error {
	switch m.Type {
	case grammar.MountTmpfs:
		req.Config.Mounts = append(req.Config.Mounts, tmpfs(m.Target, kernelOptions(m.Options)))
		return nil
	case grammar.MountVolume:
		return engine.Failf(engine.Unsupported, "the stand-in has no named volumes")
	}
	source, err := filepath.Abs(m.Source)
	if err != nil {
		return err
	}
	info, err := os.Stat(source)
	if err != nil {
		return engine.Failf(engine.InvalidArgument, "path '%s' does not exist", m.Source)
	}
	if onlyDirectories && !info.IsDir() {
		return engine.Failf(engine.InvalidArgument, "path '%s' is not a directory", m.Source)
	}
	mount := shape.Mount{
		Type: map[string]any{shape.MountVirtiofs: map[string]any{}}, Source: source, Destination: m.Target,
		Options: append([]string{}, m.Options...),
	}
	req.Config.Mounts = append(req.Config.Mounts, mount)
	if info.Mode()&fs.ModeSocket != 0 {
		req.Sockets = append(req.Sockets, mount)
	}
	return nil
}

// kernelOptions are a tmpfs's options as the kernel takes them.
func kernelOptions(options []string) []string {
	var out []string
	for _, option := range options {
		key, value, _ := strings.Cut(option, "=")
		if n, err := grammar.ParseMemory(value); key == "size" && err == nil {
			option = "size=" + strconv.FormatInt(n, 10)
		}
		out = append(out, option)
	}
	return out
}
