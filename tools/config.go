package tools

import (
	"cmp"
	"errors"
	"io"
	"log/slog"
	"time"
)

// Config is what the tools need.
type Config struct {
	Bottles Bottles
	Logger  *slog.Logger // nil discards
	Limits  Limits
}

// Limits bound what callers can make this process hold. A zero field means its
// default.
type Limits struct {
	// JobsPerBottle bounds the background jobs kept for one bottle (32), Jobs
	// those of all bottles (256). Running ones are refused beyond it, finished
	// ones make room.
	JobsPerBottle int
	Jobs          int
	// JobsOfBottles bounds the jobs that callers in bottles have altogether (half
	// of Jobs): the operator's side always finds room.
	JobsOfBottles int
	// OutputBytes bounds the full output kept of one command (64 MiB),
	// OutputBytesPerBottle that of one bottle's commands together (512 MiB).
	OutputBytes          int64
	OutputBytesPerBottle int64
	// Heartbeat is the longest silence of a call whose caller wants progress
	// (5 s): clients give up on silent calls.
	Heartbeat time.Duration
}

const defaultJobs = 256

func (l Limits) withDefaults() Limits {
	return Limits{
		JobsPerBottle:        cmp.Or(l.JobsPerBottle, 32),
		Jobs:                 cmp.Or(l.Jobs, defaultJobs),
		JobsOfBottles:        cmp.Or(l.JobsOfBottles, cmp.Or(l.Jobs, defaultJobs)/2),
		OutputBytes:          cmp.Or(l.OutputBytes, 64<<20),
		OutputBytesPerBottle: cmp.Or(l.OutputBytesPerBottle, 512<<20),
		Heartbeat:            cmp.Or(l.Heartbeat, 5*time.Second),
	}
}

// toolset is what the handlers share.
type toolset struct {
	bottles Bottles
	log     *slog.Logger
	limits  Limits
	jobs    *jobs
	now     func() time.Time
}

// New builds the tools and resource templates. The closer ends all background
// jobs and waits for them; close it when no call runs any more.
func New(cfg Config) ([]Tool, []ResourceTemplate, io.Closer, error) {
	if cfg.Bottles == nil {
		return nil, nil, nil, errors.New("tools: Config.Bottles is missing")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	limits := cfg.Limits.withDefaults()
	t := &toolset{
		bottles: cfg.Bottles,
		log:     cfg.Logger,
		limits:  limits,
		jobs:    newJobs(limits, cfg.Logger),
		now:     time.Now,
	}
	list, err := t.build()
	if err != nil {
		return nil, nil, nil, err
	}
	return list, t.resourceTemplates(), t.jobs, nil
}

// build makes the tools in the order that documentation shows them.
func (t *toolset) build() ([]Tool, error) {
	var list []Tool
	for _, tool := range []func() (Tool, error){t.launchTool, t.execTool, t.cpTool, t.listTool, t.cleanupTool} {
		made, err := tool()
		if err != nil {
			return nil, err
		}
		list = append(list, made)
	}
	return list, nil
}
