package engine

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/shape"
)

const (
	mediaIndex    = "application/vnd.oci.image.index.v1+json"
	mediaManifest = "application/vnd.oci.image.manifest.v1+json"

	// maxDocument bounds the JSON documents of a layout.
	maxDocument = 8 << 20
)

// named is a descriptor with what a layout says of it.
type named struct {
	shape.Descriptor
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    *shape.Platform   `json:"platform,omitempty"`
}

type index struct {
	SchemaVersion int     `json:"schemaVersion"`
	MediaType     string  `json:"mediaType,omitempty"`
	Manifests     []named `json:"manifests"`
}

type manifest struct {
	Config shape.Descriptor   `json:"config"`
	Layers []shape.Descriptor `json:"layers"`
}

// reference is the name that a layout gives an image, and whether it has one.
func (n *named) reference() (string, bool) {
	for _, key := range []string{"io.containerd.image.name", "org.opencontainers.image.ref.name"} {
		if name := n.Annotations[key]; name != "" {
			return name, true
		}
	}
	return "", false
}

// extract unpacks an archive into a directory. What is neither a file nor a
// directory below it is refused, or left out when forced.
func extract(archive io.Reader, dir string, force bool) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	reader := tar.NewReader(archive)
	var refused []string
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the archive: %w", err)
		}
		name := filepath.Clean(header.Name)
		switch header.Typeflag {
		case tar.TypeDir:
			err = root.MkdirAll(name, 0o750)
		case tar.TypeReg:
			err = extractFile(root, name, reader)
		case tar.TypeXGlobalHeader:
		default:
			err = errors.New("neither a file nor a directory")
		}
		if err != nil {
			refused = append(refused, header.Name)
		}
	}
	if len(refused) > 0 && !force {
		return fmt.Errorf("the archive holds members that were refused: %s", strings.Join(refused, ", "))
	}
	return nil
}

func extractFile(root *os.Root, name string, content io.Reader) error {
	if err := root.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		return err
	}
	file, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}

// layout is an OCI image layout in a directory.
type layout struct{ dir string }

// errNoLayout is what is wrong with an archive of `docker save`.
var errNoLayout = errors.New("file does not exist: oci-layout")

// open checks that the directory is a layout and reads its index. An archive of
// `docker save` has no oci-layout, and that is what the program complains of.
func (l layout) open() ([]named, error) {
	if _, err := os.Stat(filepath.Join(l.dir, "oci-layout")); errors.Is(err, fs.ErrNotExist) {
		return nil, errNoLayout
	}
	var top index
	if err := l.document("index.json", &top); err != nil {
		return nil, err
	}
	if len(top.Manifests) == 0 {
		return nil, errors.New("the index of the archive names no image")
	}
	return top.Manifests, nil
}

func (l layout) document(name string, v any) error {
	file, err := os.Open(filepath.Join(l.dir, name))
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(io.LimitReader(file, maxDocument))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s is no JSON of an image layout: %w", name, err)
	}
	return nil
}

func blobName(digest string) (string, error) {
	algorithm, hash, ok := strings.Cut(digest, ":")
	if !ok || algorithm != "sha256" || len(hash) != 64 || strings.Trim(hash, "0123456789abcdef") != "" {
		return "", fmt.Errorf("%q is no digest", digest)
	}
	return filepath.Join("blobs", algorithm, hash), nil
}

func (l layout) blob(digest string, v any) error {
	name, err := blobName(digest)
	if err != nil {
		return err
	}
	return l.document(name, v)
}

// manifests are the manifests behind a descriptor: its own, or those of the
// index that it points to. Attestations are no images.
func (l layout) manifests(of named) ([]named, error) {
	if of.MediaType != mediaIndex {
		return []named{of}, nil
	}
	var nested index
	if err := l.blob(of.Digest, &nested); err != nil {
		return nil, err
	}
	var out []named
	for _, m := range nested.Manifests {
		if m.Annotations["vnd.docker.reference.type"] == "" {
			out = append(out, m)
		}
	}
	return out, nil
}

// variant describes the image of a manifest.
func (l layout) variant(m named) (shape.Variant, error) {
	var doc manifest
	if err := l.blob(m.Digest, &doc); err != nil {
		return shape.Variant{}, err
	}
	var config json.RawMessage
	if err := l.blob(doc.Config.Digest, &config); err != nil {
		return shape.Variant{}, err
	}
	return variantOf(m.Digest, doc, config)
}

// variantOf describes an image by its manifest and configuration.
func variantOf(digest string, doc manifest, config json.RawMessage) (shape.Variant, error) {
	v := shape.Variant{Digest: digest, Config: config}
	if err := json.Unmarshal(config, &v.Platform); err != nil {
		return v, fmt.Errorf("the configuration of image %s is no JSON: %w", digest, err)
	}
	for _, layer := range doc.Layers {
		v.Size += layer.Size
	}
	v.Size += doc.Config.Size
	return v, nil
}

// Normalize is the full name of an image.
func Normalize(reference string) string {
	first, rest, slash := strings.Cut(reference, "/")
	switch {
	case !slash:
		reference = "docker.io/library/" + reference
	case !strings.ContainsAny(first, ".:") && first != "localhost":
		reference = "docker.io/" + first + "/" + rest
	}
	name := reference[strings.LastIndexByte(reference, '/')+1:]
	if !strings.ContainsAny(name, ":@") {
		reference += ":latest"
	}
	return reference
}
