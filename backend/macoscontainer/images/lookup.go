package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend/command"
	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/cli"
)

// lookupName is a name that resolves everywhere (RFC 2606).
const lookupName = "example.com"

// maxAnswer bounds what is kept of what a tool in the builder prints.
const maxAnswer = 16 << 10

// answer is how a tool in the builder ended.
type answer struct {
	code   int
	absent bool // there is no such tool
	slow   bool // it did not end in time
	text   []byte
}

// lookup resolves a name in the builder with the tools that are there. The
// builder's image has no contract about them.
func (i *Images) lookup(ctx context.Context, builder string) (lookup, error) {
	for _, tool := range []struct {
		argv  []string
		judge func(answer) lookup
	}{
		{[]string{"getent", "ahostsv4", lookupName}, judgeGetent},
		{[]string{"nslookup", lookupName}, judgeNslookup},
	} {
		a, err := i.inBuilder(ctx, builder, tool.argv)
		if err != nil {
			return lookupUnknown, fmt.Errorf("look a name up in the builder: %w", err)
		}
		if a.absent {
			continue
		}
		result := lookupFails
		if !a.slow {
			result = tool.judge(a)
		}
		if result != lookupUnknown {
			return result, nil
		}
	}
	return lookupUnknown, nil
}

// judgeGetent reads getent's status: 2 is "not found", 1 is a getent that does
// not know this table.
func judgeGetent(a answer) lookup {
	switch {
	case a.code == 0 && firstAddress(a.text):
		return lookupWorks
	case a.code == 2:
		return lookupFails
	}
	return lookupUnknown
}

func firstAddress(text []byte) bool {
	fields := strings.Fields(string(text))
	if len(fields) == 0 {
		return false
	}
	_, err := netip.ParseAddr(fields[0])
	return err == nil
}

// judgeNslookup: old ones end with 0 also when they found nothing, but only an
// answer has the name in it.
func judgeNslookup(a answer) lookup {
	_, found, ok := bytes.Cut(a.text, []byte("Name:"))
	if a.code == 0 && ok && bytes.Contains(found, []byte("Address")) {
		return lookupWorks
	}
	return lookupFails
}

// resolvConf asks the builder what it resolves with; nil when it cannot say.
func (i *Images) resolvConf(ctx context.Context, builder string) []string {
	a, err := i.inBuilder(ctx, builder, []string{"cat", "/etc/resolv.conf"})
	if err != nil || a.absent || a.slow || a.code != 0 {
		return nil
	}
	var servers []string
	for line := range bytes.Lines(a.text) {
		if fields := strings.Fields(string(line)); len(fields) > 1 && fields[0] == "nameserver" {
			servers = append(servers, fields[1])
		}
	}
	return servers
}

// inBuilder runs a tool in the builder. The error is for an engine that does not
// work at all.
func (i *Images) inBuilder(ctx context.Context, builder string, argv []string) (answer, error) {
	limited, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	out := command.NewTail(maxAnswer)
	result, err := i.cfg.CLI.Exec(limited, cli.ExecRequest{Container: builder, Argv: argv, UID: -1, GID: -1, Stdout: out})
	if ctx.Err() != nil {
		return answer{}, context.Cause(ctx)
	}
	var failure *cli.Error
	if err == nil && result.Failure != nil {
		failure = result.Failure
	} else if err != nil && !errors.As(err, &failure) {
		failure = &cli.Error{Kind: cli.KindOther, Err: err}
	}
	switch {
	case failure == nil && (result.Code == 126 || result.Code == 127):
		return answer{absent: true}, nil
	case failure == nil:
		return answer{code: result.Code, text: out.Bytes()}, nil
	case failure.Kind == cli.KindTimeout || errors.Is(failure.Err, context.DeadlineExceeded):
		return answer{slow: true}, nil
	case failure.Kind == cli.KindUnavailable || failure.Kind == cli.KindMissing:
		return answer{}, failure
	}
	// Mostly "failed to find target executable". Whatever else stands in the
	// way of a command proves nothing about the builder's resolver.
	i.log.Debug("a tool cannot be run in the builder", "tool", argv[0], "error", failure)
	return answer{absent: true}, nil
}
