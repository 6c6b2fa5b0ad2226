package main

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// podman is Podman with a one-file image, no network and no proxy.
type podman struct{ env []string }

const peerImage = "localhost/bottle-bench-peer"

func newPodman(ctx context.Context, dir string) (*podman, error) {
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return nil, fmt.Errorf("the peer's image is missing: install busybox-static: %w", err)
	}
	// Podman asks for limits above a container host's hard ones.
	conf := filepath.Join(dir, "containers.conf")
	if err := os.WriteFile(conf, []byte("[containers]\ndefault_ulimits = [\"nofile=4096:4096\",\"nproc=4096:4096\"]\n"), 0o600); err != nil {
		return nil, err
	}
	p := &podman{env: append(os.Environ(), "CONTAINERS_CONF="+conf)}
	var layer bytes.Buffer
	tw := tar.NewWriter(&layer)
	if err := tw.WriteHeader(&tar.Header{Name: "bin/busybox", Mode: 0o755, Size: int64(len(busybox))}); err != nil {
		return nil, err
	}
	if _, err := tw.Write(busybox); err != nil {
		return nil, err
	}
	if err := tw.Close(); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "image.tar")
	if err := os.WriteFile(path, layer.Bytes(), 0o600); err != nil {
		return nil, err
	}
	return p, p.run(ctx, "import", path, peerImage)
}

// launch measures run -d and the first exec.
func (p *podman) launch(ctx context.Context, i int) (time.Duration, error) {
	name := "bottle-bench-" + strconv.Itoa(i)
	t := time.Now()
	if err := p.run(ctx, "run", "-d", "--network", "none", "--name", name, peerImage, "/bin/busybox", "sleep", "1000"); err != nil {
		return 0, err
	}
	if err := p.run(ctx, "exec", name, "/bin/busybox", "true"); err != nil {
		return 0, err
	}
	d := time.Since(t)
	return d, p.run(ctx, "rm", "-f", "-t", "0", name)
}

func (p *podman) run(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "podman", args...)
	cmd.Env = p.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("podman %s: %w: %s", args[0], err, out)
	}
	return nil
}
