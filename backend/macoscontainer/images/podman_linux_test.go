package images

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
)

// standInEnv turns on what needs Podman and root; a missing piece is a failure
// then.
const standInEnv = "BOTTLE_MCP_STANDIN"

// podman runs Podman on a store of its own.
func podman(t *testing.T, store string, args ...string) []byte {
	t.Helper()
	args = append([]string{"--root", filepath.Join(store, "root"), "--runroot", filepath.Join(store, "run"), "--storage-driver", "vfs"}, args...)
	cmd := exec.CommandContext(t.Context(), "podman", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("podman %q: %v\n%s", args, err, &stderr)
	}
	return out
}

// Another engine reads the archive: one that has nothing of ours in it.
func TestPodmanLoadsSidecar(t *testing.T) {
	if os.Getenv(standInEnv) != "1" {
		t.Skipf("it needs root and Podman: set %s=1", standInEnv)
	}
	binary, err := os.ReadFile(buildTwin(t, runtime.GOARCH))
	if err != nil {
		t.Fatal(err)
	}
	index, err := sidecarIndex(binary, runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	image, err := name(index)
	if err != nil {
		t.Fatal(err)
	}
	store := t.TempDir()
	archive := filepath.Join(store, "sidecar.tar")
	if err := writeArchive(archive, index, image.ref); err != nil {
		t.Fatal(err)
	}
	podman(t, store, "load", "--quiet", "--input", archive)
	var found []struct {
		Digest           string
		RepoTags         []string
		RepoDigests      []string
		Os, Architecture string
		Config           struct{ Entrypoint []string }
	}
	if err := json.Unmarshal(podman(t, store, "image", "inspect", image.ref), &found); err != nil || len(found) != 1 {
		t.Fatalf("%d images, %v", len(found), err)
	}
	got := found[0]
	if got.Os != "linux" || got.Architecture != runtime.GOARCH || !slices.Contains(got.RepoTags, image.ref) ||
		!slices.Equal(got.Config.Entrypoint, []string{"/bottle-mcp", "sidecar", "init"}) {
		t.Errorf("loaded as %+v", got)
	}
	if got.Digest != image.manifest && got.Digest != image.index {
		t.Errorf("digest %s is neither the manifest's %s nor the index's %s", got.Digest, image.manifest, image.index)
	}
	root := bytes.TrimSpace(podman(t, store, "image", "mount", image.ref))
	defer podman(t, store, "image", "unmount", "--all")
	if loaded, err := os.ReadFile(filepath.Join(string(root), "bottle-mcp")); err != nil || !bytes.Equal(loaded, binary) {
		t.Errorf("another binary in the image, %v", err)
	}
	for path, mode := range map[string]os.FileMode{
		"bottle-mcp": 0o755, "etc": os.ModeDir | 0o755, "run/bottle": os.ModeDir | 0o755, "run/mcp.sock": 0o644,
		"s": os.ModeDir | 0o755, "tmp": os.ModeDir | os.ModeSticky | 0o777,
	} {
		if info, err := os.Lstat(filepath.Join(string(root), path)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v; want %v", path, info, err, mode)
		}
	}
}
