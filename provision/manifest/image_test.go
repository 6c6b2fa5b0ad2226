package manifest

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

func TestImage(t *testing.T) {
	userHome, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	l := home(t, map[string]string{
		"bottles/reference.md": "---\nimage: docker.io/library/debian:stable-slim\n---\n",
		"bottles/absolute.md":  "---\nagent_provider: {dockerfile: /srv/../srv/Dockerfile}\n---\n",
		"bottles/relative.md":  "---\nagent_provider: {dockerfile: images/agent}\n---\n",
		"bottles/in-home.md":   "---\nagent_provider: {dockerfile: ~/agent/Dockerfile}\n---\n",
		"bottles/child.md":     "---\nextends: reference\nttl: 1h\n---\n",
		"bottles/other.md":     "---\nextends: reference\nagent_provider: {dockerfile: /srv/Dockerfile}\n---\n",
		"bottles/gate.md":      "---\ngit-gate:\n  repos:\n    web: {url: \"ssh://git@example.com/web.git\", identity: /key}\n    app: {url: \"git@example.com:app.git\", identity: /key}\n---\n",
		"bottles/below.md":     "---\nextends: gate\n---\n",
		"bottles/without.md":   "---\nextends: gate\ngit-gate: {repos: {}}\n---\n",
	})
	tests := []struct {
		name  string
		image backend.ImageSpec
		repos []string
	}{
		{"reference", backend.ImageSpec{Reference: "docker.io/library/debian:stable-slim"}, nil},
		{"absolute", backend.ImageSpec{Dockerfile: "/srv/Dockerfile"}, nil},
		{"relative", backend.ImageSpec{Dockerfile: filepath.Join(l.Home, "bottles/images/agent")}, nil},
		{"in-home", backend.ImageSpec{Dockerfile: filepath.Join(userHome, "agent/Dockerfile")}, nil},
		{"child", backend.ImageSpec{Reference: "docker.io/library/debian:stable-slim"}, nil},
		{"other", backend.ImageSpec{Dockerfile: "/srv/Dockerfile"}, nil},
		{"gate", backend.ImageSpec{}, []string{"app", "web"}},
		{"below", backend.ImageSpec{}, []string{"app", "web"}},
		{"without", backend.ImageSpec{}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := l.Bottle(tt.name)
			if err != nil {
				t.Fatal(err)
			}
			if b.Image != tt.image || !slices.Equal(slices.Sorted(maps.Keys(b.Repos)), tt.repos) {
				t.Errorf("made from %+v with repositories %v", b.Image, b.Repos)
			}
		})
	}
	t.Run("merged", func(t *testing.T) {
		reference, _ := l.Bottle("reference")
		absolute, _ := l.Bottle("absolute")
		gate, _ := l.Bottle("gate")
		if b, err := Merge([]*Bottle{gate, reference}); err != nil || b.Image != reference.Image || len(b.Repos) != 2 {
			t.Errorf("a bottle and an image give %+v, %v", b, err)
		}
		if _, err := Merge([]*Bottle{reference, absolute}); err == nil {
			t.Error("two images are merged")
		}
	})
}
