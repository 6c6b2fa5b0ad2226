package grammar

import (
	"slices"
	"strconv"
	"strings"
)

const (
	rulePlatform = "platform"
	ruleCopy     = "copy"
	ruleList     = "list-form"
	ruleKernel   = "kernel-source"
	ruleSecret   = "secret"
	ruleCount    = "downloads"
)

// Check applies what the program checks when a command that it parsed begins to
// run, as far as the command line alone decides: names, labels, sizes, mounts,
// ports. It stops there with 1, where the parser would have with 64; an error
// is a *Refusal. What depends on the host or on the daemon is not looked at.
func Check(p Parsed) error {
	cmd := load().Commands[p.Command()]
	if cmd == nil || p.Info != "" {
		return nil
	}
	if err := checkOptions(cmd, p); err != nil {
		return err
	}
	for _, constraint := range cmd.Constraints {
		if check := checkOfConstraint(constraint); check != nil {
			if err := check(p); err != nil {
				return err
			}
		}
	}
	if p.Command() == "system kernel set" {
		return checkKernelSource(p)
	}
	return nil
}

// checkOptions looks at each value by the syntax that the contract has for it.
func checkOptions(cmd *command, p Parsed) error {
	for _, opt := range cmd.Options {
		check := checkOfSyntax(opt.Syntax)
		if check == nil || opt.Names[0] == "--ulimit" && slices.Contains(cmd.Constraints, constraintNoUlimit) {
			continue
		}
		values := p.Options[opt.canonical()]
		if !opt.Repeatable && len(values) > 1 {
			values = values[len(values)-1:] // the others never counted
		}
		for _, value := range values {
			if err := check(value); err != nil {
				return err
			}
		}
	}
	return nil
}

// constraintNoUlimit is what the contract says of a command that takes limits
// and forgets them.
const constraintNoUlimit = "--ulimit is parsed and ignored"

// checkOfSyntax is the check that goes with the contract's word for a syntax;
// nil for one that any value has or that the parser has checked.
func checkOfSyntax(syntax string) func(string) error {
	switch start, _, _ := strings.Cut(syntax, " "); start {
	case "container":
		return CheckContainerID
	case "KEY=VALUE[,...];":
		return only(ParseMount)
	case "HOST_PATH:GUEST_PATH[:OPT[,OPT]]":
		return only(ParseVolume)
	case "HOST_PATH:CONTAINER_PATH":
		return only(ParsePublishSocket)
	case "[HOST-IP:]HOST-PORT[-END]:CONTAINER-PORT[-END][/tcp|/udp];":
		return only(ParsePublish)
	case "NAME[,mac=XX:XX:XX:XX:XX:XX][,mtu=1280..65535]":
		return only(ParseNetworkAttachment)
	case "TYPE=SOFT[:HARD];":
		return only(ParseUlimit)
	case "NUMBER[b|k|m|g|t|p][b|ib],", "as":
		return checkMemory
	case "[CAP_]NAME|ALL":
		return checkCapability
	case "ABSOLUTE-PATH|NONE":
		return checkHiddenPath
	case "http|https|auto":
		return checkScheme
	case "OS/ARCH[/VARIANT]", "OS/ARCH[/VARIANT][,...]":
		return checkPlatforms
	case "id=KEY[,env=VAR":
		return checkSecret
	default:
		return nil
	}
}

// only turns a reader of values into a check of them.
func only[T any](read func(string) (T, error)) func(string) error {
	return func(value string) error {
		_, err := read(value)
		return err
	}
}

// checkOfConstraint is the check that goes with a constraint of the contract;
// nil for one that the parser has checked or that the host decides.
func checkOfConstraint(constraint string) func(Parsed) error {
	switch constraint {
	case "'none' must be the only --network (exit 1)":
		return func(p Parsed) error { return checkNetworks(p.Options["network"]) }
	case "at most 64 publish specs; host port ranges of the same protocol may not overlap, host address is not considered (exit 1)":
		return func(p Parsed) error { return checkPublishes(p.Options["publish"]) }
	case "memory >= 200 MiB (exit 1)":
		return checkMemoryOption
	case "a --label value cannot contain '=' (exit 1)", "--label keys must match names.network_label (exit 1)":
		return func(p Parsed) error { _, err := Labels(p); return err }
	case "--max-concurrent-downloads must be > 0 (exit 1)":
		return checkDownloads
	case "--mount type=bind source must be a directory; -v accepts a file":
		return checkContainerSets
	case "name must match names.network; 'none' refused; existing name: exit 1, exists":
		return func(p Parsed) error { return CheckNetworkName(p.Positionals[0]) }
	case "exactly one side is ID:/absolute/path; a local path holding ':' is refused":
		return checkCopy
	case "--quiet with --verbose: exit 1":
		return checkListForm
	default:
		return nil
	}
}

func checkMemoryOption(p Parsed) error {
	size, given := p.Last("memory")
	if !given {
		return nil
	}
	return checkContainerMemory(size)
}

func checkDownloads(p Parsed) error {
	text, given := p.Last("max-concurrent-downloads")
	if n, err := strconv.Atoi(text); given && (err != nil || n <= 0) {
		return failure(ruleCount, codeInvalidArgument, "maximum number of concurrent downloads must be greater than 0, got "+text)
	}
	return nil
}

// checkContainerSets looks at what a container may not have twice or empty.
func checkContainerSets(p Parsed) error {
	if slices.Contains(p.Options["tmpfs"], "") {
		return mountFailure("mount destination cannot be empty")
	}
	return checkUlimits(p.Options["ulimit"])
}

// checkCopy looks at the sides of a copy, of which one is in a container.
func checkCopy(p Parsed) error {
	inside := 0
	for _, ref := range p.Positionals {
		parts := strings.Split(ref, ":")
		switch {
		case len(parts) == 1:
		case len(parts) == 2 && parts[0] != "" && strings.HasPrefix(parts[1], "/"):
			inside++
		default:
			return failure(ruleCopy, codeInvalidArgument, "invalid path given: "+ref)
		}
	}
	if inside != 1 {
		return failure(ruleCopy, codeInvalidArgument, "one of source or destination must be a container reference (container_id:path)")
	}
	return nil
}

func checkListForm(p Parsed) error {
	if p.Flags["quiet"] && p.Flags["verbose"] {
		return failure(ruleList, codeInvalidArgument, "cannot use flag --quiet and --verbose together")
	}
	return nil
}

func checkScheme(scheme string) error {
	if scheme == "http" || scheme == "https" || scheme == "auto" {
		return nil
	}
	return failure(ruleScheme, codeInvalidArgument, "unsupported scheme "+scheme)
}

// checkPlatforms accepts a list where the command does and where it does not,
// since a comma is in no platform's name.
func checkPlatforms(platforms string) error {
	for platform := range strings.SplitSeq(platforms, ",") {
		parts := strings.Split(platform, "/")
		if len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
			return failure(rulePlatform, codeInvalidArgument, "invalid platform "+platform)
		}
	}
	return nil
}

// checkSecret reads id=KEY with at most one of env=VAR and src=PATH behind it.
func checkSecret(secret string) error {
	id, source, more := strings.Cut(secret, ",")
	key, found := strings.CutPrefix(id, "id=")
	kind, from, pair := strings.Cut(source, "=")
	if !found || key == "" || more && (!pair || from == "" || kind != "env" && kind != "src") {
		return failure(ruleSecret, codeInvalidArgument, "invalid secret")
	}
	return nil
}

// checkKernelSource is the one late check that ends as a usage error.
func checkKernelSource(p Parsed) error {
	_, binary := p.Last("binary")
	_, tar := p.Last("tar")
	_, digest := p.Last("digest")
	switch {
	case p.Flags["recommended"]:
		return nil
	case digest && !tar:
		return usage(ruleKernel, "'--digest' can only be used with '--tar'")
	case !binary:
		return usage(ruleKernel, "missing argument '--binary'")
	}
	return nil
}
