package main

import (
	"fmt"
	"math"
	"regexp"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// copyRules are the operator's word on what may be copied into bottles. They are
// flags of the verbs that a person starts, never part of a request.
type copyRules struct {
	secrets bool
	max     sizeFlag
}

func (r *copyRules) add(flags *pflag.FlagSet) {
	flags.BoolVar(&r.secrets, "copy-secrets", false, "also copy files that look like credentials (.env, private keys, tokens)")
	flags.Var(&r.max, "max-workspace", "most that a workspace may hold, such as 8GiB (default 4GiB)")
}

// sizeFlag is a number of bytes with a unit.
type sizeFlag int64

var sizePattern = regexp.MustCompile(`^([1-9][0-9]*)(KiB|MiB|GiB|TiB)$`)

// Set implements pflag.Value.
func (s *sizeFlag) Set(text string) error {
	m := sizePattern.FindStringSubmatch(text)
	if m != nil {
		shift := map[string]int{"KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}[m[2]]
		if n, err := strconv.ParseInt(m[1], 10, 64); err == nil && n <= math.MaxInt64>>shift {
			*s = sizeFlag(n << shift)
			return nil
		}
	}
	return fmt.Errorf("%.40q is not a size; write for example 512MiB or 8GiB", text)
}

// String implements pflag.Value.
func (s *sizeFlag) String() string {
	if *s == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*s), 10)
}

// Type implements pflag.Value.
func (s *sizeFlag) Type() string { return "SIZE" }

// noteLeftOut tells a person what is not in the bottle, who may miss it there.
func (c *cli) noteLeftOut(copied *backend.CopyReport) {
	if copied == nil {
		return
	}
	const most = 5
	for i, s := range copied.Skipped {
		if i == most {
			c.con.notef("bottle-mcp: and %d more of the workspace", len(copied.Skipped)-most+copied.SkippedMore)
			return
		}
		c.con.notef("bottle-mcp: %s", oneLine(s.Path+": "+s.Reason, 0))
	}
}
