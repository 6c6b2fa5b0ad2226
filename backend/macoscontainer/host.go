package macoscontainer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/command"
)

// factTimeout bounds one question to the operating system.
const factTimeout = 10 * time.Second

// minMacOS is the first release with networks of one's own: on 15 the program
// has no network command and containers cannot reach each other.
const minMacOS = 26

// hostFacts are what the operating system says of this machine.
type hostFacts struct {
	system  string // uname -s
	machine string // uname -m
	arm     bool   // the processor's own word, true also below Rosetta
	macOS   string // "26.1"
}

// ask runs one program of the operating system.
func ask(ctx context.Context, name string, args ...string) (string, error) {
	r, err := command.Run(ctx, command.Spec{Name: name, Args: args, Timeout: factTimeout})
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(r.Stdout)), nil
}

// readHost asks the operating system. Whatever cannot be asked stays empty.
func readHost(ctx context.Context) (hostFacts, error) {
	var h hostFacts
	var err error
	if h.system, err = ask(ctx, "uname", "-s"); err != nil {
		return h, fmt.Errorf("ask which system this is: %w", err)
	}
	if h.system != "Darwin" {
		return h, nil
	}
	if h.machine, err = ask(ctx, "uname", "-m"); err != nil {
		return h, fmt.Errorf("ask which processor this is: %w", err)
	}
	// Where sysctl does not know the name, the processor is another one.
	arm, err := ask(ctx, "sysctl", "-n", "hw.optional.arm64")
	h.arm = err == nil && arm == "1"
	if h.macOS, err = ask(ctx, "sw_vers", "-productVersion"); err != nil {
		return h, fmt.Errorf("ask which macOS this is: %w", err)
	}
	return h, ctx.Err()
}

// judge says what of the host stands in the way: one finding per condition, in
// order. A condition that makes the next ones pointless ends the list.
func (h hostFacts) judge() []backend.Finding {
	system := backend.Finding{Name: "macOS", OK: h.system == "Darwin", Detail: "this host runs " + h.system}
	if !system.OK {
		system.Fix = "choose another backend; this one runs on a Mac"
		return []backend.Finding{system}
	}
	chip := backend.Finding{Name: "Apple silicon", OK: h.arm && h.machine == "arm64", Detail: h.machine}
	switch {
	case h.arm && h.machine != "arm64":
		chip.Detail, chip.Fix = "this program runs below Rosetta, where Apple's container refuses to", "use the arm64 build of bottle-mcp"
	case !h.arm:
		chip.Detail, chip.Fix = "the processor is "+h.machine, "choose another backend; Apple's container needs Apple silicon"
	}
	release := backend.Finding{Name: "macOS 26", OK: atLeast(h.macOS, minMacOS), Detail: "macOS " + h.macOS}
	if !release.OK {
		release.Fix = "update to macOS 26 or later; before it containers have no networks of their own"
	}
	return []backend.Finding{system, chip, release}
}

// atLeast compares the first number of a version.
func atLeast(version string, major int) bool {
	first, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(first)
	return err == nil && n >= major
}

// facts are cached once they are good.
func (b *Backend) facts(ctx context.Context) (hostFacts, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.host != nil {
		return *b.host, nil
	}
	h, err := readHost(ctx)
	if err != nil {
		return h, errors.Join(err, ctx.Err())
	}
	b.host = &h
	return h, nil
}
