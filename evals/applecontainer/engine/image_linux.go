package engine

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/shape"
)

// LoadRequest loads an archive.
type LoadRequest struct {
	Archive string `json:"archive"`
	Force   bool   `json:"force"`
}

// loadImages loads every image of an archive and returns their references.
func (e *Engine) loadImages(ctx context.Context, req LoadRequest) ([]string, error) {
	file, err := os.Open(req.Archive)
	if err != nil {
		return nil, because(err, "failed to load images")
	}
	defer func() { _ = file.Close() }()
	dir, err := os.MkdirTemp(e.path("tmp"), "load-")
	if err != nil {
		return nil, err
	}
	references, err := e.loadArchive(ctx, file, dir, req.Force)
	return references, errors.Join(err, os.RemoveAll(dir))
}

func (e *Engine) loadArchive(ctx context.Context, archive io.Reader, dir string, force bool) ([]string, error) {
	extractErr := extract(archive, dir, force)
	l := layout{dir}
	all, err := l.open()
	switch {
	case errors.Is(err, errNoLayout):
		return nil, because(err, "failed to load images")
	case extractErr != nil:
		return nil, because(extractErr, "failed to load images")
	case err != nil:
		return nil, because(err, "failed to load images")
	}
	var references []string
	for _, m := range all {
		reference, err := e.loadImage(ctx, l, m)
		if err != nil {
			return references, because(err, "failed to load images")
		}
		references = append(references, reference)
	}
	return references, nil
}

// loadImage hands Podman the variant that runs here, under the full name.
func (e *Engine) loadImage(ctx context.Context, l layout, m named) (string, error) {
	name, tagged := m.reference()
	if !tagged {
		return "", Failf(InvalidArgument, "the archive gives image %s no name", m.Digest)
	}
	name = Normalize(name)
	manifests, err := l.manifests(m)
	if err != nil {
		return "", err
	}
	var variants []shape.Variant
	chosen := -1
	for at, candidate := range manifests {
		v, err := l.variant(candidate)
		if err != nil {
			return "", err
		}
		variants = append(variants, v)
		// One for another machine can be loaded too, but not run.
		if chosen < 0 || v.Platform.Architecture == Architecture() {
			chosen = at
		}
	}
	if chosen < 0 {
		return "", Failf(InvalidArgument, "the index of image %s is empty", name)
	}
	if err := e.podmanLoad(ctx, l, manifests[chosen], name); err != nil {
		return "", err
	}
	if m.MediaType != mediaIndex {
		return name, nil
	}
	return name, save(e.platformsPath(manifests[chosen].Digest), platforms{Descriptor: m.Descriptor, Variants: variants})
}

// podmanLoad loads one manifest: Podman refuses an index of several images.
func (e *Engine) podmanLoad(ctx context.Context, l layout, m named, name string) error {
	m.Annotations = map[string]string{"org.opencontainers.image.ref.name": name}
	if err := save(filepath.Join(l.dir, "index.json"), index{SchemaVersion: 2, Manifests: []named{m}}); err != nil {
		return err
	}
	before := e.holder(name)
	// Podman names the image after the directory, whatever the index says: a
	// relative one is sure to be a name.
	dir := filepath.Base(l.dir)
	id, err := outputIn(ctx, filepath.Dir(l.dir), "podman", "pull", "-q", "oci:"+dir)
	if err != nil {
		return err
	}
	if _, err := output(ctx, "", "podman", "untag", firstLine(id), "localhost/"+dir+":latest"); err != nil {
		return err
	}
	return e.name(ctx, firstLine(id), name, before)
}

// holder is Podman's id of the image that has a name, "" when none has.
func (e *Engine) holder(name string) string {
	i, err := e.image(name)
	if err != nil {
		return ""
	}
	return i.ID
}

// name gives an image of Podman's a full name. What had the name before goes if
// nothing else holds it.
func (e *Engine) name(ctx context.Context, podmanID, name, before string) error {
	if _, err := output(ctx, "", "podman", "tag", podmanID, name); err != nil {
		return err
	}
	if before == "" || before == podmanID {
		return nil
	}
	return e.dropUnnamed(ctx, before)
}

// dropUnnamed removes an image from Podman when it has no name and no container
// any more.
func (e *Engine) dropUnnamed(ctx context.Context, podmanID string) error {
	all, err := store()
	if err != nil {
		return err
	}
	at := slices.IndexFunc(all, func(s stored) bool { return s.ID == podmanID })
	if at < 0 || len(all[at].Names) > 0 {
		return nil
	}
	containers, err := e.containers()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(containers, func(c *container) bool { return c.Image == podmanID }) {
		return nil
	}
	if _, err := output(ctx, "", "podman", "rmi", "-f", "-i", podmanID); err != nil {
		return err
	}
	return os.RemoveAll(e.platformsPath(all[at].Digest))
}

// deleteImage takes a name from an image. Containers keep what they run.
func (e *Engine) deleteImage(ctx context.Context, reference string) error {
	i, err := e.image(reference)
	if err != nil {
		return err
	}
	if _, err := output(ctx, "", "podman", "untag", i.ID, reference); err != nil {
		return because(err, "failed to delete image %s", reference)
	}
	return e.dropUnnamed(ctx, i.ID)
}

// tagImage gives an image another name, which another image may lose.
func (e *Engine) tagImage(ctx context.Context, from, to string) error {
	i, err := e.image(from)
	if err != nil {
		return err
	}
	before := e.holder(to)
	return e.name(ctx, i.ID, to, before)
}
