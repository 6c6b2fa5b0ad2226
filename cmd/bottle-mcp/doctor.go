package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// checkTimeout bounds the look at one backend.
const checkTimeout = 15 * time.Second

// doctorReport is what works on this host; its JSON form is stable.
type doctorReport struct {
	OK        bool            `json:"ok"`
	Version   versionInfo     `json:"version"`
	Backends  []backendHealth `json:"backends"`
	State     stateHealth     `json:"state"`
	Manifests manifestHealth  `json:"manifests"`
}

// backendHealth is one backend on this host.
type backendHealth struct {
	Name      string             `json:"name"`
	Available bool               `json:"available"`
	Detail    string             `json:"detail,omitempty"`
	Reason    string             `json:"reason,omitempty"`
	Fix       string             `json:"fix,omitempty"`
	Isolation []string           `json:"isolation"`
	Services  []sidecars.Service `json:"services"`
	MultiUser bool               `json:"multi_user"`
	Images    bool               `json:"images"`
	Walls     []string           `json:"walls"`
	Missing   []backend.Missing  `json:"missing"`
	// Checks are the conditions of this backend, where it has several.
	Checks []backend.Finding `json:"checks,omitempty"`
}

// stateHealth is the state directory.
type stateHealth struct {
	Path      string `json:"path"`
	OK        bool   `json:"ok"`
	Problem   string `json:"problem,omitempty"`
	FreeBytes int64  `json:"free_bytes"` // negative: not known
}

// manifestHealth is the operator's manifests.
type manifestHealth struct {
	Path     string   `json:"path"`
	Bottles  []string `json:"bottles"`
	Agents   []string `json:"agents"`
	Problems []string `json:"problems"`
}

func newDoctor(c *cli) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what works on this host, and how to fix what does not",
		Long: `doctor asks every backend what it can do here, and names the walls in force,
those that are missing, and the setting to change. It starts nothing that stays
and exits with 0 when at least one backend can run bottles.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.doctor(cmd.Context(), asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// doctor is the verb.
func (c *cli) doctor(ctx context.Context, asJSON bool) error {
	paths, err := c.paths()
	if err != nil {
		return err
	}
	log, err := c.logger(defaultLevel)
	if err != nil {
		return err
	}
	report := doctorReport{Version: readVersion(), Backends: []backendHealth{}, State: stateOf(paths), Manifests: manifestsOf(paths)}
	for _, b := range newBackends(filepath.Join(paths.stateDir, "bottles"), "", false, log) {
		report.Backends = append(report.Backends, examine(ctx, b))
	}
	for _, b := range report.Backends {
		report.OK = report.OK || b.Available
	}
	report.OK = report.OK && report.State.OK
	if asJSON {
		err = printJSON(c.con, report)
	} else {
		c.printDoctor(report)
	}
	switch {
	case err != nil:
		return err
	case interrupted(ctx):
		return ctx.Err()
	case !report.OK:
		return &exitError{exitFailed}
	}
	return nil
}

// examine asks one backend.
func examine(ctx context.Context, b backend.Backend) backendHealth {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	caps, err := b.Check(ctx)
	health := backendHealth{
		Name: b.Name(), Available: err == nil, Detail: caps.Detail,
		Isolation: append([]string{}, caps.Isolation...),
		Services:  append([]sidecars.Service{}, caps.Services...),
		MultiUser: caps.MultiUser, Images: caps.Images,
		Walls:   append([]string{}, caps.Walls...),
		Missing: append([]backend.Missing{}, caps.Missing...),
		Checks:  caps.Findings,
	}
	var unavailable *backend.UnavailableError
	switch {
	case errors.As(err, &unavailable):
		health.Reason, health.Fix, health.Checks = unavailable.Reason, unavailable.Fix, unavailable.Findings
	case err != nil:
		health.Reason = err.Error()
	}
	return health
}

// stateOf looks at the state directory, making it when it is missing: that is
// what the first launch would do.
func stateOf(p paths) stateHealth {
	health := stateHealth{Path: p.stateDir, FreeBytes: -1}
	err := os.MkdirAll(p.stateDir, 0o700)
	if err == nil {
		var probe *os.File
		if probe, err = os.CreateTemp(p.stateDir, ".doctor-"); err == nil {
			err = errors.Join(probe.Close(), os.Remove(probe.Name()))
		}
	}
	if err != nil {
		health.Problem = err.Error()
		return health
	}
	health.OK = true
	health.FreeBytes = freeBytes(p.stateDir)
	return health
}

// manifestsOf reads every manifest: a mistake in one is better met here than
// at the next launch.
func manifestsOf(p paths) manifestHealth {
	loader := manifest.Loader{Home: p.manifests}
	health := manifestHealth{
		Path:     p.manifests,
		Bottles:  append([]string{}, loader.Bottles()...),
		Agents:   append([]string{}, loader.Agents("")...),
		Problems: []string{},
	}
	for _, name := range health.Bottles {
		if _, err := loader.Bottle(name); err != nil {
			health.Problems = append(health.Problems, err.Error())
		}
	}
	for _, name := range health.Agents {
		if _, err := loader.Agent(name, ""); err != nil {
			health.Problems = append(health.Problems, err.Error())
		}
	}
	return health
}

// printDoctor prints the report for people.
func (c *cli) printDoctor(r doctorReport) {
	s := c.con.outStyle()
	c.con.printf("%s %s\n", s.bold("bottle-mcp doctor"), s.faint(r.Version.Version+", "+r.Version.Platform+", "+r.Version.Go))
	for _, b := range r.Backends {
		c.con.printf("\n%s %s\n", s.mark(b.Available), s.bold("backend "+b.Name))
		c.printFindings(b.Checks)
		if !b.Available {
			if len(b.Checks) == 0 { // else they said it
				c.printList("why not", b.Reason)
				if b.Fix != "" {
					c.printList(s.bold("fix"), b.Fix)
				}
			}
			continue
		}
		c.printList("engine", orDash(b.Detail))
		c.printList("isolation", strings.Join(b.Isolation, ", "))
		c.printList("users", usersText(b.MultiUser))
		c.printEach("walls", b.Walls)
		for _, missing := range b.Missing {
			c.printList(s.yellow("missing"), missing.Name+": "+missing.Reason)
		}
	}
	c.con.printf("\n%s %s\n", s.mark(r.State.OK), s.bold("state"))
	c.printList("directory", r.State.Path)
	if r.State.OK {
		c.printList("free", bytesText(r.State.FreeBytes))
	} else {
		c.printList("problem", r.State.Problem)
	}
	c.con.printf("\n%s %s\n", s.mark(len(r.Manifests.Problems) == 0), s.bold("manifests"))
	c.printList("directory", r.Manifests.Path)
	c.printList("bottles", strings.Join(r.Manifests.Bottles, ", "))
	c.printList("agents", orDash(strings.Join(r.Manifests.Agents, ", ")))
	for _, problem := range r.Manifests.Problems {
		c.printList(s.red("problem"), problem)
	}
}

// printFindings prints each condition and, where it does not hold, its fix.
func (c *cli) printFindings(findings []backend.Finding) {
	s := c.con.outStyle()
	for _, f := range findings {
		mark := s.mark(f.OK)
		if !f.OK && f.Advice {
			mark = s.yellow("!")
		}
		c.printList("check", mark+" "+f.Name+": "+f.Detail)
		if !f.OK && f.Fix != "" {
			c.printList("", s.bold("fix")+": "+f.Fix)
		}
	}
}

func usersText(multi bool) string {
	if multi {
		return "several: the agent's and root's"
	}
	return "one: every user of a bottle is the agent"
}
