package provision

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

func TestPlanImageAndGate(t *testing.T) {
	dockerfile := filepath.Join(t.TempDir(), "Dockerfile")
	if err := os.WriteFile(dockerfile, []byte("FROM scratch\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const reason = "the keys cannot be delivered yet"
	tests := []struct {
		name, bottle string
		images       bool
		services     []sidecars.Service
		want         string // "" = accepted
	}{
		{name: "image", bottle: "image: debian", images: true},
		{name: "Dockerfile", bottle: "agent_provider: {dockerfile: " + dockerfile + "}", images: true},
		{name: "missing Dockerfile", bottle: "agent_provider: {dockerfile: /nowhere/Dockerfile}", images: true, want: "/nowhere/Dockerfile is no readable file"},
		{name: "directory", bottle: "agent_provider: {dockerfile: /}", images: true, want: "/ is no readable file"},
		{name: "backend without images", bottle: "image: debian", want: `runs this host's programs and no image`},
		{name: "repositories", bottle: "git-gate: {repos: {app: {url: \"git@example.com:app.git\", identity: /key}}}", want: `cannot serve git-gate, which the repositories ["app"] need: ` + reason},
		{name: "repositories served", bottle: "git-gate: {repos: {app: {url: \"git@example.com:app.git\", identity: /key}}}", services: []sidecars.Service{sidecars.Egress, sidecars.GitGate}},
		{name: "no repositories", bottle: "git-gate: {repos: {}}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			b.fake.caps.Images = tt.images
			b.fake.caps.Missing = []backend.Missing{{Name: "git-gate", Reason: reason}}
			if tt.services != nil {
				b.fake.caps.Services = tt.services
			}
			b.bottleFile("made", tt.bottle)
			_, err := b.Plan(t.Context(), LaunchRequest{Bottles: []string{"made"}, Principal: Principal{Kind: Operator}})
			switch {
			case tt.want == "" && err != nil:
				t.Fatal(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Fatalf("error is %v, want %q", err, tt.want)
			}
			if calls := b.fake.called(); len(calls) > 0 {
				t.Errorf("planning called %q", calls)
			}
		})
	}
}

// TestLaunchImage has a build whose lines are progress and whose result is what
// the guest is started from.
func TestLaunchImage(t *testing.T) {
	b := newBed(t)
	b.fake.caps.Images = true
	b.bottleFile("made", "image: debian")
	p := b.plan(LaunchRequest{Bottles: []string{"made"}})
	if i := slices.Index(p.Steps, "prepare-image"); i < 0 || i > slices.Index(p.Steps, "start-sidecar") || p.Image != "debian" {
		t.Errorf("steps are %q, the image %q", p.Steps, p.Image)
	}
	var notes []string
	_, err := b.Launch(t.Context(), p, func(e Event) {
		if e.Step == "prepare-image" && !e.Done && e.Detail != "" {
			notes = append(notes, e.Detail)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(notes, []string{"step 1", "step 2"}) {
		t.Errorf("progress is %q", notes)
	}
	if got := b.fake.bottles[p.ID].agent.Image; got != "debian" {
		t.Errorf("the guest is made from %q", got)
	}
}

func TestLaunchImageFails(t *testing.T) {
	b := newBed(t)
	b.fake.caps.Images = true
	b.fake.fail["PrepareImage"] = errors.New("the build failed: no space")
	_, err := b.Launch(t.Context(), b.plan(LaunchRequest{}), nil)
	var failed *StepError
	if !errors.As(err, &failed) || failed.Step != "prepare-image" || failed.Rollback != nil {
		t.Fatalf("error is %v", err)
	}
	if got := b.fake.called(); !slices.Equal(got, []string{"PrepareImage"}) {
		t.Errorf("calls are %q", got)
	}
	if left := grep(t, b.store.BottlesDir(), ""); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestLineWriter(t *testing.T) {
	text := "one\r\n\n  \ntwo\xff\n" + strings.Repeat("x", 5000) + "\nlast"
	want := []string{"one", "two�", strings.Repeat("x", maxLine), "last"}
	for size := 1; size < 40; size++ {
		var got []string
		w := &lineWriter{each: func(line string) { got = append(got, line) }}
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			if m, err := w.Write([]byte(rest[:n])); m != n || err != nil {
				t.Fatal(m, err)
			}
			rest = rest[n:]
		}
		w.flush()
		if !slices.Equal(got, want) {
			t.Fatalf("in pieces of %d: %.80q", size, got)
		}
	}
}
