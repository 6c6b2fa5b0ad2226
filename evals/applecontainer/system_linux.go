package main

import (
	"context"
	"runtime"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/engine"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/faults"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/shape"
)

// oneLine prints JSON as list-like commands do.
func (c *call) oneLine(v any) error {
	text, err := shape.Compact(v)
	c.print(string(text))
	return err
}

// indented prints JSON as inspect does.
func (c *call) indented(v any) error {
	text, err := shape.Indented(v)
	c.print(string(text))
	return err
}

func (c *call) table(rows [][]string) { c.print(string(shape.Table(rows))) }

// formatted prints one of the two formats that the stand-in has.
func (c *call) formatted(v any, rows func() [][]string) error {
	switch c.format() {
	case "json":
		return c.oneLine(v)
	case "", "table":
		c.table(rows())
		return nil
	default:
		return engine.Failf(engine.Unsupported, "the stand-in prints no %s", c.format())
	}
}

func (c *call) systemStatus(context.Context) (int, error) {
	state, code := shape.StateRunning, 0
	if c.faults.On(faults.ServiceDown) {
		state, code = "unregistered", exitFailure
	}
	var status any = c.program.Status(state)
	if c.faults[faults.JSONShape] == faults.Shape13 {
		counts, err := c.counts()
		if err != nil {
			return 0, err
		}
		status = c.program.NestedStatus(state, counts)
	}
	return code, c.formatted(status, func() [][]string {
		if state != shape.StateRunning {
			return [][]string{{"apiserver is not running and not registered with launchd"}}
		}
		return [][]string{{"FIELD", "VALUE"}, {"status", state}}
	})
}

func (c *call) counts() (shape.Counts, error) {
	counts := shape.Counts{CPUs: runtime.NumCPU()}
	containers, err := c.engine.Containers()
	if err != nil {
		return counts, err
	}
	counts.Total = len(containers)
	for _, one := range containers {
		if one.Status.State == shape.StateRunning {
			counts.Running++
		}
	}
	images, err := c.engine.Images()
	counts.Images = len(images)
	return counts, err
}

func (c *call) systemVersion(context.Context) error {
	versions := c.program.Versions(!c.faults.On(faults.ServiceDown))
	return c.formatted(versions, func() [][]string {
		rows := [][]string{{"COMPONENT", "VERSION", "BUILD", "COMMIT"}}
		for _, v := range versions {
			rows = append(rows, []string{v.AppName, v.Version, v.BuildType, v.Commit})
		}
		return rows
	})
}

// systemStart starts a daemon that is down; it asks nothing, as there is a
// kernel.
func (c *call) systemStart(context.Context) error {
	return faults.Clear(c.engine.FaultDir(), faults.ServiceDown)
}

// systemStop is refused: it would stop everybody's containers, and nothing here
// has a reason to call it.
func (c *call) systemStop(context.Context) error {
	return engine.Failf(engine.Unsupported, "the stand-in does not stop the service")
}
