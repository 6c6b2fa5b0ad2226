package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/engine"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/faults"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/shape"
)

// sampleTime is how long stats takes for its one sample.
const sampleTime = 2 * time.Second

func (c *call) list(context.Context) error {
	all, err := c.engine.Containers()
	if err != nil {
		return err
	}
	if !c.flag("all") {
		all = slices.DeleteFunc(all, func(one shape.Container) bool { return one.Status.State != shape.StateRunning })
	}
	if c.flag("quiet") && c.format() != "json" {
		for _, one := range all {
			c.println(one.ID)
		}
		return nil
	}
	return c.formatted(c.containerShapes(all), func() [][]string {
		rows := [][]string{{"ID", "IMAGE", "OS", "ARCH", "STATE", "IP", "CPUS", "MEMORY", "STARTED"}}
		for _, one := range all {
			rows = append(rows, row(one))
		}
		return rows
	})
}

func row(one shape.Container) []string {
	var addresses []string
	for _, a := range one.Status.Networks {
		addresses = append(addresses, a.IPv4Address)
	}
	config := one.Configuration
	return []string{
		one.ID, config.Image.Reference, config.Platform.OS, config.Platform.Architecture, one.Status.State,
		strings.Join(addresses, ","), strconv.Itoa(config.Resources.CPUs),
		strconv.FormatInt(config.Resources.MemoryInBytes/mebibyte, 10) + " MB", one.Status.StartedDate,
	}
}

// containerShapes are containers as the imitated release prints them.
func (c *call) containerShapes(all []shape.Container) any {
	if c.faults[faults.JSONShape] != faults.ShapePre10 {
		return all
	}
	old := make([]map[string]any, 0, len(all))
	for _, one := range all {
		old = append(old, shape.OldContainer(one))
	}
	return old
}

// inspect prints containers in the daemon's order, not that of the arguments.
func (c *call) inspect(context.Context) error {
	all, err := c.engine.Containers()
	if err != nil {
		return err
	}
	wanted := unique(c.parsed.Positionals)
	chosen := []shape.Container{}
	for _, one := range all {
		if at := slices.Index(wanted, one.ID); at >= 0 {
			chosen = append(chosen, one)
			wanted = slices.Delete(wanted, at, at+1)
		}
	}
	if err := c.absent("container", wanted); err != nil {
		return err
	}
	return c.indented(c.containerShapes(chosen))
}

// each does something to containers and prints those it succeeded with; the
// failures are one error.
func (c *call) each(ids []string, do func(id string) error) error {
	var failed []error
	for _, id := range ids {
		if err := do(id); err != nil {
			failed = append(failed, err)
			continue
		}
		c.println(id)
	}
	return errors.Join(failed...)
}

// chosen are the containers that a command is about: those named, or with
// --all those that a condition picks.
func (c *call) chosen(pick func(shape.Container) bool) ([]string, error) {
	if !c.flag("all") {
		return unique(c.parsed.Positionals), nil
	}
	all, err := c.engine.Containers()
	var ids []string
	for _, one := range all {
		if pick(one) {
			ids = append(ids, one.ID)
		}
	}
	return ids, err
}

func isRunning(one shape.Container) bool { return one.Status.State == shape.StateRunning }

func (c *call) stop(ctx context.Context) error {
	ids, err := c.chosen(isRunning)
	if err != nil {
		return err
	}
	req := engine.StopRequest{Grace: 5 * time.Second}
	if text := c.last("time"); text != "" {
		seconds, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		req.Grace = time.Duration(seconds) * time.Second
	}
	if req.Signal, err = engine.ParseSignal(c.last("signal")); err != nil {
		return err
	}
	return c.each(ids, func(id string) error {
		req.ID = id
		return c.engine.Stop(ctx, req)
	})
}

func (c *call) kill(ctx context.Context) error {
	ids, err := c.chosen(isRunning)
	if err != nil {
		return err
	}
	req := engine.KillRequest{}
	if req.Signal, err = engine.ParseSignal(c.last("signal")); err != nil {
		return err
	}
	if req.Signal == 0 {
		req.Signal = unix.SIGKILL
	}
	return c.each(ids, func(id string) error {
		req.ID = id
		return c.engine.Kill(ctx, req)
	})
}

func (c *call) delete(ctx context.Context) error {
	ids, err := c.chosen(func(one shape.Container) bool { return c.flag("force") || one.Status.State == shape.StateStopped })
	if err != nil {
		return err
	}
	return c.each(ids, func(id string) error {
		return c.engine.Delete(ctx, engine.DeleteRequest{ID: id, Force: c.flag("force")})
	})
}

func (c *call) logs(ctx context.Context) error {
	id := c.parsed.Positionals[0]
	if c.flag("boot") {
		if _, err := c.engine.Container(id); err != nil {
			return err
		}
		c.println("[    0.000000] Linux version: the stand-in boots no kernel")
		return nil
	}
	text, err := c.engine.Logs(id)
	if err != nil {
		return err
	}
	if !utf8.ValidString(text) {
		return engine.Failf(engine.InternalError, "failed to read the log of %s: it is not UTF-8", id)
	}
	shown := text
	if n, err := strconv.Atoi(c.last("n")); err == nil {
		shown = engine.Tail(text, n)
	}
	c.print(shown)
	if c.flag("follow") {
		return c.engine.Follow(ctx, id, len(text), c.out)
	}
	return nil
}

func (c *call) stats(context.Context) error {
	ids := c.parsed.Positionals
	if len(ids) == 0 {
		all, err := c.engine.Containers()
		if err != nil {
			return err
		}
		for _, one := range all {
			ids = append(ids, one.ID)
		}
	}
	time.Sleep(sampleTime)
	samples := []shape.Stats{}
	for _, id := range unique(ids) {
		sample, found, err := c.engine.Stats(id)
		if err != nil {
			return err
		}
		if found {
			samples = append(samples, sample)
		}
	}
	return c.formatted(samples, func() [][]string {
		rows := [][]string{{"CONTAINER ID", "CPU %", "MEMORY USAGE", "PIDS"}}
		for _, s := range samples {
			rows = append(rows, []string{s.ID, "0.00%", strconv.FormatUint(s.MemoryUsageBytes, 10), strconv.FormatUint(s.NumProcesses, 10)})
		}
		return rows
	})
}

// copy copies a file or directory between the host and a running container and
// prints where to.
func (c *call) copy(context.Context) error {
	from, to := c.parsed.Positionals[0], c.parsed.Positionals[1]
	if id, path, ok := guestPath(to); ok {
		source, err := filepath.Abs(from)
		if err != nil {
			return err
		}
		err = c.engine.CopyIn(id, source, path)
		return c.copied(to, err)
	}
	id, path, ok := guestPath(from)
	if !ok {
		return engine.Failf(engine.InvalidArgument, "one of source or destination must be a container path")
	}
	directory := strings.HasSuffix(to, "/")
	destination, err := filepath.Abs(to)
	if err != nil {
		return err
	}
	if directory {
		destination += string(os.PathSeparator)
	}
	return c.copied(to, c.engine.CopyOut(id, path, destination))
}

func (c *call) copied(to string, err error) error {
	if err == nil {
		c.println(to)
	}
	return err
}

func guestPath(word string) (id, path string, ok bool) {
	id, path, ok = strings.Cut(word, ":")
	return id, path, ok && strings.HasPrefix(path, "/")
}
