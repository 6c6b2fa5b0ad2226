package macoscontainer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/command"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/pid1"
)

// reloadTimeout bounds a change of policy, with the replacement of a daemon
// that does not answer.
const reloadTimeout = 45 * time.Second

// Reload implements backend.Backend: the mounted configuration is replaced, the
// sidecar's init is told to read it, and its answer counts only when it names
// what was written.
func (b *Backend) Reload(ctx context.Context, id backend.ID, cfg sidecars.Config, secrets sidecars.Secrets) error {
	fail := func(err error) error { return fmt.Errorf("change the policy of bottle %s: %w", id, err) }
	r, err := b.known(ctx, id)
	if err != nil {
		return fail(err)
	}
	b.reloads.Lock() // one at a time: they share the mounted directory
	defer b.reloads.Unlock()
	ctx, cancel := context.WithTimeout(ctx, b.scaled(reloadTimeout))
	defer cancel()
	if err := b.sidecarRuns(ctx, r); err != nil {
		return fail(err)
	}
	dir := filepath.Join(b.dir(id), sidecarDir)
	if err := sameAuthority(dir, &cfg); err != nil {
		return fail(err)
	}
	if err := b.replaceConfig(ctx, id, dir, pid1.Change{Config: cfg, Tokens: secrets.Tokens}); err != nil {
		return fail(err)
	}
	return nil
}

// sidecarRuns refuses a sidecar that is not the one that was found ready.
func (b *Backend) sidecarRuns(ctx context.Context, r record) error {
	all, err := b.surveyContainers(ctx)
	if err != nil {
		return err
	}
	if !all[r.ID].sidecarUnchanged(r) {
		return fmt.Errorf("its sidecar has ended, was started again or moved; clean the bottle up and launch another: %w", backend.ErrNotRunning)
	}
	return nil
}

// sameAuthority compares a CA that is given with the bottle's, and leaves it out
// of what is written.
func sameAuthority(dir string, cfg *sidecars.Config) error {
	if cfg.CACert == "" {
		return nil
	}
	now, err := os.ReadFile(filepath.Join(dir, sidecars.CADir, sidecars.CACertFile))
	if err != nil {
		return fmt.Errorf("read the bottle's certificate authority: %w", err)
	}
	if string(now) != cfg.CACert {
		return errors.New("the certificate authority cannot change while the guest trusts it; leave it out")
	}
	cfg.CACert = ""
	return nil
}

// replaceConfig writes the new configuration and has the sidecar take it. One
// that is refused is not left behind, and new tokens never are: the sidecar has
// them in memory.
func (b *Backend) replaceConfig(ctx context.Context, id backend.ID, dir string, change pid1.Change) (err error) {
	digest, err := pid1.ConfigDigest(change.Config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pid1.RemoveSecrets(dir)) }()
	undo, err := change.Write(dir)
	if err != nil {
		return err
	}
	if err := b.tellReload(ctx, id, digest); err != nil {
		return errors.Join(err, undo())
	}
	return nil
}

func (b *Backend) tellReload(ctx context.Context, id backend.ID, digest string) error {
	report, code, err := b.askSidecar(ctx, id, pid1.ReloadArgs(digest, b.scaled(readyTimeout)))
	switch {
	case err != nil:
		return err
	case report.ReloadError != "":
		return errors.New(command.Printable(report.ReloadError, maxReport))
	case code != 0 || report.Error != "" || report.Bottle != string(id) || report.Config != digest:
		return fmt.Errorf("its sidecar does not say that the policy is in force: %s", command.Printable(report.Error, maxReport))
	}
	return nil
}
