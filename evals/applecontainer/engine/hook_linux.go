package engine

import (
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/shape"
)

// writeHook writes the description that Podman finds the hook by.
func (e *Engine) writeHook() error {
	return save(e.path("hooks", "standin.json"), map[string]any{
		"version": "1.0.0",
		"hook":    map[string]any{"path": e.self, "args": []string{string(RoleHook), e.dir}},
		"when":    map[string]any{"always": true},
		"stages":  []string{"precreate"},
	})
}

// RewriteSpec is the hook: it reads the specification of a container that is
// about to run, with its root file system mounted, and writes it as the guest
// shall have it. A refusal is left for the starter, since Podman passes on only
// that there was one.
func (e *Engine) RewriteSpec(in io.Reader, out io.Writer) error {
	var spec specs.Spec
	if err := json.NewDecoder(in).Decode(&spec); err != nil {
		return fmt.Errorf("hook: the specification cannot be read: %w", err)
	}
	id := spec.Annotations[podmanLabel]
	c, err := e.container(id)
	if err != nil {
		return fmt.Errorf("hook: %w", err)
	}
	if err := e.rewrite(&spec, c); err != nil {
		return errors.Join(err, save(e.containerPath(id, fileRefusal), asError(err)))
	}
	return json.NewEncoder(out).Encode(spec)
}

func (e *Engine) rewrite(spec *specs.Spec, c *container) error {
	guest := &guestRoot{rootfs: spec.Root.Path, mounts: c.Config.Mounts}
	process, err := e.process(guest, c)
	if err != nil {
		return err
	}
	spec.Process = process
	spec.Root.Readonly = c.Config.ReadOnly
	spec.Linux.Seccomp, spec.Linux.Sysctl = nil, nil
	spec.Linux.MaskedPaths = append(spec.Linux.MaskedPaths, c.Config.MaskedPaths...)
	spec.Linux.ReadonlyPaths = append(spec.Linux.ReadonlyPaths, c.Config.ReadonlyPaths...)
	spec.Mounts = slices.DeleteFunc(spec.Mounts, func(m specs.Mount) bool { return isPodmans(m.Destination) })
	spec.Mounts = append(spec.Mounts, e.mounts(c)...)
	if err := e.writeNames(guest, c); err != nil {
		return err
	}
	id := c.Config.ID
	if err := os.WriteFile(e.containerPath(id, fileRootfs), []byte(spec.Root.Path), 0o600); err != nil {
		return err
	}
	return save(e.containerPath(id, fileProcess), process)
}

// isPodmans says whether a mount is Podman's idea and none of Apple's.
func isPodmans(destination string) bool {
	return slices.Contains([]string{
		"/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/etc/passwd", "/etc/group", "/run/.containerenv", "/run/secrets",
	}, destination)
}

// process is the init process as the guest runs it.
func (e *Engine) process(guest *guestRoot, c *container) (*specs.Process, error) {
	init := c.Config.InitProcess
	uid, gid, groups, err := guest.user(init.User, slices.Concat(init.SupplementalGroups, c.GroupsAdd))
	if err != nil {
		return nil, err
	}
	have, err := e.available()
	if err != nil {
		return nil, err
	}
	process := &specs.Process{
		Terminal:     init.Terminal,
		User:         specs.User{UID: uid, GID: gid, AdditionalGids: groups},
		Args:         append([]string{init.Executable}, init.Arguments...),
		Env:          init.Environment,
		Cwd:          path.Join("/", init.WorkingDirectory),
		Capabilities: capabilityFields(capabilitySet(c.Config.CapAdd, c.Config.CapDrop, have)),
		Rlimits:      rlimits(init.Rlimits),
	}
	if !guest.executable(init.Executable, process.Env) {
		return nil, missingExecutable(init.Executable)
	}
	if err := guest.makeDirectory(process.Cwd); err != nil {
		return nil, because(err, "failed to create the working directory %s", process.Cwd)
	}
	if c.Config.UseInit {
		if err := e.static(); err != nil {
			return nil, err
		}
		process.Args = append([]string{initPath}, process.Args...)
	}
	return process, nil
}

// static refuses a build of this program that needs a C library: guests have
// none, or another one.
func (e *Engine) static() error {
	program, err := elf.Open(e.self)
	if err != nil {
		return because(err, "the stand-in cannot read itself")
	}
	defer func() { _ = program.Close() }()
	for _, part := range program.Progs {
		if part.Type == elf.PT_INTERP {
			return Failf(Unsupported, "the stand-in was built with cgo and cannot run in guests: build it with CGO_ENABLED=0")
		}
	}
	return nil
}

// capabilityFields has no inheritable and no ambient set, so that a process of
// another user than 0 loses the set when it executes, as in Apple's guest.
func capabilityFields(set []string) *specs.LinuxCapabilities {
	return &specs.LinuxCapabilities{Bounding: set, Effective: set, Permitted: set}
}

// available are the capabilities that this process can hand on.
func (e *Engine) available() ([]string, error) {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		if text, ok := strings.CutPrefix(line, "CapBnd:"); ok {
			mask, err := strconv.ParseUint(strings.TrimSpace(text), 16, 64)
			return capabilitiesOf(mask), err
		}
	}
	return nil, errors.New("/proc/self/status has no CapBnd")
}

// rlimits never ask for more than this host may give.
func rlimits(wanted []shape.Rlimit) []specs.POSIXRlimit {
	var out []specs.POSIXRlimit
	for _, w := range wanted {
		limit := specs.POSIXRlimit{Type: w.Limit, Soft: w.Soft, Hard: w.Hard}
		var own unix.Rlimit
		if resource, known := rlimitNumber(w.Limit); known && unix.Getrlimit(resource, &own) == nil {
			limit.Soft, limit.Hard = min(limit.Soft, own.Max), min(limit.Hard, own.Max)
		}
		out = append(out, limit)
	}
	return out
}

func rlimitNumber(name string) (int, bool) {
	number, known := map[string]int{
		"RLIMIT_CPU": 0, "RLIMIT_FSIZE": 1, "RLIMIT_DATA": 2, "RLIMIT_STACK": 3, "RLIMIT_CORE": 4, "RLIMIT_RSS": 5,
		"RLIMIT_NPROC": 6, "RLIMIT_NOFILE": 7, "RLIMIT_MEMLOCK": 8, "RLIMIT_AS": 9, "RLIMIT_LOCKS": 10,
		"RLIMIT_SIGPENDING": 11, "RLIMIT_MSGQUEUE": 12, "RLIMIT_NICE": 13, "RLIMIT_RTPRIO": 14, "RLIMIT_RTTIME": 15,
	}[name]
	return number, known
}

// initPath is where the small init is in the guest.
const initPath = "/.cz-init"

// mounts are the container's own, behind Podman's, in order.
func (e *Engine) mounts(c *container) []specs.Mount {
	var out []specs.Mount
	for _, m := range c.Config.Mounts {
		if i := slices.Index(c.Relays, socketMount{Host: m.Source, Guest: m.Destination}); i >= 0 {
			out = append(out, bind(e.relayPath(c.Config.ID, i), m.Destination, false))
			continue
		}
		if _, tmpfs := m.Type[shape.MountTmpfs]; tmpfs {
			out = append(out, specs.Mount{Destination: m.Destination, Type: "tmpfs", Source: "tmpfs", Options: m.Options})
			continue
		}
		out = append(out, bind(m.Source, m.Destination, slices.Contains(m.Options, "ro")))
	}
	if c.Config.UseInit {
		out = append(out, bind(e.self, initPath, true))
	}
	return out
}

func bind(source, destination string, readOnly bool) specs.Mount {
	options := []string{"rbind", "rprivate", "rw"}
	if readOnly {
		options[2] = "ro"
	}
	return specs.Mount{Destination: destination, Type: "bind", Source: source, Options: options}
}

// writeNames writes hosts and resolv.conf into the root file system, where the
// guest may change them. With --no-dns the image's resolv.conf stays.
func (e *Engine) writeNames(guest *guestRoot, c *container) error {
	r, err := e.run(c.Config.ID)
	if err != nil {
		return err
	}
	hosts := "127.0.0.1 localhost\n"
	nameservers := []string{}
	if r != nil && len(r.Networks) > 0 {
		first := r.Networks[0]
		bare, _, _ := strings.Cut(first.IPv4Address, "/")
		hosts += bare + " " + hostname(c.Config.ID) + "\n"
		nameservers = append(nameservers, first.IPv4Gateway)
	}
	if err := guest.write("/etc/hosts", hosts); err != nil {
		return because(err, "failed to write /etc/hosts")
	}
	if c.Config.DNS == nil {
		return nil
	}
	if err := guest.write("/etc/resolv.conf", resolvConf(*c.Config.DNS, nameservers)); err != nil {
		return because(err, "failed to write /etc/resolv.conf")
	}
	return nil
}

// resolvConf is the file for a configuration; the gateway serves where no
// nameserver was asked for.
func resolvConf(dns shape.DNS, gateway []string) string {
	nameservers := dns.Nameservers
	if len(nameservers) == 0 {
		nameservers = gateway
	}
	var out strings.Builder
	for _, n := range nameservers {
		out.WriteString("nameserver " + n + "\n")
	}
	if dns.Domain != "" {
		out.WriteString("domain " + dns.Domain + "\n")
	}
	if len(dns.SearchDomains) > 0 {
		out.WriteString("search " + strings.Join(dns.SearchDomains, " ") + "\n")
	}
	if len(dns.Options) > 0 {
		out.WriteString("options " + strings.Join(dns.Options, " ") + "\n")
	}
	return out.String()
}
