package macoscontainer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/cli"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// Versions of Apple's program. From 1.0.0 on the JSON has its present shape
// and a container can be on two networks; 1.1.0 mends exec and copy.
var (
	minVersion     = []int{1, 0, 0}
	advisedVersion = []int{1, 1, 0}
	sealedVersion  = []int{1, 2, 0}
)

const (
	startHint   = "start it with `container system start --enable-kernel-install`"
	installHint = "install Apple's container 1.1.0 or later from https://github.com/apple/container/releases, or name the program in " + EnvProgram
)

// answerTime is how long one question to the service may take here, so that all
// conditions are judged in the time that a selection allows.
const answerTime = 4 * time.Second

// gateReason is why this backend serves no git gate.
const gateReason = "this backend does not deliver the gate's keys yet: how Apple's container shares a directory between host and guest is not proven to keep them from the agent"

// Check implements backend.Backend: every condition is a finding, and the first
// that does not hold is the reason.
func (b *Backend) Check(ctx context.Context) (backend.Capabilities, error) {
	topo, err := b.topology()
	if err != nil {
		return backend.Capabilities{}, &backend.UnavailableError{Backend: Name, Reason: err.Error()}
	}
	facts, err := b.facts(ctx)
	if err != nil {
		return backend.Capabilities{}, fmt.Errorf("check backend %s: %w", Name, err)
	}
	findings := facts.judge()
	var versions cli.Versions
	if sound(findings) {
		var more []backend.Finding
		versions, more = b.judgeEngine(ctx)
		findings = append(findings, more...)
	}
	if err := ctx.Err(); err != nil {
		return backend.Capabilities{}, fmt.Errorf("check backend %s: %w", Name, context.Cause(ctx))
	}
	if i := slices.IndexFunc(findings, broken); i >= 0 {
		return backend.Capabilities{}, &backend.UnavailableError{
			Backend: Name, Reason: findings[i].Detail, Fix: findings[i].Fix, Findings: findings,
		}
	}
	caps := capabilities(topo)
	caps.Findings = findings
	caps.Detail = fmt.Sprintf("Apple container %s on macOS %s, topology %s", versions.CLI, facts.macOS, topo)
	return caps, nil
}

func broken(f backend.Finding) bool { return !f.OK && !f.Advice }

func sound(findings []backend.Finding) bool { return !slices.ContainsFunc(findings, broken) }

// judgeEngine asks the program. It stops at the first condition that fails.
func (b *Backend) judgeEngine(ctx context.Context) (cli.Versions, []backend.Finding) {
	var v cli.Versions
	found := backend.Finding{Name: "container program"}
	version, err := b.cli.Version(ctx)
	if err != nil {
		found.Detail, found.Fix = err.Error(), installHint
		return v, []backend.Finding{found}
	}
	v.CLI = version
	found.OK, found.Detail = true, "container "+version
	findings := []backend.Finding{found, judgeVersion(version)}
	if !sound(findings) {
		return v, findings
	}
	findings = append(findings, b.judgeService(ctx))
	if !sound(findings) {
		return v, findings
	}
	if both, err := b.cli.SystemVersion(ctx); err == nil {
		findings = append(findings, judgeSame(both))
	}
	return v, append(findings, b.judgeNetworks(ctx))
}

func judgeVersion(version string) backend.Finding {
	f := backend.Finding{Name: "container 1.0.0", OK: true, Detail: "version " + version}
	n, err := parseVersion(version)
	switch {
	case err != nil:
		f.OK, f.Detail, f.Fix = false, err.Error(), installHint
	case slices.Compare(n, minVersion) < 0:
		f.OK, f.Fix = false, "update Apple's container to 1.1.0 or later"
		f.Detail = "container " + version + " is older than 1.0.0"
	case slices.Compare(n, advisedVersion) < 0:
		f = backend.Finding{
			Name: "container 1.1.0", Advice: true, Detail: "container " + version + " has bugs in exec and copy that 1.1.0 mended",
			Fix: "update Apple's container to 1.1.0 or later",
		}
	case slices.Compare(n, sealedVersion) < 0:
		f = backend.Finding{
			Name: "container 1.2.0", Advice: true, Detail: "container " + version + " leaves /proc/sys writable for a guest's root, which the self-test refuses",
			Fix: "update Apple's container to 1.2.0 or later",
		}
	}
	return f
}

// parseVersion reads the numbers of "1.2.3" or "1.2.3-beta.1".
func parseVersion(version string) ([]int, error) {
	core, _, _ := strings.Cut(version, "-")
	core, _, _ = strings.Cut(core, "+")
	parts := strings.Split(core, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("the container program calls itself %.40q, which is no version", version)
	}
	out := make([]int, 0, len(parts))
	for _, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("the container program calls itself %.40q, which is no version", version)
		}
		out = append(out, n)
	}
	return out, nil
}

func (b *Backend) judgeService(ctx context.Context) backend.Finding {
	f := backend.Finding{Name: "container service", Detail: "the service of Apple's container does not run", Fix: startHint}
	// A service that hangs is one that does not run.
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	status, err := b.cli.SystemStatus(ctx)
	switch {
	case err != nil:
		f.Detail = err.Error()
	case status.Running:
		f.OK, f.Detail, f.Fix = true, "running", ""
	case status.State != "":
		f.Detail += " (" + status.State + ")"
	}
	return f
}

// judgeSame is advice: after an update the old service goes on until it is
// started again.
func judgeSame(v cli.Versions) backend.Finding {
	f := backend.Finding{Name: "same version", OK: true, Advice: true, Detail: v.CLI}
	if v.Daemon != "" && v.Daemon != v.CLI {
		f.OK = false
		f.Detail = fmt.Sprintf("the program is %s, the running service %s", v.CLI, v.Daemon)
		f.Fix = "run `container system stop` and `container system start` when no container is needed"
	}
	return f
}

// judgeNetworks asks whether networks of one's own are possible.
func (b *Backend) judgeNetworks(ctx context.Context) backend.Finding {
	f := backend.Finding{Name: "networks", Fix: "update to macOS 26 or later and start the service again"}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	networks, err := b.cli.NetworkList(ctx)
	var failed *cli.Error
	switch {
	case errors.As(err, &failed) && failed.Kind == cli.KindUsage:
		f.Detail = "this macOS has no container networks"
	case err != nil:
		f.Detail, f.Fix = err.Error(), startHint
	case !slices.ContainsFunc(networks, func(n cli.Network) bool { return n.Name == "default" }):
		f.Detail = "the engine has no default network, so its network service does not work"
	default:
		f.OK, f.Detail, f.Fix = true, strconv.Itoa(len(networks))+" in use", ""
	}
	return f
}

// capabilities are those of a Mac that passed all checks.
func capabilities(topo topology) backend.Capabilities {
	c := backend.Capabilities{
		Isolation: []string{isolationVM},
		Services:  []sidecars.Service{sidecars.Egress, sidecars.Bottles},
		MultiUser: true,
		Images:    true,
		TTY:       true,
		Walls: []string{
			"a virtual machine per container, with a kernel of its own",
			"no capabilities in the agent, its bounding set empty, also through exec",
			"no_new_privs and seccomp (Moby's default profile, stricter) for every command",
			"the machine's block devices removed before anything runs",
			"agent without a resolver; the sidecar is the only peer",
			"this program, the CA and the bundle of CAs mounted read-only",
			"sidecar: a virtual machine of its own; daemons without capabilities; secrets handed over once and removed from disk",
			"limits: memory, processors, processes of a user, core dumps off",
		},
		Missing: []backend.Missing{
			{Name: "disk", Reason: "Apple's container has no limit for a guest's disk"},
			{Name: "processes of root", Reason: "the limit counts the agent's alone; the machine's memory bounds the rest"},
			{Name: string(sidecars.GitGate), Reason: gateReason},
		},
		HostAddresses: backend.HostAddresses(),
		Guest:         backend.GuestFacts{OwnKernel: true, NoNewPrivs: true, Seccomp: true, Interfaces: []string{"lo"}},
	}
	if topo == twoNetwork {
		c.Guest.Network = true
		c.Guest.Interfaces = append(c.Guest.Interfaces, "eth0")
		c.Guest.Advice = "Apple's host-only networks let this through on some releases: set " + EnvTopology + "=" + string(socket) +
			", where the agent has no network at all, and launch again"
		c.Walls = append(c.Walls, "agent on a host-only network of its own; what that lets through is tested at every launch")
	} else {
		c.Walls = append(c.Walls, "agent without any network; a relayed UNIX socket for each service leads to the sidecar")
	}
	return c
}
