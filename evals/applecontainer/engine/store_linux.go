package engine

import (
	"bufio"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/faults"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/shape"
)

// storeDefault is where Podman keeps images when nobody says otherwise.
const storeDefault = "/var/lib/containers/storage"

// stored is an image in Podman's store. The store is read as files: it is the
// one truth about images, whoever put them there, and asking Podman would cost
// more than all else that a command does.
type stored struct {
	ID      string    `json:"id"`
	Digest  string    `json:"digest"`
	Names   []string  `json:"names"`
	Created time.Time `json:"created"`
}

// image is an image under one of its names.
type image struct {
	stored
	Reference  string
	Descriptor shape.Descriptor
	Variants   []shape.Variant
}

// hidden says whether an image is the program's own, which no command shows.
func (i *image) hidden() bool { return i.Reference == builderImage }

// runs is the variant for this machine, nil when there is none.
func (i *image) runs() *shape.Variant {
	at := slices.IndexFunc(i.Variants, func(v shape.Variant) bool {
		return v.Platform.OS == "linux" && v.Platform.Architecture == Architecture()
	})
	if at < 0 {
		return nil
	}
	return &i.Variants[at]
}

func storeDir() string {
	conf := cmp.Or(os.Getenv("CONTAINERS_STORAGE_CONF"), "/etc/containers/storage.conf")
	file, err := os.Open(conf)
	if err != nil {
		return storeDefault
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		key, value, ok := strings.Cut(lines.Text(), "=")
		if ok && strings.TrimSpace(key) == "graphroot" {
			return strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return storeDefault
}

// store lists Podman's images.
func store() ([]stored, error) {
	var all []stored
	_, err := load(filepath.Join(storeDir(), "overlay-images", "images.json"), &all)
	return all, err
}

// images are all images by name, sorted.
func (e *Engine) images() ([]*image, error) {
	all, err := store()
	if err != nil {
		return nil, err
	}
	var out []*image
	for _, s := range all {
		for _, name := range s.Names {
			if strings.Contains(name, "@") {
				continue // a digest is no name of an image here
			}
			i, err := e.describe(s, name)
			if err != nil {
				return nil, err
			}
			out = append(out, i)
		}
	}
	slices.SortFunc(out, func(a, b *image) int { return cmp.Compare(a.Reference, b.Reference) })
	return out, nil
}

// image finds an image by its full name.
func (e *Engine) image(reference string) (*image, error) {
	all, err := store()
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if slices.Contains(s.Names, reference) {
			return e.describe(s, reference)
		}
	}
	return nil, Failf(NotFound, "image not found: %s", reference)
}

// describe reads what the store has of an image. For an image that came as one
// of several platforms, the index is kept beside the store.
func (e *Engine) describe(s stored, reference string) (*image, error) {
	i := &image{stored: s, Reference: reference}
	raw, err := os.ReadFile(storePath(s.ID, "manifest"))
	if err != nil {
		return nil, fmt.Errorf("the manifest of %s cannot be read: %w", reference, err)
	}
	var doc manifest
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("the manifest of %s is damaged: %w", reference, err)
	}
	config, err := os.ReadFile(storePath(s.ID, doc.Config.Digest))
	if err != nil {
		return nil, fmt.Errorf("the configuration of %s cannot be read: %w", reference, err)
	}
	v, err := variantOf(s.Digest, doc, config)
	if err != nil {
		return nil, err
	}
	i.Descriptor = shape.Descriptor{MediaType: mediaManifest, Digest: s.Digest, Size: int64(len(raw))}
	i.Variants = []shape.Variant{v}
	var kept platforms
	if found, err := load(e.platformsPath(s.Digest), &kept); err != nil || !found {
		return i, err
	}
	i.Descriptor, i.Variants = kept.Descriptor, kept.Variants
	return i, nil
}

// storePath is where the store keeps a blob of an image.
func storePath(id, blob string) string {
	if blob != "manifest" {
		blob = "=" + base64.StdEncoding.EncodeToString([]byte(blob))
	}
	return filepath.Join(storeDir(), "overlay-images", id, blob)
}

// platforms is an index of which Podman keeps one variant.
type platforms struct {
	Descriptor shape.Descriptor `json:"descriptor"`
	Variants   []shape.Variant  `json:"variants"`
}

func (e *Engine) platformsPath(digest string) string {
	return e.path("images", strings.TrimPrefix(digest, "sha256:")+".json")
}

// otherArchitecture is never this machine's.
const otherArchitecture = "s390x"

func (e *Engine) shapeImage(i *image) shape.Image {
	out := shape.Image{ID: strings.TrimPrefix(i.Descriptor.Digest, "sha256:"), Variants: slices.Clone(i.Variants)}
	out.Configuration = shape.ImageConfiguration{Name: i.Reference, Descriptor: i.Descriptor, CreationDate: shape.Date(i.Created)}
	if e.faults.On(faults.WrongPlatform) {
		for at := range out.Variants {
			out.Variants[at].Platform = shape.Platform{OS: "linux", Architecture: otherArchitecture}
			out.Variants[at].Config = withArchitecture(out.Variants[at].Config)
		}
	}
	return out
}

func withArchitecture(config json.RawMessage) json.RawMessage {
	var tree map[string]any
	if json.Unmarshal(config, &tree) != nil {
		return config
	}
	tree["architecture"] = otherArchitecture
	changed, err := json.Marshal(tree)
	if err != nil {
		return config
	}
	return changed
}

// Image is one image; the program's own are as good as missing.
func (e *Engine) Image(reference string) (shape.Image, error) {
	i, err := e.image(Normalize(reference))
	if err == nil && i.hidden() {
		err = Failf(NotFound, "image not found: %s", reference)
	}
	if err != nil {
		return shape.Image{}, err
	}
	return e.shapeImage(i), nil
}

// Images are all images but the program's own.
func (e *Engine) Images() ([]shape.Image, error) {
	all, err := e.images()
	if err != nil {
		return nil, err
	}
	shapes := make([]shape.Image, 0, len(all))
	for _, i := range all {
		if !i.hidden() {
			shapes = append(shapes, e.shapeImage(i))
		}
	}
	return shapes, nil
}
