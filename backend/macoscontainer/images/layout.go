package images

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// epoch is the time of everything in the image: two servers that make it from
// the same binary make the same bytes.
func epoch() time.Time { return time.Unix(0, 0).UTC() }

// sidecarDirs are the empty directories of the sidecar's root: where its files
// are mounted, where it makes sockets, and what runtimes expect to be there.
var sidecarDirs = []tar.Header{
	{Name: "dev/", Mode: 0o755},
	{Name: "etc/", Mode: 0o755},
	{Name: "proc/", Mode: 0o755},
	{Name: "run/", Mode: 0o755},
	{Name: "run/bottle/", Mode: 0o755},
	{Name: "s/", Mode: 0o755},
	{Name: "sys/", Mode: 0o755},
	{Name: "tmp/", Mode: 0o1777},
}

// What else is in the sidecar's root: our binary, and an empty file where the
// socket of the host's MCP server is mounted, since the root may be read-only.
const (
	sidecarBinary = "bottle-mcp"
	sidecarHost   = "run/mcp.sock"
)

// sidecarIndex is the sidecar image for one architecture: an empty root with
// our binary in it. The layer is not compressed: it never travels, and the
// bytes do not depend on a compressor's version.
func sidecarIndex(binary []byte, arch string) (v1.ImageIndex, error) {
	layer, err := sidecarLayer(binary)
	if err != nil {
		return nil, err
	}
	platform := v1.Platform{OS: "linux", Architecture: arch}
	if arch == "arm64" {
		platform.Variant = "v8" // as the engine spells it
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	base, err = mutate.ConfigFile(base, &v1.ConfigFile{
		Architecture: platform.Architecture, Variant: platform.Variant, OS: platform.OS,
		Created: v1.Time{Time: epoch()},
		RootFS:  v1.RootFS{Type: "layers"},
		Config: v1.Config{
			Entrypoint: []string{"/" + sidecarBinary, "sidecar", "init"},
			WorkingDir: "/",
			Labels:     map[string]string{"org.opencontainers.image.title": "bottle-mcp sidecar"},
		},
	})
	if err != nil {
		return nil, err
	}
	image, err := mutate.Append(base, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: v1.Time{Time: epoch()}, CreatedBy: "bottle-mcp"},
	})
	if err != nil {
		return nil, err
	}
	return mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
		Add: image, Descriptor: v1.Descriptor{Platform: &platform},
	}), nil
}

func sidecarLayer(binary []byte) (v1.Layer, error) {
	var buf bytes.Buffer
	buf.Grow(len(binary) + 16<<10)
	w := tar.NewWriter(&buf)
	for _, dir := range sidecarDirs {
		dir.Typeflag, dir.ModTime, dir.Format = tar.TypeDir, epoch(), tar.FormatUSTAR
		if err := w.WriteHeader(&dir); err != nil {
			return nil, err
		}
	}
	err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: sidecarHost, Mode: 0o644, ModTime: epoch(), Format: tar.FormatUSTAR})
	if err != nil {
		return nil, err
	}
	err = w.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: sidecarBinary, Mode: 0o755, Size: int64(len(binary)),
		ModTime: epoch(), Format: tar.FormatUSTAR,
	})
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(binary); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return static.NewLayer(buf.Bytes(), types.OCIUncompressedLayer), nil
}

// writeArchive writes an OCI layout with the image as a tar file. Its index
// names the image, in both ways in use: archives without a name load as
// nothing.
func writeArchive(path string, image v1.ImageIndex, ref string) (err error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), "layout-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	named := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
		Add: image,
		Descriptor: v1.Descriptor{Annotations: map[string]string{
			"org.opencontainers.image.ref.name": ref,
			"io.containerd.image.name":          ref,
		}},
	})
	if _, err := layout.Write(dir, named); err != nil {
		return fmt.Errorf("lay out the image: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(packDir(f, dir), f.Close())
}

// packDir writes a directory of plain files as a tar stream, in order, with
// nothing in it of who made it and when.
func packDir(dst io.Writer, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	w := tar.NewWriter(dst)
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		return packEntry(w, root, path, d)
	})
	return errors.Join(err, w.Close())
}

func packEntry(w *tar.Writer, root *os.Root, path string, d fs.DirEntry) error {
	header := tar.Header{Name: path, Mode: 0o644, Typeflag: tar.TypeReg, ModTime: epoch(), Format: tar.FormatPAX}
	if d.IsDir() {
		header.Name, header.Mode, header.Typeflag = path+"/", 0o755, tar.TypeDir
		return w.WriteHeader(&header)
	}
	f, err := root.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	header.Size = info.Size()
	if err := w.WriteHeader(&header); err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return err
}
