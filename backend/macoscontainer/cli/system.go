package cli

import (
	"context"
	"fmt"
	"regexp"
)

// versionLine is in "container CLI version 1.2.2 (build: release, commit: …)".
var versionLine = regexp.MustCompile(`\bversion ([0-9][^\s()]*)`)

// Version returns the program's own version, such as "1.2.2". It needs no
// daemon.
func (c *CLI) Version(ctx context.Context) (string, error) {
	v := subcommand("", "--version")
	out, err := c.do(ctx, call{argv: v, deadline: versionDeadline})
	if err != nil {
		return "", err
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return "", v.garbled(fmt.Errorf("it printed %.80q where Apple's container prints its version", lastLine(string(out))))
	}
	return string(m[1]), nil
}

// SystemStatus tells whether the daemon answers. One that does not is no error.
func (c *CLI) SystemStatus(ctx context.Context) (Status, error) {
	v := subcommand("", "system", "status")
	v.option("format", "json")
	out, err := c.do(ctx, call{argv: v, deadline: statusDeadline})
	status, broken := decodeStatus(out)
	switch {
	case err != nil && broken == nil && KindOf(err) != KindTimeout && KindOf(err) != KindKilled && !status.Running:
		return status, nil // exit 1 and the state on stdout
	case err != nil:
		return Status{}, err
	case broken != nil:
		return Status{}, v.garbled(broken)
	}
	return status, nil
}

// SystemVersion returns the versions of the program and of the daemon, which
// differ after an update until the daemon is started again.
func (c *CLI) SystemVersion(ctx context.Context) (Versions, error) {
	v := subcommand("", "system", "version")
	v.option("format", "json")
	out, err := c.do(ctx, call{argv: v, deadline: versionDeadline})
	if err != nil {
		return Versions{}, err
	}
	versions, broken := decodeVersions(out)
	if broken != nil {
		return Versions{}, v.garbled(broken)
	}
	return versions, nil
}
