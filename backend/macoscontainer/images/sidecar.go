package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/cli"
)

// made is what a sidecar image made from a binary is called.
type made struct {
	ref      string
	index    string // digest of the image's index
	manifest string // digest of the manifest for our architecture
}

// presence is what the engine has under the name of our image.
type presence int

const (
	absent presence = iota
	foreign
	present
)

// Sidecar makes the sidecar image available and returns its name. It is made
// from the linux build of this program and loaded, never pulled. It is found
// again by its content; another image under that name is replaced, and refused
// when the engine keeps it.
func (i *Images) Sidecar(ctx context.Context) (string, error) {
	if ref := i.setting(EnvSidecarImage); ref != "" {
		if err := i.local(ctx, ref, EnvSidecarImage); err != nil {
			return "", err
		}
		return ref, nil
	}
	t, err := i.findTwin(ctx)
	if err != nil {
		return "", err
	}
	image, err := i.describe(t)
	if err != nil {
		return "", fmt.Errorf("make the sidecar image: %w", err)
	}
	found, err := i.lookFor(ctx, image)
	if err == nil && found != present {
		err = i.load(ctx, t, image)
	}
	if err != nil {
		return "", err
	}
	return image.ref, nil
}

// load makes and loads the image. Servers that start together load it once: the
// others wait, and find it.
func (i *Images) load(ctx context.Context, t twin, image made) error {
	unlock, err := i.lock(ctx, sidecarLock, nil)
	if err != nil {
		return err
	}
	defer unlock()
	found, err := i.lookFor(ctx, image)
	if err != nil || found == present {
		return err
	}
	if found == foreign {
		i.log.Warn("another image has the name of the sidecar image; it is replaced", "image", image.ref)
	}
	if err := i.loadArchive(ctx, t, image); err != nil {
		return err
	}
	found, err = i.lookFor(ctx, image)
	switch {
	case err != nil:
		return err
	case found == absent:
		return fmt.Errorf("the sidecar image %s was loaded but is not there: look at `container image list`", image.ref)
	case found == foreign:
		return fmt.Errorf("the engine has another image under the name %s, also after ours was loaded, and what is in it is not known: run `container image delete %s` and try again", image.ref, image.ref)
	}
	return nil
}

// loadArchive writes the image as an archive and has the engine load it.
func (i *Images) loadArchive(ctx context.Context, t twin, image made) (err error) {
	binary, index, err := readSidecar(t)
	if err != nil {
		return fmt.Errorf("make the sidecar image: %w", err)
	}
	if again, err := name(index); err != nil || again != image {
		return errors.Join(fmt.Errorf("%s changed while the sidecar image was made from it: try again", t.path), err)
	}
	cache, err := i.cache()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(cache, "sidecar-*")
	if err != nil {
		return fmt.Errorf("make the sidecar image: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "sidecar.tar")
	if err := writeArchive(path, index, image.ref); err != nil {
		return fmt.Errorf("write the sidecar image: %w", err)
	}
	began := time.Now()
	if _, err := i.cfg.CLI.ImageLoad(ctx, path); err != nil {
		return fmt.Errorf("load the sidecar image %s: %w", image.ref, err)
	}
	i.log.Info("sidecar image loaded", "image", image.ref, "from", t.source, "bytes", len(binary), "elapsed", time.Since(began))
	return nil
}

// describe names the image that a binary makes. The answer is kept as long as
// the file is the same: making it means reading it whole.
func (i *Images) describe(t twin) (made, error) {
	info, err := os.Stat(t.path)
	if err != nil {
		return made{}, err
	}
	key := fmt.Sprint(t, info.Size(), info.ModTime().UnixNano())
	i.mu.Lock()
	defer i.mu.Unlock()
	if image, ok := i.made[key]; ok {
		return image, nil
	}
	_, index, err := readSidecar(t)
	if err != nil {
		return made{}, err
	}
	image, err := name(index)
	if err == nil {
		i.made = map[string]made{key: image} // a binary that was replaced is of no more use
	}
	return image, err
}

func readSidecar(t twin) ([]byte, v1.ImageIndex, error) {
	binary, err := os.ReadFile(t.path)
	if err != nil {
		return nil, nil, err
	}
	index, err := sidecarIndex(binary, t.arch)
	return binary, index, err
}

// name derives what the image is called from what it holds.
func name(index v1.ImageIndex) (made, error) {
	digest, err := index.Digest()
	if err != nil {
		return made{}, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return made{}, err
	}
	return made{
		ref:      registry + "sidecar:" + digest.Hex[:16],
		index:    digest.String(),
		manifest: manifest.Manifests[0].Digest.String(),
	}, nil
}

// lookFor asks the engine for the image. A name is anybody's to give: the
// digest decides, of the index or, where an engine keeps its own index, of the
// manifest for our guests.
func (i *Images) lookFor(ctx context.Context, image made) (presence, error) {
	img, err := i.cfg.CLI.ImageInspect(ctx, image.ref)
	if missing(err) {
		return absent, nil
	}
	if err != nil {
		return absent, fmt.Errorf("look for the sidecar image %s: %w", image.ref, err)
	}
	if !i.same(img, image) {
		return foreign, nil
	}
	return present, nil
}

func (i *Images) same(img cli.Image, image made) bool {
	v, ok := i.variant(img)
	if !ok {
		return false
	}
	return img.Digest == image.index || img.Digest == image.manifest || v.Digest == image.manifest
}
