package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/tools"
)

// The probe's time: work stops early enough for the removal to fit in. A probe
// that hangs anyway is cut off at probeDeadline.
const (
	probeDeadline  = 60 * time.Second
	probeWorkTime  = 40 * time.Second
	probeCleanTime = 15 * time.Second
)

// probeOptions are the flags of probe.
type probeOptions struct {
	asJSON  bool
	keep    bool
	noColor bool
	bottles []string
	backend string
}

func newProbe(c *cli) *cobra.Command {
	var o probeOptions
	cmd := &cobra.Command{
		Use:   "probe",
		Short: "Do the whole main job once and report every check",
		Long: `probe launches a real bottle, proves from inside that it is closed, runs
commands, tries the proxy, copies files in and out, removes the bottle and
proves that nothing is left. It exits with 1 when anything is red.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.probe(cmd.Context(), o) },
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.asJSON, "json", false, "print JSON")
	flags.BoolVar(&o.keep, "keep", false, "leave the bottle running")
	flags.BoolVar(&o.noColor, "no-color", false, "no colour (as NO_COLOR=1)")
	flags.StringArrayVar(&o.bottles, "bottle", nil, "bottle manifest (default \"default\")")
	flags.StringVar(&o.backend, "backend", "", "backend to use (default: the first that works)")
	return cmd
}

// probe is the verb: wiring, the run itself under its deadline, the verdict.
func (c *cli) probe(ctx context.Context, o probeOptions) error {
	if o.noColor {
		c.con.colour = false
	}
	work, err := os.MkdirTemp("", "bottle-mcp-probe-")
	if err != nil {
		return fmt.Errorf("probe has no place for its files: %w", err)
	}
	defer func() { _ = os.RemoveAll(work) }()
	if work, err = filepath.EvalSymlinks(work); err != nil {
		return fmt.Errorf("probe has no place for its files: %w", err)
	}
	surviveClosedPipe()
	app, err := c.open(ctx, wiring{roots: []string{work}})
	if err != nil {
		return err
	}
	defer app.end()
	p := &probe{
		bottles:   app.bottles,
		leftovers: leftoverFinder{stateDir: app.stateDir},
		o:         o,
		work:      work,
		bar:       &progress{con: c.con},
	}
	report := p.runUntil(ctx, probeDeadline, c.probePrinter(o, p.bar))
	if o.asJSON {
		if err := printJSON(c.con, report); err != nil {
			return err
		}
	} else {
		c.printProbeEnd(report)
	}
	switch {
	case interrupted(ctx):
		return ctx.Err()
	case !report.OK:
		return &exitError{exitFailed}
	}
	return nil
}

// probe is one run of the main job.
type probe struct {
	bottles   tools.Bottles
	leftovers leftoverFinder
	o         probeOptions
	work      string // host directory, the only root that copies may touch
	bar       *progress

	rec      *recorder
	bottle   *provision.Bottle
	isolated *provision.Report // also of a launch that failed because of it
	family   []process         // what ran for the bottle, to be gone afterwards
}

// runUntil runs the probe and cuts it off at the deadline.
func (p *probe) runUntil(ctx context.Context, deadline time.Duration, shown func(*probeSection)) *probeReport {
	p.rec = &recorder{report: newProbeReport(), shown: shown, now: time.Now, start: time.Now()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.run(ctx)
	}()
	timer := time.NewTimer(deadline)
	defer timer.Stop()
	select {
	case <-done:
		return p.rec.close(0)
	case <-timer.C:
		return p.rec.close(deadline)
	}
}

func newProbeReport() *probeReport {
	return &probeReport{
		Schema:  probeSchema,
		Version: readVersion(),
		Host: probeHost{
			OS: runtime.GOOS, Arch: runtime.GOARCH, Kernel: kernelRelease(),
			CPUs: runtime.NumCPU(), UID: os.Getuid(),
		},
		Backend:  probeBackend{Walls: []string{}, Missing: []backend.Missing{}},
		Bottle:   probeBottle{Manifests: []string{}},
		Sections: []*probeSection{},
		Hints:    []string{},
	}
}

// run is the main job. The removal happens whatever came before.
func (p *probe) run(ctx context.Context) {
	workCtx, cancel := context.WithTimeout(ctx, probeWorkTime)
	defer cancel()
	p.rec.section("launch", func(s *probeSection) { p.launch(workCtx, s) })
	if p.isolated != nil {
		p.rec.section("isolation", p.isolation)
	}
	if p.bottle != nil {
		for _, part := range []struct {
			name string
			run  func(context.Context, *probeSection)
		}{
			{"exec", p.exec}, {"egress", p.egress}, {"files", p.files}, {"list", p.list},
		} {
			if workCtx.Err() != nil {
				break
			}
			p.rec.section(part.name, func(s *probeSection) { part.run(workCtx, s) })
		}
		if err := workCtx.Err(); err != nil && !interrupted(ctx) {
			p.rec.section("time", func(s *probeSection) {
				s.check("every section ran", func() (string, error) { return "", err })
			})
		}
	}
	p.cleanup(ctx)
}

// launch plans and launches; every step becomes a check with its time.
func (p *probe) launch(ctx context.Context, s *probeSection) {
	workspace := filepath.Join(p.work, "workspace")
	failing := "plan"
	report := func(e provision.Event) {
		p.bar.event(e)
		failing = e.Step
		if e.Done {
			s.Checks = append(s.Checks, probeCheck{Name: e.Step, OK: true, Detail: e.Detail, Elapsed: millis(e.Elapsed)})
		}
	}
	start := time.Now()
	err := writeProbeWorkspace(workspace)
	var plan *provision.Plan
	if err == nil {
		plan, err = p.bottles.Plan(ctx, provision.LaunchRequest{
			Bottles: p.o.bottles, Label: "probe", Workspace: workspace,
			Backend: p.o.backend, Principal: operator,
		})
	}
	var bottle *provision.Bottle
	if err == nil {
		s.Checks = append(s.Checks, probeCheck{
			Name: "plan", OK: true, Detail: plan.Policy, Elapsed: millis(time.Since(start)),
		})
		p.rec.update(func(r *probeReport) { r.Bottle.ID = plan.ID })
		p.leftovers.id = plan.ID
		bottle, err = p.bottles.Launch(ctx, plan, report)
	}
	if err != nil {
		var red *provision.IsolationError
		if errors.As(err, &red) {
			p.isolated = &red.Report
		}
		what, hints := describe(err)
		s.Checks = append(s.Checks, probeCheck{Name: failing, Detail: what, Elapsed: millis(time.Since(start))})
		p.rec.update(func(r *probeReport) { r.Hints = append(r.Hints, hints...) })
		return
	}
	p.bottle, p.isolated = bottle, &bottle.Report
	p.family = p.leftovers.processes()
	p.rec.update(func(r *probeReport) {
		r.Backend = probeBackend{
			Name: bottle.Backend, Isolation: bottle.Isolation,
			Walls:   append([]string{}, bottle.Report.Walls...),
			Missing: append([]backend.Missing{}, bottle.Report.Missing...),
		}
		r.Bottle = probeBottle{ID: bottle.ID, Manifests: bottle.Bottles, Policy: bottle.Policy, Kept: p.o.keep}
	})
}

// isolation copies the self-test's report; a bottle without one is not proven.
func (p *probe) isolation(s *probeSection) {
	s.Elapsed = millis(p.isolated.Elapsed)
	for _, check := range p.isolated.Checks {
		s.Checks = append(s.Checks, probeCheck{
			Name: check.Name, As: check.As, OK: check.OK, Detail: check.Detail, Elapsed: millis(check.Elapsed),
		})
	}
	if len(s.Checks) == 0 {
		s.check("self-test", func() (string, error) { return "", errors.New("the launch reports no isolation check") })
	}
}

// list proves that a second look, from the engine's own records, agrees.
func (p *probe) list(ctx context.Context, s *probeSection) {
	s.check("listed as running", func() (string, error) {
		bottles, err := p.bottles.List(ctx, operator)
		if err != nil {
			return "", err
		}
		for _, b := range bottles {
			if b.ID == p.bottle.ID {
				return describeListed(b)
			}
		}
		return "", fmt.Errorf("%s is not among the %d bottles listed", p.bottle.ID, len(bottles))
	})
}

// describeListed is an error unless the bottle runs with all its services.
func describeListed(b provision.Bottle) (string, error) {
	if b.State != backend.Running {
		return "", fmt.Errorf("%s is listed as %s", b.ID, b.State)
	}
	for service, alive := range b.Services {
		if !alive {
			return "", fmt.Errorf("service %s is dead", service)
		}
	}
	return fmt.Sprintf("%s, %d refusals, %s in use", b.State, b.Refusals, bytesText(b.Usage.MemoryBytes)), nil
}
