package main

import (
	"context"
	"errors"

	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/grammar" //nolint:depguard // the contract as data, which the stand-in exists to follow
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/engine"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/faults"
)

// handler runs one command and returns its exit status.
type handler func(ctx context.Context) (int, error)

// plain is a handler of a command whose status says only whether it failed.
func plain(do func(ctx context.Context) error) handler {
	return func(ctx context.Context) (int, error) { return 0, do(ctx) }
}

func (c *call) handlers() map[string]handler {
	return map[string]handler{
		"system status":   c.systemStatus,
		"system version":  plain(c.systemVersion),
		"system start":    plain(c.systemStart),
		"system stop":     plain(c.systemStop),
		"network create":  plain(c.networkCreate),
		"network list":    plain(c.networkList),
		"network inspect": plain(c.networkInspect),
		"network delete":  plain(c.networkDelete),
		"image list":      plain(c.imageList),
		"image inspect":   plain(c.imageInspect),
		"image load":      plain(c.imageLoad),
		"image delete":    plain(c.imageDelete),
		"image tag":       plain(c.imageTag),
		"image pull":      plain(c.imagePull),
		"build":           plain(c.build),
		"builder start":   plain(c.builderStart),
		"builder status":  plain(c.builderStatus),
		"builder stop":    plain(c.builderStop),
		"builder delete":  plain(c.builderDelete),
		"create":          plain(c.create),
		"run":             c.runContainer,
		"start":           c.startContainer,
		"exec":            c.exec,
		"copy":            plain(c.copy),
		"inspect":         plain(c.inspect),
		"list":            plain(c.list),
		"logs":            plain(c.logs),
		"stats":           plain(c.stats),
		"stop":            plain(c.stop),
		"kill":            plain(c.kill),
		"delete":          plain(c.delete),
	}
}

// withoutDaemon are the commands that work when there is none.
func withoutDaemon(command string) bool {
	return command == "system status" || command == "system version" || command == "system start"
}

// command checks what the program checks as it begins, and runs the command.
func (c *call) command(ctx context.Context) (int, error) {
	name := c.parsed.Command()
	if err := grammar.Check(c.parsed); err != nil {
		return 0, refused(err)
	}
	do := c.handlers()[name]
	if do == nil {
		return 0, engine.Failf(engine.Unsupported, "the stand-in does not do `container %s`", name)
	}
	if !withoutDaemon(name) {
		if c.faults.On(faults.ServiceDown) {
			return 0, daemonGone(name)
		}
		if err := c.engine.Prepare(ctx); err != nil {
			return 0, err
		}
	}
	if c.faults[faults.SubnetChanges] == "now" {
		if err := c.moveSubnets(ctx); err != nil {
			return 0, err
		}
	}
	return do(ctx)
}

// moveSubnets gives the networks other subnets, once.
func (c *call) moveSubnets(ctx context.Context) error {
	if err := faults.Clear(c.engine.FaultDir(), faults.SubnetChanges); err != nil {
		return err
	}
	return c.engine.MoveSubnets(ctx)
}

// refused is a refusal of the grammar that is found while a command runs.
func refused(err error) error {
	var refusal *grammar.Refusal
	if errors.As(err, &refusal) {
		return errors.New(refusal.Message)
	}
	return err
}

// daemonGone is what every command says when the daemon does not answer.
func daemonGone(command string) error {
	return errors.New(`interrupted: "failed to ` + command + `" (cause: "interrupted: "XPC connection error: Connection invalid"")` +
		"\nEnsure container system service has been started with `container system start`.")
}
