package provision

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision/setup"
	"github.com/bottle-mcp/bottle-mcp/provision/trust"
)

// configureTimeout bounds the writing of some twenty small files.
const configureTimeout = 20 * time.Second

// SetupReport says what a launch wrote into the guest beside the workspace.
type SetupReport struct {
	// CASHA256 is the fingerprint of the bottle's CA, in hex.
	CASHA256 string `json:"ca_sha256"`
	// Files counts what is in place and was read back.
	Files int `json:"files"`
	// Left are files that the image or an earlier step brought, or that cannot be
	// written, and stay as they are.
	Left []backend.Skip `json:"left"`
}

// systemFiles are /etc's, for a backend that makes it itself.
func (l *launch) systemFiles() (map[string][]byte, error) {
	if l.r.caps.Images {
		return nil, nil
	}
	files, err := trust.System(l.record.Endpoints, l.caCert, backend.DefaultAccount())
	if err != nil {
		return nil, err
	}
	out := make(map[string][]byte, len(files))
	for _, f := range files {
		out[f.Path] = f.Content
	}
	return out, nil
}

// configure writes what processes with an empty environment need, and git's
// identity, and reads it back: one command for each user who has files.
func configure(ctx context.Context, l *launch) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, configureTimeout)
	defer cancel()
	sum, err := trust.Fingerprint(l.caCert)
	if err != nil {
		return "", err
	}
	agents, roots, err := l.guestFiles()
	if err != nil {
		return "", err
	}
	var mine, theirs []setup.Outcome
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		mine, err = l.bring(gctx, backend.AgentUser, agents)
		return err
	})
	g.Go(func() (err error) {
		theirs, err = l.bring(gctx, rootUser, roots)
		return err
	})
	if err := g.Wait(); err != nil {
		return "", err
	}
	if err := mustHave(agents, mine); err != nil {
		return "", err
	}
	report := SetupReport{CASHA256: sum, Left: []backend.Skip{}}
	for _, o := range slices.Concat(mine, theirs) {
		switch {
		case o.InPlace():
			report.Files++
		case o.State != setup.Absent:
			report.Left = append(report.Left, backend.Skip{Path: o.Path, Reason: o.Detail})
		}
	}
	l.detail.Setup = report
	l.m.log.Info("the guest trusts the bottle's CA", "bottle", l.plan.ID, "ca_sha256", sum, "files", report.Files, "left", len(report.Left))
	text := fmt.Sprintf("%d files, CA %s…", report.Files, sum[:16])
	if n := len(report.Left); n > 0 {
		text += fmt.Sprintf(", %d left as they are", n)
	}
	return text, nil
}

// guestFiles are those that the agent brings, and those that root brings where
// the root file system is an image's.
func (l *launch) guestFiles() (agents, roots []setup.File, err error) {
	e := l.record.Endpoints
	if agents, err = trust.Home(e, l.caCert); err != nil {
		return nil, nil, err
	}
	agents = append(agents, gitFiles(l.r.git, e)...)
	agents = append(agents, canaryFile(l.canary))
	system, err := trust.System(e, l.caCert, l.detail.Account)
	if err != nil {
		return nil, nil, err
	}
	if !l.r.caps.Images {
		// The backend has made these; here they are proven.
		for _, f := range slices.Concat(system, trust.Stores(l.caCert)[:1]) {
			f.How = setup.Check
			agents = append(agents, f)
		}
		return agents, nil, nil
	}
	if l.r.caps.MultiUser {
		roots = slices.Concat(system, trust.Stores(l.caCert))
	}
	return agents, roots, nil
}

// mustHave fails when something that others point to is not in place: our own
// files, what the backend makes, and whatever broke. Only what the image brought
// may stay another's.
func mustHave(files []setup.File, outcomes []setup.Outcome) error {
	var errs []error
	for i, o := range outcomes {
		how := files[i].How
		switch {
		case o.InPlace(), o.State == setup.Absent && how == setup.Extend:
		case o.State == setup.Left && (how == setup.Create || how == setup.Append || how == setup.Extend):
		default:
			errs = append(errs, fmt.Errorf("%s in the guest is %s: %s", o.Path, o.State, o.Detail))
		}
	}
	return errors.Join(errs...)
}

// bring has a user of the guest bring files. The guest is hostile: its answer is
// bounded and has to account for every file.
func (l *launch) bring(ctx context.Context, user string, files []setup.File) ([]setup.Outcome, error) {
	if len(files) == 0 {
		return nil, nil
	}
	run, err := l.setupAs(ctx, user)
	if err == nil {
		var outcomes []setup.Outcome
		if outcomes, err = run.bring(ctx, files); err == nil {
			return outcomes, nil
		}
	}
	return nil, fmt.Errorf("write the configuration as %s: %w", user, err)
}
