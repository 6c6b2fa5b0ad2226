package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxDockerfile is the size from which on the builder fails without a reason.
const maxDockerfile = 16 << 10

// Build builds an image and returns its tags. It starts the builder when it
// must; one build runs at a time, because another resolver means another
// builder. Of a failed build, the *Error's Stderr holds the log's end.
func (c *CLI) Build(ctx context.Context, req BuildRequest) ([]string, error) {
	v := req.vector()
	var out []byte
	err := c.retry(ctx, afterBuilder(), func() (err error) {
		out, err = c.do(ctx, call{argv: v, deadline: buildDeadline, gate: c.gates.build, stderr: req.Progress})
		return err
	})
	if err != nil {
		return nil, err
	}
	tags := references(out)
	if len(tags) == 0 {
		return nil, v.garbled(errors.New("it ended well and named no image"))
	}
	return tags, nil
}

func (r BuildRequest) vector() *vector {
	v := subcommand(r.Tag, "build")
	v.check(checkReference(r.Tag))
	v.check(checkDockerfile(r.Dockerfile))
	v.check(checkPath("the build's context", r.Context))
	v.check(checkPlatform(r.Platform))
	v.check(checkDNS(r.DNS))
	v.check(checkContainerLabels(r.Labels))
	for k := range r.BuildArgs {
		if k == "" || strings.Contains(k, "=") {
			v.refuse("build argument %.80q: its name must not be empty nor hold '='", k)
		}
	}
	v.option("progress", "plain")
	v.option("tag", r.Tag)
	v.option("file", r.Dockerfile)
	v.given("platform", r.Platform)
	v.options("dns", r.DNS)
	v.pairs("build-arg", r.BuildArgs)
	v.pairs("label", r.Labels)
	v.flag("no-cache", r.NoCache)
	v.words(r.Context)
	return v
}

func checkDockerfile(path string) error {
	if err := checkPath("the Dockerfile", path); err != nil {
		return err
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Errorf("the Dockerfile cannot be read: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("the Dockerfile %.200q is no regular file", path)
	case info.Size() >= maxDockerfile:
		return fmt.Errorf("the Dockerfile %.200q has %d bytes: the builder takes less than %d", path, info.Size(), maxDockerfile)
	}
	return nil
}

// BuilderStatus returns the builder's state; its ID can be given to Exec.
func (c *CLI) BuilderStatus(ctx context.Context) (Builder, error) {
	v := subcommand("", "builder", "status")
	v.option("format", "json")
	out, err := c.do(ctx, call{argv: v, deadline: statusDeadline})
	if err != nil {
		return Builder{}, err
	}
	if strings.TrimSpace(string(out)) == "builder is not running" {
		return Builder{}, nil // in words whatever the format, from some versions
	}
	found, err := decoded(v, out, decodeContainer)
	if err != nil || len(found) == 0 {
		return Builder{}, err
	}
	b := found[0]
	return Builder{State: b.State, ID: b.ID, Nameservers: b.Nameservers}, nil
}

// BuilderStart starts the builder, with other settings in place of a running
// one that differs. It waits for a build that runs.
func (c *CLI) BuilderStart(ctx context.Context, req BuilderRequest) error {
	v := subcommand("", "builder", "start")
	v.check(checkDNS(req.DNS))
	v.options("dns", req.DNS)
	return c.retry(ctx, afterBuilder(), func() error {
		_, err := c.do(ctx, call{argv: v, deadline: builderDeadline, gate: c.gates.build, stdout: io.Discard})
		return err
	})
}

// BuilderStop stops the builder; none is success. It waits for a build that runs.
func (c *CLI) BuilderStop(ctx context.Context) error {
	v := subcommand("", "builder", "stop")
	_, err := c.do(ctx, call{argv: v, deadline: deleteDeadline, gate: c.gates.build, stdout: io.Discard})
	return err
}
