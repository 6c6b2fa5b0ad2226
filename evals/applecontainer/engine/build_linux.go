package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/shape"
)

// BuildRequest builds an image in a builder that runs.
type BuildRequest struct {
	Dockerfile string
	Context    string
	Tags       []string // full names
	Args       []string
	Labels     []string
	Target     string
	Platform   string
	Log        io.Writer
}

// Build runs a build as a child, so that it ends with its caller, and names
// what it made.
func (e *Engine) Build(ctx context.Context, req BuildRequest) error {
	r, err := e.alive(Builder)
	if err != nil {
		return err
	}
	if r == nil {
		return Failf(InvalidState, "container %s is not running", Builder)
	}
	// When this program is killed, the rest goes with the builder.
	dir, err := os.MkdirTemp(e.containerPath(Builder), "build-")
	if err != nil {
		return err
	}
	id, err := e.podmanBuild(ctx, req, dir)
	if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
		return err
	}
	for _, tag := range req.Tags {
		if err := e.nameBuilt(ctx, id, tag); err != nil {
			return err
		}
	}
	return nil
}

// podmanBuild builds in the builder's network with the builder's names and
// returns Podman's id of the image.
func (e *Engine) podmanBuild(ctx context.Context, req BuildRequest, dir string) (string, error) {
	c, err := e.container(Builder)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "podman", append(e.buildFlags(c, req, dir), req.Context)...)
	cmd.Stdout, cmd.Stderr = req.Log, req.Log
	// A build whose caller is killed ends, and removes what it was working on.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGTERM}
	if err := cmd.Run(); err != nil {
		return "", &Error{Code: "unknown", Message: "failed to solve: the build did not succeed", Cause: err.Error()}
	}
	id, err := os.ReadFile(dir + "/id")
	return strings.TrimPrefix(strings.TrimSpace(string(id)), "sha256:"), err
}

func (e *Engine) buildFlags(c *container, req BuildRequest, dir string) []string {
	// A build's intermediate images would outlive it, nameless.
	flags := []string{
		"build", "--layers=false", "--force-rm", "--pull=never", "--format", "oci", "--no-hosts",
		"--network", e.netns(Builder), "--iidfile", dir + "/id", "--file", req.Dockerfile,
	}
	for _, server := range builderServers(c, e) {
		flags = append(flags, "--dns", server)
	}
	var limit unix.Rlimit
	for name, resource := range map[string]int{"nofile": unix.RLIMIT_NOFILE, "nproc": unix.RLIMIT_NPROC} {
		// Podman asks for more than a host without CAP_SYS_RESOURCE may give.
		if unix.Getrlimit(resource, &limit) == nil {
			most := strconv.FormatUint(min(limit.Max, 65536), 10)
			flags = append(flags, "--ulimit", name+"="+most+":"+most)
		}
	}
	for _, arg := range req.Args {
		flags = append(flags, "--build-arg", arg)
	}
	for _, label := range req.Labels {
		flags = append(flags, "--label", label)
	}
	if req.Target != "" {
		flags = append(flags, "--target", req.Target)
	}
	if req.Platform != "" {
		flags = append(flags, "--platform", req.Platform)
	}
	return flags
}

// builderServers are the nameservers that the builder has.
func builderServers(c *container, e *Engine) []string {
	if dns := c.Config.DNS; dns != nil && len(dns.Nameservers) > 0 {
		return dns.Nameservers
	}
	if n, err := e.network(DefaultNetwork); err == nil {
		return []string{n.Shape.Status.IPv4Gateway}
	}
	return nil
}

// nameBuilt names an image by Podman's id.
func (e *Engine) nameBuilt(ctx context.Context, podmanID, name string) error {
	unlock, err := e.lock(ctx, apiLock)
	if err != nil {
		return err
	}
	defer unlock()
	if err := e.name(ctx, podmanID, name, e.holder(name)); err != nil {
		return because(err, "failed to tag %s", name)
	}
	return nil
}

// BuilderState is the builder as it is printed, if there is one.
func (e *Engine) BuilderState() (shape.Container, bool, error) {
	c, err := e.Container(Builder)
	var missing *Error
	if errors.As(err, &missing) && missing.Code == NotFound {
		return shape.Container{}, false, nil
	}
	if err != nil {
		return shape.Container{}, false, fmt.Errorf("the builder's state: %w", err)
	}
	return c, true, nil
}
