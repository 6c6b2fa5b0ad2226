package backend

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// stub is a backend that only answers Name and Check.
type stub struct {
	Backend
	name   string
	err    error
	checks int
}

func (s *stub) Name() string { return s.name }

func (s *stub) Check(ctx context.Context) (Capabilities, error) {
	s.checks++
	if err := ctx.Err(); err != nil {
		return Capabilities{}, err
	}
	return Capabilities{Detail: s.name}, s.err
}

func TestSelect(t *testing.T) {
	missing := &UnavailableError{Backend: "macos-container", Reason: "container is not installed", Fix: "install it"}
	tests := []struct {
		name                string
		explicit, env, goos string
		broken              map[string]error
		want, source        string
		wantErr             []string // parts of the error; nil = none
		has                 []string
		neverChecked        string
	}{
		{name: "explicit beats env and default", explicit: "smolmachines", env: "linux", goos: "linux", want: "smolmachines", source: "explicit", neverChecked: "linux"},
		{name: "env beats default", env: "smolmachines", goos: "linux", want: "smolmachines", source: "BOT_BOTTLE_BACKEND"},
		{name: "linux", goos: "linux", want: "linux", source: "default"},
		{name: "darwin", goos: "darwin", want: "macos-container", source: "default", neverChecked: "smolmachines"},
		{name: "darwin, second choice", goos: "darwin", broken: map[string]error{"macos-container": missing}, want: "smolmachines", source: "default"},
		{
			name: "darwin, none", goos: "darwin",
			broken:  map[string]error{"macos-container": missing, "smolmachines": errors.New("no hypervisor")},
			wantErr: []string{"no default backend works", "macos-container (unavailable: container is not installed; install it)", "smolmachines (unavailable: no hypervisor)", "linux (available)"},
		},
		{
			name: "explicit is never replaced", explicit: "macos-container", goos: "darwin", broken: map[string]error{"macos-container": missing},
			wantErr: []string{`backend "macos-container" (from explicit) is unavailable`, "smolmachines (available)"},
		},
		{
			name: "env is never replaced", env: "macos-container", goos: "darwin", broken: map[string]error{"macos-container": missing},
			wantErr: []string{`"macos-container" (from BOT_BOTTLE_BACKEND) is unavailable`},
		},
		{name: "unknown name", explicit: "docker", goos: "linux", wantErr: []string{`backend "docker" (from explicit) is not known`, "linux (available)"}},
		{name: "unknown platform", goos: "plan9", wantErr: []string{"no default backend"}},
		{name: "default not in this build", goos: "linux", has: []string{"smolmachines"}, wantErr: []string{"no default backend", "smolmachines (available)"}},
		{name: "no backend at all", goos: "linux", has: []string{}, wantErr: []string{"this build has none"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.has == nil {
				tt.has = []string{"linux", "macos-container", "smolmachines"}
			}
			stubs := map[string]*stub{}
			sel := Selection{Explicit: tt.explicit, Env: tt.env, GOOS: tt.goos}
			for _, name := range tt.has {
				stubs[name] = &stub{name: name, err: tt.broken[name]}
				sel.Backends = append(sel.Backends, stubs[name])
			}
			got, err := Select(t.Context(), sel)
			if tt.wantErr != nil {
				var failed *SelectionError
				if !errors.As(err, &failed) {
					t.Fatalf("error is %v, want a *SelectionError", err)
				}
				for _, part := range tt.wantErr {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("error %q lacks %q", err, part)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Backend.Name() != tt.want || got.Source != tt.source || got.Capabilities.Detail != tt.want {
				t.Errorf("selected %s from %s with %+v, want %s from %s", got.Backend.Name(), got.Source, got.Capabilities, tt.want, tt.source)
			}
			if s := stubs[tt.neverChecked]; s != nil && s.checks > 0 {
				t.Errorf("%s was asked although it is not needed", tt.neverChecked)
			}
		})
	}
}

func TestSelectUnwraps(t *testing.T) {
	want := &UnavailableError{Backend: "linux", Reason: "no namespaces"}
	_, err := Select(t.Context(), Selection{GOOS: "linux", Backends: []Backend{&stub{name: "linux", err: want}}})
	var got *UnavailableError
	if !errors.As(err, &got) || got != want {
		t.Errorf("the backend's own error is lost in %v", err)
	}
}

func TestSelectCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Select(ctx, Selection{GOOS: "linux", Backends: []Backend{&stub{name: "linux"}}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want a cancel", err)
	}
}

// TestSelectEveryCombination has every flag, variable, platform and set of
// working backends against the rule in one line: the first of flag and variable
// that is given decides alone; without one the platform's list does.
func TestSelectEveryCombination(t *testing.T) {
	names := []string{"linux", "macos-container", "smolmachines"}
	given := append([]string{""}, names...)
	platforms := map[string][]string{"linux": {"linux"}, "darwin": {"macos-container", "smolmachines"}}
	count := 0
	for _, explicit := range given {
		for _, env := range given {
			for goos, list := range platforms {
				for working := range 1 << len(names) {
					sel := Selection{Explicit: explicit, Env: env, GOOS: goos}
					works := map[string]bool{}
					for i, name := range names {
						works[name] = working>>i&1 == 1
						s := &stub{name: name}
						if !works[name] {
							s.err = errors.New("it does not work here")
						}
						sel.Backends = append(sel.Backends, s)
					}
					candidates := list
					if first := explicit + env; first != "" {
						candidates = []string{env}
						if explicit != "" {
							candidates = []string{explicit}
						}
					}
					want := ""
					for _, name := range candidates {
						if want == "" && works[name] {
							want = name
						}
					}
					got, err := Select(t.Context(), sel)
					if (err != nil) != (want == "") || err == nil && got.Backend.Name() != want {
						t.Errorf("%+v, working %v: got %+v, %v; want %q", sel, works, got, err, want)
					}
					count++
				}
			}
		}
	}
	if count != 4*4*2*8 {
		t.Errorf("%d combinations", count)
	}
}
