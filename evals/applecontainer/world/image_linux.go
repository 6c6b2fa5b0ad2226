package world

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world/rootfs"
)

// Names of the test images. The first two are one image.
const (
	AgentImage  = "bottle-mcp.invalid/test-agent:1"
	DebianImage = "docker.io/library/debian:stable-slim"
	// ToolsImage also has this machine's curl and git.
	ToolsImage = "bottle-mcp.invalid/test-tools:1"
)

const hostRoots = "/etc/ssl/certs/ca-certificates.crt"

// BuildImages loads the test images that Podman does not have yet.
func BuildImages(ctx context.Context) error {
	agent := rootfs.Sources{Busybox: find("busybox"), Roots: hostRoots}
	if err := importImage(ctx, AgentImage, agent); err != nil {
		return err
	}
	if _, err := Podman(ctx, "tag", AgentImage, DebianImage); err != nil {
		return err
	}
	tools, err := toolFiles(ctx)
	if err != nil {
		return err
	}
	return importImage(ctx, ToolsImage, rootfs.Sources{Busybox: agent.Busybox, Roots: agent.Roots, Tools: tools})
}

// toolFiles are git with its HTTP side, and curl.
func toolFiles(ctx context.Context) ([]string, error) {
	out, err := exec.CommandContext(ctx, "git", "--exec-path").Output()
	if err != nil {
		return nil, fmt.Errorf("git does not say where its parts are: %w", err)
	}
	parts := strings.TrimSpace(string(out))
	return rootfs.Programs("curl", "git",
		filepath.Join(parts, "git-remote-http"), filepath.Join(parts, "git-remote-https"))
}

func importImage(ctx context.Context, name string, s rootfs.Sources) error {
	if _, err := Podman(ctx, "image", "exists", name); err == nil {
		return nil
	}
	cmd := exec.CommandContext(ctx, find("podman"), "import", "--change", "CMD [\"/bin/sh\"]",
		"--change", "ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "-", name)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	var complaint strings.Builder
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("podman cannot be started: %w", err)
	}
	err = rootfs.Write(ctx, stdin, s)
	_ = stdin.Close()
	if waited := cmd.Wait(); waited != nil {
		err = fmt.Errorf("%w: %s", errors.Join(err, waited), complaint.String())
	}
	if err != nil {
		return fmt.Errorf("image %s cannot be made: %w", name, err)
	}
	return nil
}

// Images loads the test images and returns when they are there.
func (w *World) Images(t testing.TB) {
	t.Helper()
	if err := BuildImages(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// BuildContext returns a directory to build an image from: a RUN that writes
// /built, a COPY to /home/agent/greeting, and a RUN whose name resolution and
// network are those of a builder. Dockerfile.fails fails in its second step.
func (w *World) BuildContext(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"Dockerfile":         "FROM " + AgentImage + "\nRUN echo built >/built\nCOPY greeting /home/agent/greeting\nENV GREETED=yes\n",
		"Dockerfile.network": "FROM " + AgentImage + "\nRUN wget -q -O /fetched http://" + AllowedName + "/from-the-builder\n",
		"Dockerfile.fails":   "FROM " + AgentImage + "\nRUN echo the last words >&2; exit 9\n",
		"greeting":           "hello from the build context\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// PublishSite lets the Internet serve the files of a host, by name relative to
// its root, over HTTP and HTTPS.
func (w *World) PublishSite(t testing.TB, host string, files fs.FS) {
	t.Helper()
	dir := filepath.Join(w.layout.sites(), host)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, files); err != nil {
		t.Fatal(err)
	}
}
