package images

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// unpack lays a tar file out below dir, as an engine does before it loads it.
func unpack(archive, dir string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	r := tar.NewReader(f)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !filepath.IsLocal(h.Name) || !h.ModTime.Equal(epoch()) || h.Uid != 0 || h.Gid != 0 || h.Uname != "" {
			return fmt.Errorf("entry %+v is not neutral", h)
		}
		path := filepath.Join(dir, h.Name)
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(path, 0o755)
		case tar.TypeReg:
			var data []byte
			if data, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, data, 0o644)
				if sum := fmt.Sprintf("%x", sha256.Sum256(data)); strings.HasPrefix(h.Name, "blobs/") && h.Name != "blobs/sha256/"+sum {
					err = fmt.Errorf("the content of %s has the digest %s", h.Name, sum)
				}
			}
		default:
			err = fmt.Errorf("entry %s is of type %c", h.Name, h.Typeflag)
		}
		if err != nil {
			return err
		}
	}
}

// readBack reads an archive as an engine does: its name and the index behind.
func readBack(archive, dir string) (ref string, index v1.ImageIndex, err error) {
	if err := unpack(archive, dir); err != nil {
		return "", nil, err
	}
	path, err := layout.FromPath(dir)
	if err != nil {
		return "", nil, err
	}
	outer, err := path.ImageIndex()
	if err != nil {
		return "", nil, err
	}
	manifest, err := outer.IndexManifest()
	if err != nil {
		return "", nil, err
	}
	if len(manifest.Manifests) != 1 || manifest.Manifests[0].MediaType != types.OCIImageIndex {
		return "", nil, fmt.Errorf("index.json lists %v", manifest.Manifests)
	}
	names := manifest.Manifests[0].Annotations
	if names["org.opencontainers.image.ref.name"] != names["io.containerd.image.name"] {
		return "", nil, fmt.Errorf("two names: %v", names)
	}
	index, err = outer.ImageIndex(manifest.Manifests[0].Digest)
	return names["io.containerd.image.name"], index, err
}

func TestArchiveReadsBack(t *testing.T) {
	for _, arch := range []string{"arm64", "amd64"} {
		t.Run(arch, func(t *testing.T) {
			binary := []byte("binary of " + arch)
			index, err := sidecarIndex(binary, arch)
			if err != nil {
				t.Fatal(err)
			}
			archive := filepath.Join(t.TempDir(), "a.tar")
			if err := writeArchive(archive, index, "bottle-mcp.invalid/sidecar:x"); err != nil {
				t.Fatal(err)
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(archive), "layout-*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			ref, read, err := readBack(archive, t.TempDir())
			if err != nil || ref != "bottle-mcp.invalid/sidecar:x" {
				t.Fatalf("ref %q, %v", ref, err)
			}
			// Fast: without it the validator takes every layer for a compressed one.
			if err := validate.Index(read, validate.Fast); err != nil {
				t.Fatal(err)
			}
			want, _ := index.Digest()
			if got, err := read.Digest(); err != nil || got != want {
				t.Errorf("digest %v, %v; want %v", got, err, want)
			}
			checkImage(t, read, arch, binary)
		})
	}
}

func checkImage(t *testing.T, index v1.ImageIndex, arch string, binary []byte) {
	t.Helper()
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if p := manifest.Manifests[0].Platform; p == nil || p.OS != "linux" || p.Architecture != arch {
		t.Errorf("platform of the descriptor: %+v", p)
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.OS != "linux" || config.Architecture != arch || !config.Created.Equal(epoch()) || config.Config.User != "" ||
		!slices.Equal(config.Config.Entrypoint, []string{"/bottle-mcp", "sidecar", "init"}) || len(config.Config.Env) > 0 {
		t.Errorf("config: %+v", config)
	}
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	got := listTar(t, content)
	want := []string{
		"drwxr-xr-x dev/", "drwxr-xr-x etc/", "drwxr-xr-x proc/", "drwxr-xr-x run/", "drwxr-xr-x run/bottle/",
		"drwxr-xr-x s/", "drwxr-xr-x sys/", "dtrwxrwxrwx tmp/",
		fmt.Sprintf("-rw-r--r-- run/mcp.sock %x", sha256.Sum256(nil)),
		fmt.Sprintf("-rwxr-xr-x bottle-mcp %x", sha256.Sum256(binary)),
	}
	if !slices.Equal(got, want) {
		t.Errorf("root holds\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func listTar(t *testing.T, content io.Reader) (lines []string) {
	t.Helper()
	r := tar.NewReader(content)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || !h.ModTime.Equal(epoch()) {
			t.Errorf("%s belongs to %d:%d and is of %v", h.Name, h.Uid, h.Gid, h.ModTime)
		}
		line := h.FileInfo().Mode().String() + " " + h.Name
		if h.Typeflag == tar.TypeReg {
			data, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			line += fmt.Sprintf(" %x", sha256.Sum256(data))
		}
		lines = append(lines, line)
	}
}

func TestArchiveIsReproducible(t *testing.T) {
	var first []byte
	for range 2 {
		index, err := sidecarIndex([]byte("binary"), "arm64")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "a.tar")
		if err := writeArchive(path, index, "r:t"); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = data
		} else if !bytes.Equal(first, data) {
			t.Error("the same binary makes another archive")
		}
	}
	// What the bytes are is part of the name of every image in the field: a
	// change here is one of the image, not of this test.
	index, err := sidecarIndex([]byte("binary"), "arm64")
	if err != nil {
		t.Fatal(err)
	}
	digest, err := index.Digest()
	if err != nil || digest.Hex != "07fabed84516b43a547d9ba06b72f69dcf3c6c57366a1a0c290158a1b548b020" {
		t.Errorf("digest %v, %v", digest, err)
	}
	for name, other := range map[string]func() (v1.ImageIndex, error){
		"another binary":       func() (v1.ImageIndex, error) { return sidecarIndex([]byte("binarx"), "arm64") },
		"another architecture": func() (v1.ImageIndex, error) { return sidecarIndex([]byte("binary"), "amd64") },
	} {
		index, err := other()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := index.Digest(); err != nil || got == digest {
			t.Errorf("%s makes the same image (%v)", name, err)
		}
	}
}

func TestWriteArchiveFails(t *testing.T) {
	index, err := sidecarIndex([]byte("binary"), "arm64")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "there")
	if err := os.WriteFile(path, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeArchive(path, index, "r:t"); !errors.Is(err, os.ErrExist) {
		t.Errorf("an archive that is there is overwritten: %v", err)
	}
	if err := writeArchive(filepath.Join(dir, "no", "dir"), index, "r:t"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "layout-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
