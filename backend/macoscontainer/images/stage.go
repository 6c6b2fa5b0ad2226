package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Names in a staging directory.
const (
	stagedDockerfile = "Dockerfile"
	stagedContext    = "context"
	stagePrefix      = "build-"
	// staleStage is the age of a staging directory whose server has died: no
	// build takes that long.
	staleStage = 6 * time.Hour
)

// stage copies Dockerfile and context where nobody else changes them and where
// the builder reads them whole. What is copied has to be what the name was
// made from.
func (i *Images) stage(ctx context.Context, r recipe, ref string) (string, error) {
	base, err := i.stagingBase()
	if err != nil {
		return "", err
	}
	sweepStages(base)
	dir, err := os.MkdirTemp(base, stagePrefix+"*")
	if err != nil {
		return "", err
	}
	if err := i.fillStage(ctx, dir, r, ref); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, nil
}

func (i *Images) fillStage(ctx context.Context, dir string, r recipe, ref string) error {
	if err := os.WriteFile(filepath.Join(dir, stagedDockerfile), r.dockerfile, 0o600); err != nil {
		return err
	}
	target := filepath.Join(dir, stagedContext)
	if err := os.Mkdir(target, 0o755); err != nil { //nolint:gosec // its mode is the image's to see; the directory around it is closed
		return err
	}
	root, err := os.OpenRoot(target)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	tree, err := readTree(ctx, r.context, root)
	if err != nil {
		return err
	}
	if i.agentRef(r, tree) != ref {
		return fmt.Errorf("%s changed while it was read: try again", r.context)
	}
	return nil
}

// stagingBase is the cache directory, or the user's own where the builder would
// lose directories of a context (apple/container#2253): below /tmp and the
// like, which are symlinks into /private on a Mac.
func (i *Images) stagingBase() (string, error) {
	base, err := i.cache()
	if err != nil || !i.lossy(base) {
		return base, err
	}
	user, err := i.host.userCache()
	if err != nil {
		return "", fmt.Errorf("find a directory outside /tmp and /var: %w", err)
	}
	base = filepath.Join(user, "bottle-mcp")
	if err := os.MkdirAll(base, 0o700); err != nil {
		return "", err
	}
	if base, err = filepath.EvalSymlinks(base); err != nil {
		return "", err
	}
	if i.lossy(base) {
		return "", fmt.Errorf("the builder loses directories of contexts below %s: keep the state directory outside /tmp and /var", base)
	}
	return base, nil
}

// lossyDirs are those directories of a system.
func lossyDirs(system string) []string {
	if system != "darwin" {
		return nil
	}
	return []string{"/tmp/", "/var/", "/private/"}
}

func (i *Images) lossy(path string) bool {
	return slices.ContainsFunc(i.host.lossy, func(dir string) bool { return strings.HasPrefix(path+"/", dir) })
}

// sweepStages removes what servers that were killed left.
func sweepStages(base string) {
	entries, err := os.ReadDir(base)
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && e.IsDir() && strings.HasPrefix(e.Name(), stagePrefix) && time.Since(info.ModTime()) > staleStage {
			_ = os.RemoveAll(filepath.Join(base, e.Name()))
		}
	}
}
