package images

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/cli"
)

// loadsAsIs is an engine's load: it reads the archive back and believes only
// what is in it.
func loadsAsIs(t *testing.T) func(string) (string, cli.Image, error) {
	return func(path string) (string, cli.Image, error) {
		ref, index, err := readBack(path, t.TempDir())
		if err != nil {
			return "", cli.Image{}, err
		}
		digest, err := index.Digest()
		if err != nil {
			return "", cli.Image{}, err
		}
		manifest, err := index.IndexManifest()
		if err != nil {
			return "", cli.Image{}, err
		}
		img := cli.Image{Reference: ref, Digest: digest.String()}
		for _, m := range manifest.Manifests {
			img.Variants = append(img.Variants, cli.Variant{OS: m.Platform.OS, Architecture: m.Platform.Architecture, Digest: m.Digest.String()})
		}
		return ref, img, nil
	}
}

// sidecarScene is an engine and Images with a twin of the given content.
func sidecarScene(t *testing.T) (*fakeEngine, *Images) {
	t.Helper()
	engine := newFake()
	engine.load = loadsAsIs(t)
	return engine, newImages(t, engine, env{EnvLinuxBinary: buildTwin(t, "arm64")})
}

func TestSidecar(t *testing.T) {
	engine, i := sidecarScene(t)
	ref, err := i.Sidecar(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^bottle-mcp\.invalid/sidecar:[0-9a-f]{16}$`).MatchString(ref) {
		t.Errorf("reference %q", ref)
	}
	if !strings.HasPrefix(engine.images[ref].Digest, "sha256:"+strings.TrimPrefix(ref, "bottle-mcp.invalid/sidecar:")) {
		t.Errorf("the name %s is not after the digest %s", ref, engine.images[ref].Digest)
	}
	if left, _ := filepath.Glob(filepath.Join(i.cfg.CacheDir, "sidecar-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	t.Run("reused", func(t *testing.T) {
		again, err := i.Sidecar(t.Context())
		if err != nil || again != ref || engine.count("load") != 1 {
			t.Errorf("Sidecar = %q, %v after %d loads; want %q after 1", again, err, engine.count("load"), ref)
		}
	})
	t.Run("loaded again when it was deleted", func(t *testing.T) {
		delete(engine.images, ref)
		again, err := i.Sidecar(t.Context())
		if err != nil || again != ref || engine.count("load") != 2 {
			t.Errorf("Sidecar = %q, %v after %d loads", again, err, engine.count("load"))
		}
	})
	t.Run("an engine with an index of its own", func(t *testing.T) {
		img := engine.images[ref]
		img.Digest = "sha256:" + strings.Repeat("0", 64)
		engine.images[ref] = img
		if _, err := i.Sidecar(t.Context()); err != nil || engine.count("load") != 2 {
			t.Errorf("the manifest is not recognised: %v", err)
		}
	})
	t.Run("another binary is another image", func(t *testing.T) {
		path := i.setting(EnvLinuxBinary)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(data, "more"...), 0o755); err != nil {
			t.Fatal(err)
		}
		again, err := i.Sidecar(t.Context())
		if err != nil || again == ref || engine.count("load") != 3 {
			t.Errorf("Sidecar = %q, %v", again, err)
		}
	})
}

func TestSidecarForeignImage(t *testing.T) {
	foreignImage := cli.Image{Digest: "sha256:f00", Variants: []cli.Variant{{OS: "linux", Architecture: "arm64", Digest: "sha256:ba5"}}}
	t.Run("is replaced", func(t *testing.T) {
		engine, i := sidecarScene(t)
		ref, err := i.Sidecar(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		i.log = slog.New(slog.NewTextHandler(&log, nil))
		engine.images[ref] = foreignImage
		if _, err := i.Sidecar(t.Context()); err != nil || engine.images[ref].Digest == "sha256:f00" {
			t.Errorf("not replaced: %v", err)
		}
		if !strings.Contains(log.String(), "replaced") {
			t.Errorf("nobody is told: %s", &log)
		}
	})
	t.Run("with our digest but another platform", func(t *testing.T) {
		engine, i := sidecarScene(t)
		ref, err := i.Sidecar(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		img := engine.images[ref]
		img.Variants = []cli.Variant{{OS: "linux", Architecture: "amd64", Digest: img.Variants[0].Digest}}
		engine.images[ref] = img
		if _, err := i.Sidecar(t.Context()); err != nil || engine.count("load") != 2 {
			t.Errorf("Sidecar: %v after %d loads", err, engine.count("load"))
		}
	})
	t.Run("that stays is refused", func(t *testing.T) {
		engine, i := sidecarScene(t)
		loads := engine.load
		engine.load = func(path string) (string, cli.Image, error) {
			ref, _, err := loads(path)
			return ref, foreignImage, err
		}
		ref, err := i.Sidecar(t.Context())
		mustContain(t, err, "another image", "container image delete bottle-mcp.invalid/sidecar:")
		if ref != "" {
			t.Errorf("a name beside the error: %s", ref)
		}
	})
}

func TestSidecarFails(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*fakeEngine, *Images)
		want   []string
	}{
		"no twin":        {func(_ *fakeEngine, i *Images) { i.cfg.LookupEnv = env{}.lookup }, []string{"just sidecar-linux"}},
		"engine is down": {func(e *fakeEngine, _ *Images) { e.inspect = brokenEngine() }, []string{"look for the sidecar image"}},
		"load fails": {func(e *fakeEngine, _ *Images) {
			e.load = func(string) (string, cli.Image, error) { return "", cli.Image{}, brokenEngine() }
		}, []string{"load the sidecar image"}},
		"load is silent": {func(e *fakeEngine, _ *Images) {
			e.load = func(string) (string, cli.Image, error) { return "other:name", cli.Image{}, nil }
		}, []string{"is not there", "container image list"}},
		"no cache":        {func(_ *fakeEngine, i *Images) { i.cfg.CacheDir = "/dev/null/cache" }, []string{"cache directory"}},
		"override absent": {func(_ *fakeEngine, i *Images) { i.cfg.LookupEnv = env{EnvSidecarImage: "mine:1"}.lookup }, []string{EnvSidecarImage, "container image pull --platform linux/arm64 mine:1"}},
		"override is no reference": {func(_ *fakeEngine, i *Images) { i.cfg.LookupEnv = env{EnvSidecarImage: "-rm x"}.lookup },
			[]string{EnvSidecarImage, "not an image reference"}},
		"override of another platform": {func(e *fakeEngine, i *Images) {
			i.cfg.LookupEnv = env{EnvSidecarImage: "mine:1"}.lookup
			e.images["mine:1"] = cli.Image{Variants: []cli.Variant{{OS: "linux", Architecture: "s390x"}, {OS: "linux", Architecture: "amd64"}}}
		}, []string{EnvSidecarImage, "linux/amd64, linux/s390x", "linux/arm64"}},
		"override of no platform": {func(e *fakeEngine, i *Images) {
			i.cfg.LookupEnv = env{EnvSidecarImage: "mine:1"}.lookup
			e.images["mine:1"] = cli.Image{}
		}, []string{"no platform"}},
		"override and the engine is down": {func(e *fakeEngine, i *Images) {
			i.cfg.LookupEnv, e.inspect = env{EnvSidecarImage: "mine:1"}.lookup, brokenEngine()
		}, []string{EnvSidecarImage, "look at image mine:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			engine, i := sidecarScene(t)
			tc.change(engine, i)
			ref, err := i.Sidecar(t.Context())
			mustContain(t, err, tc.want...)
			if ref != "" {
				t.Errorf("a name beside the error: %s", ref)
			}
			if left, _ := filepath.Glob(filepath.Join(i.cfg.CacheDir, "sidecar-*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestSidecarOverride(t *testing.T) {
	engine, i := sidecarScene(t)
	i.cfg.LookupEnv = env{EnvSidecarImage: " mine:1\n"}.lookup // and no twin at all
	engine.images["mine:1"] = arm64Image()
	if ref, err := i.Sidecar(t.Context()); err != nil || ref != "mine:1" || len(engine.changes()) > 0 {
		t.Errorf("Sidecar = %q, %v, %v", ref, err, engine.changes())
	}
}

// Servers that start together share the cache and the engine.
func TestSidecarTogether(t *testing.T) {
	engine, first := sidecarScene(t)
	const servers = 4
	refs, errs := make([]string, servers), make([]error, servers)
	var wg sync.WaitGroup
	for n := range servers {
		i := newImages(t, engine, env{EnvLinuxBinary: first.setting(EnvLinuxBinary)})
		i.cfg.CacheDir = first.cfg.CacheDir
		wg.Go(func() { refs[n], errs[n] = i.Sidecar(t.Context()) })
	}
	wg.Wait()
	for n := range servers {
		if errs[n] != nil || refs[n] != refs[0] {
			t.Errorf("server %d: %q, %v", n, refs[n], errs[n])
		}
	}
	if engine.count("load") != 1 {
		t.Errorf("loaded %d times", engine.count("load"))
	}
}
