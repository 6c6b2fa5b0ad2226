package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/grammar" //nolint:depguard // the contract as data, which the stand-in exists to follow
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/engine"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/faults"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/shape"
)

func (c *call) networkCreate(ctx context.Context) error {
	labels, err := grammar.Labels(c.parsed)
	if err != nil {
		return refused(err)
	}
	name := c.parsed.Positionals[0]
	options := map[string]string{}
	for _, option := range c.parsed.Options["option"] {
		key, value, _ := strings.Cut(option, "=")
		options[key] = value
	}
	err = c.engine.CreateNetwork(ctx, engine.NetworkRequest{
		Name: name, Internal: c.flag("internal"), Labels: labels, Options: options,
		Plugin: c.last("plugin"), Subnet: c.last("subnet"), Subnet6: c.last("subnet-v6"),
	})
	if err == nil {
		c.println(name)
	}
	return err
}

func (c *call) networkList(ctx context.Context) error {
	all, err := c.engine.Networks(ctx)
	if err != nil {
		return err
	}
	if c.flag("quiet") && c.format() != "json" {
		for _, n := range all {
			c.println(n.ID)
		}
		return nil
	}
	return c.formatted(c.networkShapes(all), func() [][]string {
		rows := [][]string{{"NETWORK", "SUBNET"}}
		for _, n := range all {
			rows = append(rows, []string{n.ID, n.Status.IPv4Subnet})
		}
		return rows
	})
}

func (c *call) networkShapes(all []shape.Network) any {
	if c.faults[faults.JSONShape] != faults.ShapePre10 {
		return all
	}
	old := make([]map[string]any, 0, len(all))
	for _, n := range all {
		old = append(old, shape.OldNetwork(n))
	}
	return old
}

// networkInspect prints all or, when one is missing, nothing; before 1.0.0 it
// printed those that are there.
func (c *call) networkInspect(ctx context.Context) error {
	all, err := c.engine.Networks(ctx)
	if err != nil {
		return err
	}
	chosen := []shape.Network{}
	var missing []string
	for _, name := range unique(c.parsed.Positionals) {
		at := slices.IndexFunc(all, func(n shape.Network) bool { return n.ID == name })
		if at < 0 {
			missing = append(missing, name)
			continue
		}
		chosen = append(chosen, all[at])
	}
	if err := c.absent("network", missing); err != nil {
		return err
	}
	return c.indented(c.networkShapes(chosen))
}

// absent is the error of an inspect that does not find everything.
func (c *call) absent(what string, missing []string) error {
	if len(missing) == 0 || c.faults[faults.JSONShape] == faults.ShapePre10 {
		return nil
	}
	return engine.Failf(engine.NotFound, "%s not found: %s", what, strings.Join(missing, ", "))
}

func unique(names []string) []string {
	var out []string
	for _, name := range names {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

func (c *call) networkDelete(ctx context.Context) error {
	names := unique(c.parsed.Positionals)
	if c.flag("all") {
		all, err := c.engine.Networks(ctx)
		if err != nil {
			return err
		}
		for _, n := range all {
			if n.ID != engine.DefaultNetwork {
				names = append(names, n.ID)
			}
		}
	}
	deleted, logs, err := c.engine.DeleteNetworks(ctx, names)
	for _, name := range deleted {
		c.println(name)
	}
	for _, line := range logs {
		complain(errors.New(line))
	}
	return err
}
