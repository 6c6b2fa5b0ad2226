package cli

import (
	"context"
	"io"
)

// defaultNetwork is there from the beginning and is shared by all.
const defaultNetwork = "default"

// NetworkCreate makes a network.
func (c *CLI) NetworkCreate(ctx context.Context, req NetworkRequest) error {
	v := subcommand(req.Name, "network", "create")
	v.check(checkNewNetwork(req.Name))
	v.check(checkNetworkLabels(req.Labels))
	v.flag("internal", req.Internal)
	v.pairs("label", req.Labels)
	v.words(req.Name)
	_, err := c.do(ctx, call{argv: v, deadline: networkDeadline, gate: c.gates.mutation, stdout: io.Discard})
	return err
}

// NetworkList returns all networks, also others'.
func (c *CLI) NetworkList(ctx context.Context) ([]Network, error) {
	v := subcommand("", "network", "list")
	v.option("format", "json")
	out, err := c.readNetworks(ctx, v)
	if err != nil {
		return nil, err
	}
	return decoded(v, out, decodeNetwork)
}

// NetworkInspect returns one network.
func (c *CLI) NetworkInspect(ctx context.Context, name string) (Network, error) {
	v := subcommand(name, "network", "inspect")
	v.check(checkNetwork(name))
	v.words(name)
	out, err := c.readNetworks(ctx, v)
	if err != nil {
		return Network{}, err
	}
	return decodedOne(v, out, decodeNetwork, func(n Network) bool { return n.Name == name })
}

func (c *CLI) readNetworks(ctx context.Context, v *vector) (out []byte, err error) {
	err = c.retry(ctx, underLoad(), func() error {
		out, err = c.do(ctx, call{argv: v, deadline: networkDeadline})
		return err
	})
	return out, err
}

// NetworkDelete removes a network that no container refers to any more.
func (c *CLI) NetworkDelete(ctx context.Context, name string) error {
	v := subcommand(name, "network", "delete")
	v.check(checkNetwork(name))
	v.words(name)
	return c.retry(ctx, afterContainer(), func() error {
		_, err := c.do(ctx, call{argv: v, deadline: networkDeadline, gate: c.gates.mutation, stdout: io.Discard})
		return err
	})
}
