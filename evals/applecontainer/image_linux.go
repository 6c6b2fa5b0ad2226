package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/engine"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/faults"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/shape"
)

// maxDockerfile is where the builder's transport ends.
const maxDockerfile = 16 << 10

// builderGrace is what the builder gets to end by itself.
const builderGrace = 5 * time.Second

// noRegistry is how a pull ends: no registry can be reached from here.
func noRegistry(reference string) error {
	host, _, _ := strings.Cut(reference, "/")
	return &engine.Error{
		Code: engine.InternalError, Message: "failed to fetch image " + reference,
		Cause: "HTTP request to https://" + host + "/v2/ failed: a server with the specified hostname could not be found",
	}
}

func (c *call) imageShapes(all []shape.Image) any {
	if c.faults[faults.JSONShape] != faults.ShapePre10 {
		return all
	}
	old := make([]map[string]any, 0, len(all))
	for _, i := range all {
		old = append(old, shape.OldImage(i))
	}
	return old
}

func (c *call) imageList(context.Context) error {
	all, err := c.engine.Images()
	if err != nil {
		return err
	}
	if c.flag("quiet") && c.format() != "json" {
		for _, i := range all {
			c.println(i.Configuration.Name)
		}
		return nil
	}
	return c.formatted(c.imageShapes(all), func() [][]string {
		rows := [][]string{{"NAME", "TAG", "DIGEST"}}
		for _, i := range all {
			at := strings.LastIndexByte(i.Configuration.Name, ':')
			rows = append(rows, []string{i.Configuration.Name[:at], i.Configuration.Name[at+1:], i.ID[:24]})
		}
		return rows
	})
}

func (c *call) imageInspect(context.Context) error {
	found := []shape.Image{}
	var missing []string
	for _, reference := range unique(c.parsed.Positionals) {
		i, err := c.engine.Image(reference)
		var own *engine.Error
		switch {
		case errors.As(err, &own) && own.Code == engine.NotFound:
			missing = append(missing, reference)
		case err != nil:
			return err
		default:
			found = append(found, i)
		}
	}
	if err := c.absent("image", missing); err != nil {
		return err
	}
	return c.indented(c.imageShapes(found))
}

func (c *call) imageLoad(ctx context.Context) error {
	path := c.last("input")
	if path == "" {
		kept, drop, err := keepStdin()
		if err != nil {
			return err
		}
		defer drop()
		path = kept
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err != nil {
		return engine.Failf(engine.NotFound, "file does not exist: %s", path)
	}
	references, err := c.engine.Load(ctx, engine.LoadRequest{Archive: path, Force: c.flag("force")})
	for _, reference := range references {
		c.println(reference)
	}
	return err
}

// imageDelete deletes what it can; --force forgives what is not there.
func (c *call) imageDelete(ctx context.Context) error {
	names := unique(c.parsed.Positionals)
	if c.flag("all") {
		all, err := c.engine.Images()
		if err != nil {
			return err
		}
		for _, i := range all {
			names = append(names, i.Configuration.Name)
		}
	}
	var failed []error
	for _, name := range names {
		reference := engine.Normalize(name)
		if _, err := c.engine.Image(reference); err != nil {
			if !c.flag("force") {
				failed = append(failed, engine.Failf(engine.NotFound, "image not found: %s", name))
			}
			continue
		}
		if err := c.engine.DeleteImage(ctx, reference); err != nil {
			failed = append(failed, err)
			continue
		}
		c.println(reference)
	}
	return errors.Join(failed...)
}

func (c *call) imageTag(ctx context.Context) error {
	from, to := c.parsed.Positionals[0], c.parsed.Positionals[1]
	if _, err := c.engine.Image(from); err != nil {
		return err
	}
	if err := c.engine.Tag(ctx, engine.Normalize(from), engine.Normalize(to)); err != nil {
		return err
	}
	c.println(engine.Normalize(to))
	return nil
}

func (c *call) imagePull(context.Context) error {
	return noRegistry(engine.Normalize(c.parsed.Positionals[0]))
}

// build prints the names of what it made; all else is on standard error.
func (c *call) build(ctx context.Context) error {
	dir := "."
	if len(c.parsed.Positionals) > 0 {
		dir = c.parsed.Positionals[0]
	}
	for _, output := range c.parsed.Options["output"] {
		if kind, _, _ := strings.Cut(output, ","); kind != "type=oci" {
			return engine.Failf(engine.Unsupported, "the stand-in builds into the image store only, not %s", output)
		}
	}
	dockerfile, drop, err := c.dockerfile(dir)
	if err != nil {
		return err
	}
	defer drop()
	if err := c.builderStart(ctx); err != nil {
		return err
	}
	req := engine.BuildRequest{
		Dockerfile: dockerfile, Context: dir, Args: c.parsed.Options["build-arg"], Labels: c.parsed.Options["label"],
		Target: c.last("target"), Platform: c.last("platform"), Log: os.Stderr,
	}
	if c.flag("quiet") {
		req.Log = io.Discard
	}
	for _, tag := range c.parsed.Options["tag"] {
		req.Tags = append(req.Tags, engine.Normalize(tag))
	}
	if len(req.Tags) == 0 {
		req.Tags = []string{engine.Normalize(engine.RandomID())}
	}
	if err := c.engine.Build(ctx, req); err != nil {
		return err
	}
	for _, tag := range req.Tags {
		c.println(tag)
	}
	return nil
}

// keepStdin copies standard input to memory, where others find it under a path
// until drop. It goes with this program, however that ends.
func keepStdin() (path string, drop func(), err error) {
	fd, err := unix.MemfdCreate("stdin", unix.MFD_CLOEXEC)
	if err != nil {
		return "", nil, err
	}
	file := os.NewFile(uintptr(fd), "stdin")
	if _, err := io.Copy(file, os.Stdin); err != nil {
		_ = file.Close()
		return "", nil, err
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd), func() { _ = file.Close() }, nil
}

// dockerfile is the path of the Dockerfile, which may be on standard input.
func (c *call) dockerfile(dir string) (path string, drop func(), err error) {
	drop = func() {}
	path = c.last("file")
	switch path {
	case "":
		path = filepath.Join(dir, "Dockerfile")
		if _, err := os.Stat(path); err != nil {
			path = filepath.Join(dir, "Containerfile")
		}
	case "-":
		if path, drop, err = keepStdin(); err != nil {
			return "", func() {}, err
		}
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", drop, engine.Failf(engine.InvalidArgument, "Dockerfile does not exist at path: %s", path)
	case info.Size() >= maxDockerfile:
		return "", drop, engine.Failf(engine.InternalError, "transport: the Dockerfile of %d bytes is too large for the builder", info.Size())
	}
	return path, drop, nil
}

// builderStart starts the builder as the command line wants it. DNS is compared
// only when it is asked for.
func (c *call) builderStart(ctx context.Context) error {
	var req engine.BuilderRequest
	for _, name := range []string{"dns", "dns-search", "dns-option", "dns-domain"} {
		if len(c.parsed.Options[name]) > 0 && (name == "dns" || c.parsed.Command() == "builder start") {
			req.DNS = c.dns()
		}
	}
	if c.last("cpus") != "" || c.last("memory") != "" {
		resources, err := c.resources()
		if err != nil {
			return err
		}
		if c.last("cpus") != "" {
			req.CPUs = resources.CPUs
		}
		if c.last("memory") != "" {
			req.Memory = resources.MemoryInBytes
		}
	}
	return c.engine.StartBuilder(ctx, req)
}

func (c *call) builderStatus(context.Context) error {
	builder, found, err := c.engine.BuilderState()
	if err != nil {
		return err
	}
	all := []shape.Container{}
	if found {
		all = append(all, builder)
	}
	return c.formatted(c.containerShapes(all), func() [][]string {
		if !found {
			return [][]string{{"builder is not running"}}
		}
		rows := [][]string{{"ID", "IMAGE", "STATE", "ADDR", "CPUS", "MEMORY"}}
		one := row(builder)
		return append(rows, []string{one[0], one[1], one[4], cmp.Or(one[5], "-"), one[6], one[7]})
	})
}

func (c *call) builderStop(ctx context.Context) error {
	_, found, err := c.engine.BuilderState()
	if err != nil {
		return err
	}
	if !found {
		complain(errors.New("warning: builder is not running"))
		return nil
	}
	if err := c.engine.Stop(ctx, engine.StopRequest{ID: engine.Builder, Grace: builderGrace}); err != nil {
		return fmt.Errorf("the builder did not stop: %w", err)
	}
	return nil
}

func (c *call) builderDelete(ctx context.Context) error {
	_, found, err := c.engine.BuilderState()
	if err != nil || !found {
		return err
	}
	return c.engine.Delete(ctx, engine.DeleteRequest{ID: engine.Builder, Force: c.flag("force")})
}
