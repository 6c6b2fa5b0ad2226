package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/shape"
)

// Builder is the id of the builder's container.
const Builder = "buildkit"

// builderImage is the image of the builder: this program, which looks names up
// there.
const builderImage = "bottle-mcp.invalid/container-builder-shim:1"

// BuilderRequest is the builder that a command needs. DNS is compared with a
// running one only where the command asks for some.
type BuilderRequest struct {
	DNS    *shape.DNS `json:"dns"`
	CPUs   int        `json:"cpus"`   // 0 = 2
	Memory int64      `json:"memory"` // 0 = 2 GiB
}

// startBuilder has a running builder that fits the request: a fitting one is
// left alone, another is made anew.
func (e *Engine) startBuilder(ctx context.Context, req BuilderRequest) error {
	unlock, err := e.lock(ctx, Builder)
	if err != nil {
		return err
	}
	defer unlock()
	config := builderConfig(req)
	existing, err := e.Container(Builder)
	if err == nil {
		if fits(existing.Configuration, config, req.DNS != nil) {
			_, err := e.lockedStart(ctx, Builder, nil)
			return err
		}
		if err := e.deleteContainer(ctx, DeleteRequest{ID: Builder, Force: true}); err != nil {
			return err
		}
	}
	if err := e.makeBuilder(ctx, config); err != nil {
		return err
	}
	_, err = e.lockedStart(ctx, Builder, nil)
	return err
}

func (e *Engine) makeBuilder(ctx context.Context, config shape.Configuration) error {
	unlock, err := e.lock(ctx, apiLock)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := e.image(builderImage); err != nil {
		if err := e.loadBuilder(ctx); err != nil {
			return because(err, "failed to prepare the builder image")
		}
	}
	return e.createContainer(ctx, CreateRequest{Config: config, Image: builderImage})
}

func builderConfig(req BuilderRequest) shape.Configuration {
	config := shape.Configuration{
		ID:     Builder,
		Labels: map[string]string{shape.RoleLabel: "builder"},
		InitProcess: shape.Process{
			Executable: "/usr/bin/" + string(RoleBuilder), Arguments: []string{"--debug", "--vsock"},
			Environment:      []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "BUILDKIT_SETUP_SCRIPT_LOG=1"},
			WorkingDirectory: "/", User: shape.User{ID: &shape.UserID{}},
			SupplementalGroups: []uint32{}, Rlimits: []shape.Rlimit{},
		},
		Mounts: []shape.Mount{}, PublishedPorts: []shape.Port{}, PublishedSockets: []shape.Socket{},
		Networks: []shape.WantedNetwork{{Network: DefaultNetwork, Options: shape.NetworkOptions{Hostname: Builder, MTU: defaultMTU}}},
		DNS:      req.DNS,
		Platform: shape.Platform{OS: "linux", Architecture: Architecture()},
		CapAdd:   []string{allCapabilities}, CapDrop: []string{},
		RuntimeHandler: string(RoleRuntime), Sysctls: map[string]string{},
		Resources: shape.Resources{CPUs: 2, MemoryInBytes: 2 << 30, CPUOverhead: 1},
	}
	if config.DNS == nil {
		config.DNS = &shape.DNS{Nameservers: []string{}, SearchDomains: []string{}, Options: []string{}}
	}
	if req.CPUs > 0 {
		config.Resources.CPUs = req.CPUs
	}
	if req.Memory > 0 {
		config.Resources.MemoryInBytes = req.Memory
	}
	return config
}

func fits(have, want shape.Configuration, dns bool) bool {
	return have.Resources == want.Resources && (!dns ||
		slices.Equal(have.DNS.Nameservers, want.DNS.Nameservers) &&
			slices.Equal(have.DNS.SearchDomains, want.DNS.SearchDomains) &&
			slices.Equal(have.DNS.Options, want.DNS.Options) && have.DNS.Domain == want.DNS.Domain)
}

// loadBuilder makes the builder's image of this program.
func (e *Engine) loadBuilder(ctx context.Context) error {
	if err := e.static(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(e.path("tmp"), "builder-")
	if err != nil {
		return err
	}
	m, err := e.writeBuilder(layout{dir})
	if err == nil {
		err = e.podmanLoad(ctx, layout{dir}, m, builderImage)
	}
	return errors.Join(err, os.RemoveAll(dir))
}

func (e *Engine) writeBuilder(l layout) (named, error) {
	layer, err := builderLayer(e.self)
	if err != nil {
		return named{}, err
	}
	if err := os.MkdirAll(filepath.Join(l.dir, "blobs", "sha256"), 0o750); err != nil {
		return named{}, err
	}
	layerAt, err := l.put("application/vnd.oci.image.layer.v1.tar", layer)
	if err != nil {
		return named{}, err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": Architecture(), "os": "linux",
		"config": map[string]any{"Entrypoint": []string{"/usr/bin/" + string(RoleBuilder)}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{layerAt.Digest}},
	})
	if err != nil {
		return named{}, err
	}
	configAt, err := l.put("application/vnd.oci.image.config.v1+json", config)
	if err != nil {
		return named{}, err
	}
	doc, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": mediaManifest, "config": configAt, "layers": []shape.Descriptor{layerAt},
	})
	if err != nil {
		return named{}, err
	}
	at, err := l.put(mediaManifest, doc)
	if err != nil {
		return named{}, err
	}
	return named{Descriptor: at}, os.WriteFile(filepath.Join(l.dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o600)
}

// put writes a blob.
func (l layout) put(mediaType string, data []byte) (shape.Descriptor, error) {
	sum := sha256.Sum256(data)
	hash := hex.EncodeToString(sum[:])
	err := os.WriteFile(filepath.Join(l.dir, "blobs", "sha256", hash), data, 0o600)
	return shape.Descriptor{MediaType: mediaType, Digest: "sha256:" + hash, Size: int64(len(data))}, err
}

// builderLayer is a root file system of this program under its names there.
func builderLayer(self string) ([]byte, error) {
	program, err := os.ReadFile(self)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	writer := tar.NewWriter(&out)
	main := "usr/bin/" + string(RoleBuilder)
	headers := []tar.Header{
		{Typeflag: tar.TypeDir, Name: "etc/", Mode: 0o755},
		{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777},
		{Typeflag: tar.TypeDir, Name: "usr/", Mode: 0o755},
		{Typeflag: tar.TypeDir, Name: "usr/bin/", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: main, Mode: 0o755, Size: int64(len(program))},
		{Typeflag: tar.TypeLink, Name: "usr/bin/" + string(RoleGetent), Linkname: main, Mode: 0o755},
		{Typeflag: tar.TypeLink, Name: "usr/bin/" + string(RoleLookup), Linkname: main, Mode: 0o755},
	}
	for _, header := range headers {
		if err := writer.WriteHeader(&header); err != nil {
			return nil, fmt.Errorf("write the builder's layer: %w", err)
		}
		if header.Typeflag == tar.TypeReg {
			if _, err := writer.Write(program); err != nil {
				return nil, fmt.Errorf("write the builder's layer: %w", err)
			}
		}
	}
	err = writer.Close()
	return out.Bytes(), err
}
