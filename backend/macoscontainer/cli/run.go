package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// noNetwork is what the program calls a container without an interface.
const noNetwork = "none"

// Run starts a container detached and returns its id. One container starts at a
// time. The image must be here already, or the program fetches it. A failure
// can leave the container behind.
func (c *CLI) Run(ctx context.Context, req RunRequest) (string, error) {
	v := req.vector()
	out, err := c.do(ctx, call{argv: v, deadline: runDeadline, gate: c.gates.boot})
	if err != nil {
		return "", err
	}
	id := lastLine(string(out))
	if checkContainer(id) != nil || req.Name != "" && id != req.Name {
		return "", v.garbled(fmt.Errorf("it printed %.80q instead of the container's id", id))
	}
	return id, nil
}

// vector is the request's. Progress is off because it would be mixed into the
// words of an error.
func (r RunRequest) vector() *vector {
	v := subcommand(r.Name, "run")
	for _, err := range r.checks() {
		v.check(err)
	}
	v.flag("detach", true)
	v.option("progress", "none")
	v.given("name", r.Name)
	v.given("platform", r.Platform)
	v.given("entrypoint", r.Entrypoint)
	v.options("env", r.Env)
	v.pairs("label", r.Labels)
	networks := r.Networks
	if len(networks) == 0 {
		networks = []string{noNetwork}
	}
	v.options("network", networks)
	v.options("dns", r.DNS)
	v.flag("no-dns", r.NoDNS)
	v.user(r.UID, r.GID)
	v.given("workdir", r.Workdir)
	v.flag("init", r.Init)
	v.flag("read-only", r.ReadOnly)
	v.options("cap-drop", r.CapDrop)
	v.options("cap-add", r.CapAdd)
	v.resources(r.CPUs, r.MemoryBytes)
	v.options("ulimit", r.Ulimits)
	v.options("tmpfs", r.Tmpfs)
	v.mounts(r.Mounts)
	v.published(r.Publish)
	for _, s := range r.Sockets {
		v.option("publish-socket", s.Host+":"+s.Guest)
	}
	v.words(append([]string{r.Image}, r.Args...)...)
	return v
}

// checks are the request's values, one after the other.
func (r RunRequest) checks() []error {
	errs := []error{
		checkReference(r.Image),
		checkPlatform(r.Platform),
		checkEnv(r.Env),
		checkContainerLabels(r.Labels),
		checkDNS(r.DNS),
		checkUser(r.UID, r.GID),
		checkCapabilities(slices.Concat(r.CapDrop, r.CapAdd)),
		checkResources(r.CPUs, r.MemoryBytes),
		checkUlimits(r.Ulimits),
		checkMounts(r.Mounts),
		checkPublished(r.Publish),
		checkSockets(r.Sockets),
	}
	if r.Name != "" {
		errs = append(errs, checkContainer(r.Name))
	}
	for _, n := range r.Networks {
		errs = append(errs, checkNetwork(n))
	}
	if r.NoDNS && len(r.DNS) > 0 {
		errs = append(errs, fmt.Errorf("nameservers and no resolver at all exclude each other"))
	}
	if r.Workdir != "" {
		errs = append(errs, checkPath("the working directory", r.Workdir))
	}
	for _, p := range r.Tmpfs {
		errs = append(errs, checkPath("a tmpfs", p))
	}
	return errs
}

func (v *vector) user(uid, gid int) {
	if uid >= 0 && gid >= 0 {
		v.option("uid", strconv.Itoa(uid))
		v.option("gid", strconv.Itoa(gid))
	}
}

// resources names the unit of memory: a bare number would be bytes.
func (v *vector) resources(cpus int, memory int64) {
	if cpus != 0 {
		v.option("cpus", strconv.Itoa(cpus))
	}
	if memory != 0 {
		v.option("memory", strconv.FormatInt(memory/mebibyte, 10)+"M")
	}
}

func (v *vector) mounts(mounts []Mount) {
	for _, m := range mounts {
		fields := []string{m.Host, m.Guest}
		if m.ReadOnly {
			fields = append(fields, "ro")
		}
		v.option("volume", strings.Join(fields, ":"))
	}
}

// published names the address: without one, the whole network could reach the
// port.
func (v *vector) published(ports []Publish) {
	for _, p := range ports {
		v.option("publish", fmt.Sprintf("127.0.0.1:%d:%d", p.HostPort, p.GuestPort))
	}
}
