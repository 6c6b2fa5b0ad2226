package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/grammar" //nolint:depguard // the contract as data, which the stand-in exists to follow
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/engine"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/shape"
)

const (
	defaultCPUs   = 4
	defaultMemory = 1 << 30
	defaultMTU    = 1280
	mebibyte      = 1 << 20
)

func (c *call) create(ctx context.Context) error {
	id, err := c.createContainer(ctx)
	if err != nil {
		return err
	}
	c.println(id)
	return c.writeCIDFile(id)
}

// createContainer turns the command line into a container.
func (c *call) createContainer(ctx context.Context) (id string, err error) {
	id = cmp.Or(c.last("name"), engine.RandomID())
	reference := engine.Normalize(c.parsed.Positionals[0])
	image, err := c.localImage(reference)
	if err != nil {
		return "", err
	}
	req := engine.CreateRequest{Image: reference, AutoRemove: c.flag("rm") || c.flag("remove"), Stdin: c.flag("interactive")}
	req.Config, err = c.configuration(id, image)
	if err != nil {
		return "", err
	}
	if err := c.attach(&req.Config); err != nil {
		return "", err
	}
	if err := c.mount(&req); err != nil {
		return "", err
	}
	if err := c.publish(&req.Config); err != nil {
		return "", err
	}
	return id, c.engine.Create(ctx, req)
}

// localImage is the image, or what a pull ends with: there is no registry.
func (c *call) localImage(reference string) (shape.Image, error) {
	image, err := c.engine.Image(reference)
	if err != nil {
		return image, noRegistry(reference)
	}
	wanted := c.platform()
	for _, v := range image.Variants {
		if v.Platform.OS == wanted.OS && v.Platform.Architecture == wanted.Architecture {
			image.Variants = []shape.Variant{v}
			return image, nil
		}
	}
	return image, noRegistry(reference)
}

// platform is the one asked for, else this machine's.
func (c *call) platform() shape.Platform {
	platform := shape.Platform{OS: cmp.Or(c.last("os"), "linux"), Architecture: cmp.Or(c.last("arch"), engine.Architecture())}
	if text := c.last("platform"); text != "" {
		parts := strings.SplitN(text, "/", 3)
		platform = shape.Platform{OS: parts[0], Architecture: parts[1]}
		if len(parts) == 3 {
			platform.Variant = parts[2]
		}
	}
	if platform.Architecture == "arm64" {
		platform.Variant = "v8"
	}
	return platform
}

// imageConfig is what a container takes from an image's configuration.
type imageConfig struct {
	Config struct {
		Env, Cmd, Entrypoint         []string
		User, WorkingDir, StopSignal string
	} `json:"config"`
}

func (c *call) configuration(id string, image shape.Image) (shape.Configuration, error) {
	var from imageConfig
	config := shape.Configuration{
		ID: id, Platform: c.platform(), RuntimeHandler: cmp.Or(c.last("runtime"), string(engine.RoleRuntime)),
		Sysctls: map[string]string{}, ReadOnly: c.flag("read-only"), UseInit: c.flag("init"),
		Rosetta: c.flag("rosetta"), SSH: c.flag("ssh"), Virtualization: c.flag("virtualization"),
		MaskedPaths: c.parsed.Options["masked-path"], ReadonlyPaths: c.parsed.Options["read-only-path"],
	}
	if err := json.Unmarshal(image.Variants[0].Config, &from); err != nil {
		return config, fmt.Errorf("the image's configuration cannot be read: %w", err)
	}
	config.StopSignal = from.Config.StopSignal
	var err error
	if config.Labels, err = grammar.Labels(c.parsed); err != nil {
		return config, refused(err)
	}
	if config.InitProcess, err = c.process(from); err != nil {
		return config, err
	}
	if config.CapAdd, err = capabilityNames(c.parsed.Options["cap-add"]); err != nil {
		return config, err
	}
	if config.CapDrop, err = capabilityNames(c.parsed.Options["cap-drop"]); err != nil {
		return config, err
	}
	if size := c.last("shm-size"); size != "" {
		if config.ShmSize, err = grammar.ParseMemory(size); err != nil {
			return config, refused(err)
		}
	}
	if !c.flag("no-dns") {
		config.DNS = c.dns()
	}
	config.Resources, err = c.resources()
	return config, err
}

func capabilityNames(words []string) ([]string, error) {
	out := []string{}
	for _, word := range words {
		name, err := engine.CapabilityName(word)
		if err != nil {
			return nil, err
		}
		out = append(out, name)
	}
	return out, nil
}

func (c *call) dns() *shape.DNS {
	list := func(name string) []string { return append([]string{}, c.parsed.Options[name]...) }
	return &shape.DNS{
		Nameservers: list("dns"), SearchDomains: list("dns-search"), Options: list("dns-option"), Domain: c.last("dns-domain"),
	}
}

func (c *call) resources() (shape.Resources, error) {
	r := shape.Resources{CPUs: defaultCPUs, MemoryInBytes: defaultMemory, CPUOverhead: 1}
	if text := c.last("cpus"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return r, engine.Failf(engine.InvalidArgument, "invalid number of CPUs: %s", text)
		}
		r.CPUs = n
	}
	if text := c.last("memory"); text != "" {
		n, err := grammar.ParseMemory(text)
		if err != nil {
			return r, refused(err)
		}
		r.MemoryInBytes = n / mebibyte * mebibyte
	}
	return r, nil
}

// process is the init process: the image's, changed by the command line.
func (c *call) process(from imageConfig) (shape.Process, error) {
	p := shape.Process{
		Terminal: c.flag("tty"), SupplementalGroups: []uint32{}, Rlimits: []shape.Rlimit{},
		WorkingDirectory: cmp.Or(c.last("workdir"), c.last("cwd"), from.Config.WorkingDir, "/"),
	}
	words, rest := from.Config.Entrypoint, from.Config.Cmd
	if entrypoint := c.last("entrypoint"); entrypoint != "" {
		words, rest = []string{entrypoint}, nil
	}
	if given := c.parsed.Positionals[1:]; len(given) > 0 {
		rest = given
	}
	words = append(append([]string{}, words...), rest...)
	if len(words) == 0 || words[0] == "" {
		return p, engine.Failf(engine.InvalidArgument, "command/entrypoint not specified for container process")
	}
	p.Executable, p.Arguments = words[0], words[1:]
	user := grammar.ParseUser(c.parsed)
	p.User = userShape(user)
	if user.Default {
		p.User = shape.User{ID: &shape.UserID{}}
		if from.Config.User != "" {
			p.User = shape.User{Raw: &shape.UserRaw{UserString: from.Config.User}}
		}
	}
	p.SupplementalGroups = append(p.SupplementalGroups, user.Groups...)
	for _, spec := range c.parsed.Options["ulimit"] {
		limit, err := grammar.ParseUlimit(spec)
		if err != nil {
			return p, refused(err)
		}
		p.Rlimits = append(p.Rlimits, shape.Rlimit{Limit: "RLIMIT_" + strings.ToUpper(limit.Type), Soft: limit.Soft, Hard: limit.Hard})
	}
	added, err := c.environment()
	p.Environment = mergeEnvironment(from.Config.Env, added)
	return p, err
}

func userShape(user grammar.User) shape.User {
	if user.Name != "" {
		return shape.User{Raw: &shape.UserRaw{UserString: user.Name}}
	}
	return shape.User{ID: &shape.UserID{UID: user.UID, GID: user.GID}}
}

// environment is what --env-file and --env ask for, in order. A bare name
// copies from the program's own environment, or nothing.
func (c *call) environment() ([]string, error) {
	var words []string
	for _, path := range c.parsed.Options["env-file"] {
		lines, err := readEnvFile(path)
		if err != nil {
			return nil, err
		}
		words = append(words, lines...)
	}
	var out []string
	for _, word := range append(words, c.parsed.Options["env"]...) {
		if strings.Contains(word, "=") {
			out = append(out, word)
		} else if value, set := os.LookupEnv(word); set {
			out = append(out, word+"="+value)
		}
	}
	return out, nil
}

func readEnvFile(path string) ([]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, engine.Failf(engine.InvalidArgument, "failed to read envfile at %s", path)
	}
	defer func() { _ = file.Close() }()
	var out []string
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line != "" && line[0] != '#' {
			out = append(out, line)
		}
	}
	return out, lines.Err()
}

// mergeEnvironment lets the later of two variables win. Their order is that of
// a map, which is none, as in the program's own output.
func mergeEnvironment(lists ...[]string) []string {
	values := map[string]string{}
	for _, list := range lists {
		for _, kv := range list {
			if name, value, ok := strings.Cut(kv, "="); ok {
				values[name] = value
			}
		}
	}
	out := make([]string, 0, len(values))
	for name, value := range values {
		out = append(out, name+"="+value)
	}
	return out
}

// attach sets the networks in the order of the options: the first one has the
// default route.
func (c *call) attach(config *shape.Configuration) error {
	config.Networks = []shape.WantedNetwork{}
	specs := c.parsed.Options["network"]
	if len(specs) == 0 {
		specs = []string{engine.DefaultNetwork}
	}
	if len(specs) == 1 && specs[0] == "none" {
		return nil
	}
	for _, spec := range specs {
		a, err := grammar.ParseNetworkAttachment(spec)
		if err != nil {
			return refused(err)
		}
		config.Networks = append(config.Networks, shape.WantedNetwork{Network: a.Network, Options: shape.NetworkOptions{
			Hostname: config.ID, MTU: cmp.Or(a.MTU, defaultMTU), MACAddress: a.MAC,
		}})
	}
	return nil
}

// publish sets ports and sockets. What is no socket at a host path goes; a
// socket there is somebody's and an error.
func (c *call) publish(config *shape.Configuration) error {
	config.PublishedPorts, config.PublishedSockets = []shape.Port{}, []shape.Socket{}
	for _, spec := range c.parsed.Options["publish"] {
		p, err := grammar.ParsePublish(spec)
		if err != nil {
			return refused(err)
		}
		config.PublishedPorts = append(config.PublishedPorts, shape.Port{
			HostAddress: p.HostAddress.String(), HostPort: int(p.HostPort), ContainerPort: int(p.ContainerPort),
			Proto: p.Protocol, Count: int(p.Count),
		})
	}
	for _, spec := range c.parsed.Options["publish-socket"] {
		s, err := grammar.ParsePublishSocket(spec)
		if err != nil {
			return refused(err)
		}
		host, err := filepath.Abs(s.Host)
		if err != nil {
			return err
		}
		if err := clearSocketPath(host); err != nil {
			return err
		}
		config.PublishedSockets = append(config.PublishedSockets, shape.Socket{HostPath: host, ContainerPath: s.Guest})
	}
	return nil
}

func clearSocketPath(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return os.MkdirAll(filepath.Dir(path), 0o755)
	case err != nil:
		return err
	case info.Mode()&fs.ModeSocket != 0:
		return engine.Failf(engine.InvalidArgument, "host socket %s already exists and may be in use", path)
	default:
		return os.Remove(path)
	}
}

func (c *call) writeCIDFile(id string) error {
	path := c.last("cidfile")
	if path == "" {
		return nil
	}
	return os.WriteFile(path, []byte(id), 0o644)
}
