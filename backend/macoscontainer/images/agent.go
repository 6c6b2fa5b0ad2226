package images

import (
	"context"
	_ "embed" // the default Dockerfile
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/cli"
)

// maxDockerfile is the engine's limit: it hands the file over in a header.
const maxDockerfile = 16<<10 - 1

// defaultDockerfile is what guests are made of when nobody says otherwise.
//
//go:embed agent.Dockerfile
var defaultDockerfile []byte

// BuildError is a build that failed, with the end of its log.
type BuildError struct {
	Dockerfile string   // as the operator knows it
	Tail       []string // the last lines, printable
	Err        error
}

func (e *BuildError) Error() string {
	text := fmt.Sprintf("build the agent image from %s: %v", e.Dockerfile, e.Err)
	if len(e.Tail) > 0 {
		text += "; its log ends:\n" + strings.Join(e.Tail, "\n")
	}
	return text
}

// Unwrap gives the engine's own error.
func (e *BuildError) Unwrap() error { return e.Err }

// recipe is what an agent image is built from.
type recipe struct {
	origin     string // for people
	dockerfile []byte
	context    string // "" = nothing but the Dockerfile
}

// Prepare makes the image of spec available and returns its name. An image
// that is named has to be on this machine. One that is described is built once
// for each Dockerfile and content of its context; `container image delete`
// makes the next launch build it anew. Lines of the build go to progress, which
// may be nil, as they happen.
func (i *Images) Prepare(ctx context.Context, spec backend.ImageSpec, progress io.Writer) (string, error) {
	origin := "the bottle's image"
	if spec.Zero() {
		spec, origin = i.defaultSpec()
	}
	if spec.Reference != "" {
		if spec.Dockerfile != "" || spec.Context != "" {
			return "", fmt.Errorf("%s: an image is named and described at once (%.100s and %.100s): leave one out", origin, spec.Reference, spec.Dockerfile+spec.Context)
		}
		if err := i.local(ctx, spec.Reference, origin); err != nil {
			return "", err
		}
		return spec.Reference, nil
	}
	r, err := readRecipe(spec)
	if err != nil {
		return "", fmt.Errorf("%s: %w", origin, err)
	}
	return i.built(ctx, r, &buildLog{dst: progress})
}

// defaultSpec is the operator's default image; the zero spec means the embedded
// Dockerfile.
func (i *Images) defaultSpec() (spec backend.ImageSpec, origin string) {
	dockerfile, image := i.setting(EnvAgentDockerfile), i.setting(EnvAgentImage)
	origin = EnvAgentImage
	if dockerfile != "" {
		origin = EnvAgentDockerfile
	}
	if dockerfile != "" && image != "" {
		origin = EnvAgentDockerfile + " and " + EnvAgentImage
	}
	return backend.ImageSpec{Reference: image, Dockerfile: dockerfile}, origin
}

// readRecipe reads the Dockerfile and settles the context.
func readRecipe(spec backend.ImageSpec) (recipe, error) {
	if spec.Zero() {
		return recipe{origin: "the default Dockerfile", dockerfile: defaultDockerfile}, nil
	}
	if spec.Dockerfile == "" {
		return recipe{}, fmt.Errorf("a build context %.200s without a Dockerfile: name the Dockerfile", spec.Context)
	}
	if !filepath.IsAbs(spec.Dockerfile) || spec.Context != "" && !filepath.IsAbs(spec.Context) {
		return recipe{}, fmt.Errorf("paths of a build have to be absolute: Dockerfile %.200q, context %.200q", spec.Dockerfile, spec.Context)
	}
	data, err := readDockerfile(spec.Dockerfile)
	if err != nil {
		return recipe{}, err
	}
	dir := spec.Context
	if dir == "" {
		dir = filepath.Dir(spec.Dockerfile)
	}
	if info, err := os.Stat(dir); err != nil {
		return recipe{}, fmt.Errorf("read the build context: %w", err)
	} else if !info.IsDir() {
		return recipe{}, fmt.Errorf("build context %s is not a directory", dir)
	}
	return recipe{origin: spec.Dockerfile, dockerfile: data, context: dir}, nil
}

// readDockerfile never waits for a FIFO and never reads more than the engine
// would take.
func readDockerfile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the Dockerfile: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file: name a Dockerfile", path)
	}
	f, err := openRegular(os.OpenFile, path)
	if err != nil {
		return nil, fmt.Errorf("read the Dockerfile: %w", err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxDockerfile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the Dockerfile: %w", err)
	case len(data) > maxDockerfile:
		return nil, fmt.Errorf("the Dockerfile %s has more than %d bytes, and Apple's container takes less than 16 KiB: move scripts into files of the context", path, maxDockerfile)
	case strings.TrimSpace(string(data)) == "":
		return nil, fmt.Errorf("the Dockerfile %s is empty: begin it with FROM", path)
	}
	return data, nil
}

// built returns the name of the image that the recipe makes, and makes it when
// it is not there.
func (i *Images) built(ctx context.Context, r recipe, log *buildLog) (string, error) {
	tree, err := readTree(ctx, r.context, nil)
	if err != nil {
		return "", fmt.Errorf("%s: %w", r.origin, err)
	}
	ref := i.agentRef(r, tree)
	there, err := i.fits(ctx, ref)
	if err == nil && !there {
		tree.tellSkipped(log)
		err = i.buildOnce(ctx, r, ref, log)
	}
	if err != nil {
		return "", err
	}
	return ref, nil
}

// buildOnce builds one image at a time: a builder that is restarted ends every
// build in it, and another server may want the same image.
func (i *Images) buildOnce(ctx context.Context, r recipe, ref string, log *buildLog) error {
	unlock, err := i.lock(ctx, builderLock, func() { log.say("waiting for another build to end") })
	if err != nil {
		return err
	}
	defer unlock()
	if there, err := i.fits(ctx, ref); there || err != nil {
		return err
	}
	if err := i.build(ctx, r, ref, log); err != nil {
		return err
	}
	there, err := i.fits(ctx, ref)
	if err == nil && !there {
		err = fmt.Errorf("the agent image %s was built but is not there for %s: look at `container image inspect %s`", ref, i.Platform(), ref)
	}
	return err
}

// agentRef names an image after all that it is made from.
func (i *Images) agentRef(r recipe, tree tree) string {
	h := newHash("agent image 1")
	h.add("platform", i.Platform())
	h.add("dockerfile", string(r.dockerfile))
	h.add("context", tree.sum)
	return registry + "agent:" + h.sum()[:32]
}

// fits reports whether the engine has the image for our guests.
func (i *Images) fits(ctx context.Context, ref string) (bool, error) {
	img, err := i.cfg.CLI.ImageInspect(ctx, ref)
	if missing(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for the agent image %s: %w", ref, err)
	}
	_, ok := i.fitting(ref, img)
	return ok, nil
}

// build stages the context and builds. The caller holds the builder's lock.
func (i *Images) build(ctx context.Context, r recipe, ref string, log *buildLog) (err error) {
	dns, err := i.ensureBuilder(ctx)
	if err != nil {
		return err
	}
	dir, err := i.stage(ctx, r, ref)
	if err != nil {
		return fmt.Errorf("%s: stage the build context: %w", r.origin, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	began := time.Now()
	_, err = i.cfg.CLI.Build(ctx, cli.BuildRequest{
		Tag: ref, Dockerfile: filepath.Join(dir, stagedDockerfile), Context: filepath.Join(dir, stagedContext),
		Platform: i.Platform(), DNS: dns, Progress: log,
	})
	tail := log.end()
	if err != nil {
		return &BuildError{Dockerfile: r.origin, Tail: tail, Err: err}
	}
	i.log.Info("agent image built", "image", ref, "dockerfile", r.origin, "elapsed", time.Since(began))
	return nil
}
