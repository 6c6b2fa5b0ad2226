package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/faults"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/shape"
)

// CreateRequest makes a container. Config lacks its creation date and image.
type CreateRequest struct {
	Config     shape.Configuration `json:"config"`
	Image      string              `json:"image"` // normalised reference
	AutoRemove bool                `json:"auto_remove"`
	Stdin      bool                `json:"stdin"`
	Sockets    []shape.Mount       `json:"sockets"` // hosts' sockets to relay
	GroupsAdd  []uint32            `json:"groups_add"`
}

// podmanLabel marks what is ours in Podman; the hook finds the container by it.
const podmanLabel = "bottle-standin"

// createContainer runs under the daemon's lock.
func (e *Engine) createContainer(ctx context.Context, req CreateRequest) error {
	id := req.Config.ID
	image, err := e.checkCreate(req)
	if err != nil {
		return err
	}
	c := &container{
		Config: req.Config, Image: image.ID, AutoRemove: req.AutoRemove, Stdin: req.Stdin, GroupsAdd: req.GroupsAdd,
	}
	for _, s := range req.Sockets {
		c.Relays = append(c.Relays, socketMount{Host: s.Source, Guest: s.Destination})
	}
	c.Config.CreationDate = shape.Date(time.Now())
	c.Config.Image = shape.ImageRef{Reference: image.Reference, Descriptor: image.Descriptor}
	// The directory without a record is what a killed call left behind.
	if err := os.RemoveAll(e.containerPath(id)); err != nil {
		return err
	}
	if err := os.MkdirAll(e.containerPath(id), 0o750); err != nil {
		return err
	}
	c.PodmanID, err = e.podmanCreate(ctx, c)
	if err != nil {
		err = errors.Join(err, os.RemoveAll(e.containerPath(id)), os.RemoveAll(e.netns(id)))
		return because(err, "failed to create container %s", id)
	}
	return save(e.containerPath(id, fileConfig), c)
}

// checkCreate refuses what the daemon refuses.
func (e *Engine) checkCreate(req CreateRequest) (*image, error) {
	id := req.Config.ID
	if _, err := e.container(id); err == nil {
		return nil, Failf(Exists, "container with id %s already exists", id)
	}
	image, err := e.image(req.Image)
	if err != nil {
		return nil, err
	}
	if image.runs() == nil || e.faults.On(faults.WrongPlatform) {
		return nil, Failf(Unsupported, "image %s has no variant for linux/%s", req.Image, Architecture())
	}
	if e.faults.On(faults.SecondNetwork) && len(req.Config.Networks) > 1 {
		return nil, Failf(Unsupported, "more than one network is not supported")
	}
	for _, wanted := range req.Config.Networks {
		if _, err := e.network(wanted.Network); err != nil {
			return nil, err
		}
	}
	return image, nil
}

// podmanCreate hands Podman what the hook does not: the name, the image, the
// network namespace, where the log goes, and limits.
func (e *Engine) podmanCreate(ctx context.Context, c *container) (string, error) {
	id := c.Config.ID
	network := "none"
	if len(c.Config.Networks) > 0 {
		network = "ns:" + e.netns(id)
		// Podman looks whether it is there; each start mounts a namespace on it.
		if err := os.WriteFile(e.netns(id), nil, 0o600); err != nil {
			return "", err
		}
	}
	args := []string{
		"create", "--name", id, "--label", podmanLabel + "=" + id, "--annotation", podmanLabel + "=" + id,
		"--network", network, "--no-hosts", "--hostname", hostname(id),
		"--user", "0:0", "--workdir", "/", "--entrypoint", "", "--image-volume", "ignore", "--systemd", "false",
		"--pull", "never", "--log-driver", "k8s-file", "--log-opt", "path=" + e.containerPath(id, fileLog),
		"--pidfile", e.containerPath(id, filePID), "--conmon-pidfile", e.containerPath(id, fileConmon),
		"--memory", strconv.FormatInt(c.Config.Resources.MemoryInBytes, 10) + "b",
		"--cpus", strconv.Itoa(c.Config.Resources.CPUs), "--pids-limit", "0",
	}
	if network != "none" {
		args = append(args, "--dns", "none")
	}
	if c.Config.ShmSize > 0 {
		args = append(args, "--shm-size", strconv.FormatInt(c.Config.ShmSize, 10)+"b")
	}
	if c.Stdin {
		args = append(args, "--interactive")
	}
	if c.Config.InitProcess.Terminal {
		args = append(args, "--tty")
	}
	// The hook puts the real command in place of this one.
	args = append(args, c.Image, "/nothing")
	out, err := output(ctx, "", "podman", args...)
	if err != nil && strings.Contains(err.Error(), "already in use") {
		// A name without a record is what a killed call left behind in Podman.
		if _, err := output(ctx, "", "podman", "rm", "-f", "-i", "-t", "0", id); err != nil {
			return "", err
		}
		out, err = output(ctx, "", "podman", args...)
	}
	return strings.TrimSpace(out), err
}

func (e *Engine) netns(id string) string { return e.path("netns", id) }

// hostname is the first label of a name.
func hostname(id string) string {
	first, _, _ := strings.Cut(id, ".")
	return first
}

// RandomID is a container's or an image's name when none is given.
func RandomID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
