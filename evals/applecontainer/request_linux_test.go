package main

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend/macoscontainer/grammar" //nolint:depguard // the contract as data, which the stand-in exists to follow
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/engine"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/shape"
)

func parsed(t *testing.T, argv ...string) *call {
	t.Helper()
	p, err := grammar.Parse(argv)
	if err != nil {
		t.Fatal(err)
	}
	return &call{parsed: p}
}

func TestProcess(t *testing.T) {
	var image imageConfig
	image.Config.Entrypoint, image.Config.Cmd = []string{"entry", "x"}, []string{"cmd"}
	image.Config.Env, image.Config.User, image.Config.WorkingDir = []string{"A=1", "odd"}, "app", "/srv"
	tests := map[string]struct {
		argv  []string
		words []string
		user  shape.User
		dir   string
	}{
		"the image's": {nil, []string{"entry", "x", "cmd"}, shape.User{Raw: &shape.UserRaw{UserString: "app"}}, "/srv"},
		"arguments":   {[]string{"--", "i", "a"}, []string{"entry", "x", "a"}, shape.User{Raw: &shape.UserRaw{UserString: "app"}}, "/srv"},
		"an entrypoint": {
			[]string{"--entrypoint", "e", "--uid", "1", "--gid", "2", "-w", "/w", "--", "i", "a"}, []string{"e", "a"},
			shape.User{ID: &shape.UserID{UID: 1, GID: 2}}, "/w",
		},
		"an empty one": {[]string{"--entrypoint", "", "-u", "x:y", "--", "i"}, []string{"entry", "x", "cmd"}, shape.User{Raw: &shape.UserRaw{UserString: "x:y"}}, "/srv"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			argv := test.argv
			if argv == nil {
				argv = []string{"i"}
			}
			got, err := parsed(t, append([]string{"create"}, argv...)...).process(image)
			if err != nil {
				t.Fatal(err)
			}
			if words := append([]string{got.Executable}, got.Arguments...); !slices.Equal(words, test.words) || got.WorkingDirectory != test.dir {
				t.Errorf("%v in %s", words, got.WorkingDirectory)
			}
			if !sameUser(got.User, test.user) || !slices.Equal(got.Environment, []string{"A=1"}) {
				t.Errorf("user %+v, environment %v", got.User, got.Environment)
			}
		})
	}
	if _, err := parsed(t, "create", "i").process(imageConfig{}); err == nil {
		t.Error("an image without a command has one")
	}
}

func sameUser(a, b shape.User) bool {
	switch {
	case a.ID != nil && b.ID != nil:
		return *a.ID == *b.ID
	case a.Raw != nil && b.Raw != nil:
		return *a.Raw == *b.Raw
	default:
		return false
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("COPIED", "yes")
	path := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(path, []byte("# comment\n\nF=1\nG='2'\nCOPIED\nNOWHERE_SET\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := parsed(t, "create", "--env-file", path, "-e", "F=3", "i").environment()
	if want := []string{"F=1", "G='2'", "COPIED=yes", "F=3"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	merged := mergeEnvironment([]string{"A=1", "B=1"}, []string{"A=2"})
	slices.Sort(merged)
	if want := []string{"A=2", "B=1"}; !slices.Equal(merged, want) {
		t.Errorf("merged: %v, want %v", merged, want)
	}
	if _, err := parsed(t, "create", "--env-file", path+"x", "i").environment(); err == nil {
		t.Error("a file that is not there is read")
	}
}

func TestMountRequests(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	var req engine.CreateRequest
	c := parsed(t, "create", "--mount", "type=tmpfs,target=/m,size=1m", "-v", dir+":/d:ro", "-v", socket+":/s", "--tmpfs", "/t", "i")
	if err := c.mount(&req); err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, m := range req.Config.Mounts {
		order = append(order, m.Destination)
	}
	if want := []string{"/t", "/d", "/s", "/m"}; !slices.Equal(order, want) {
		t.Errorf("in the order %v, want %v", order, want)
	}
	if len(req.Sockets) != 1 || req.Sockets[0].Destination != "/s" {
		t.Errorf("the sockets are %v", req.Sockets)
	}
	for _, argv := range [][]string{{"-v", "/does/not/exist:/x"}, {"--mount", "type=bind,source=" + socket + ",target=/x"}, {"-v", "named:/x"}} {
		if err := parsed(t, append(append([]string{"create"}, argv...), "i")...).mount(&req); err == nil {
			t.Errorf("%v is taken", argv)
		}
	}
	if err := clearSocketPath(socket); err == nil {
		t.Error("a socket that is there is taken for free")
	}
}

func TestResources(t *testing.T) {
	r, err := parsed(t, "create", "i").resources()
	if err != nil || r.CPUs != defaultCPUs || r.MemoryInBytes != defaultMemory {
		t.Errorf("by default %+v, %v", r, err)
	}
	r, err = parsed(t, "create", "-c", "2", "-m", "300.5m", "i").resources()
	if err != nil || r.CPUs != 2 || r.MemoryInBytes != 300*mebibyte {
		t.Errorf("asked for %+v, %v", r, err)
	}
}

func TestAttachments(t *testing.T) {
	config := shape.Configuration{ID: "box"}
	if err := parsed(t, "create", "--network", "b,mtu=1400", "--network", "a", "i").attach(&config); err != nil {
		t.Fatal(err)
	}
	if n := config.Networks; len(n) != 2 || n[0].Network != "b" || n[0].Options.MTU != 1400 || n[1].Options.MTU != defaultMTU {
		t.Errorf("the networks are %+v", n)
	}
	if err := parsed(t, "create", "--network", "none", "i").attach(&config); err != nil || len(config.Networks) != 0 {
		t.Errorf("none is %+v, %v", config.Networks, err)
	}
	if err := parsed(t, "create", "i").attach(&config); err != nil || config.Networks[0].Network != engine.DefaultNetwork {
		t.Errorf("by default %+v, %v", config.Networks, err)
	}
}

// TestEveryCommandIsKnown holds the table of handlers to the contract: a name
// that no command line leads to would never run.
func TestEveryCommandIsKnown(t *testing.T) {
	words := map[string][]string{
		"exec": {"x", "y"}, "copy": {"a:/b", "c"}, "image tag": {"a", "b"}, "system": nil,
	}
	for name := range (&call{}).handlers() {
		argv := append(append([]string{}, splitWords(name)...), words[name]...)
		if len(words[name]) == 0 && needsWord(name) {
			argv = append(argv, "word")
		}
		p, err := grammar.Parse(argv)
		if err != nil || p.Command() != name {
			t.Errorf("%v leads to %q, %v", argv, p.Command(), err)
		}
	}
}

func splitWords(name string) []string {
	for i, r := range name {
		if r == ' ' {
			return []string{name[:i], name[i+1:]}
		}
	}
	return []string{name}
}

func needsWord(name string) bool {
	return slices.Contains([]string{
		"network create", "network inspect", "network delete", "image inspect", "image delete", "image pull",
		"create", "run", "start", "inspect", "logs", "stop", "kill", "delete",
	}, name)
}
