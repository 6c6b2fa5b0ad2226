package subbottles

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/evals/drive"
)

// Bed is a host with bottle-mcp on it.
type Bed struct {
	// Binary is the product, Supervisor the program of that name for guests.
	Binary, Supervisor string
	// Env is what the server is started with on top of this process's; Home the
	// operator's home in it, and StateDir what the product keeps.
	Env            []string
	Home, StateDir string
	// CallTime bounds one call; a launch on a busy engine takes its time.
	CallTime time.Duration
}

// The operator's manifests. The hosts do not exist: nobody goes there.
var manifests = map[string]string{
	"boss": `egress:
  routes:
    - {host: one.invalid, matches: [{methods: [GET]}]}
    - {host: two.invalid}
sub_bottles: {max: 3, depth: 1}
ttl: 30m`,
	"wide": `egress:
  routes: [{host: elsewhere.invalid}]
ttl: 30m`,
}

// run is one run of the suite.
type run struct {
	Bed

	t *testing.T
	h *drive.Host
}

// Run is the whole: launch, work inside, a server that ends, the end of all.
func Run(t *testing.T, bed Bed) {
	r := &run{Bed: bed, t: t}
	r.writeManifests()
	first := r.serve()
	r.h = first
	r.must("launch", map[string]any{"bottles": []string{"wide"}, "dry_run": true}, nil) // the controls: the operator may
	r.must("launch", map[string]any{"id": "stranger"}, nil)
	r.must("exec", map[string]any{"id": "stranger", "command": []string{"true"}}, nil)
	r.must("launch", map[string]any{"id": "boss", "bottles": []string{"boss"}}, nil)
	r.must("cp", map[string]any{"id": "boss", "from": r.give(), "to": "bottle:supervisor"}, nil)
	var doctor drive.Exec
	r.must("exec", map[string]any{"id": "boss", "command": []string{"/.bottle/bottle-mcp", "guest", "doctor"}}, &doctor)
	if !strings.Contains(doctor.Stdout, "This bottle may launch others") {
		r.t.Errorf("the guest's doctor says %s%s", doctor.Stdout, doctor.Stderr)
	}
	r.supervise("all", "stranger")
	children := r.children()
	if len(children) != 2 {
		t.Errorf("the supervisor left the children %q, want two", children)
	}

	// Another server takes over when the one that launched the bottle ends.
	r.h = r.serve()
	if err := first.Close(); err != nil {
		t.Logf("the first server: %v", err)
	}
	r.supervise(append([]string{"again"}, children...)...)

	r.endWithParent(children)
}

// writeManifests writes the operator's bottles.
func (r *run) writeManifests() {
	r.t.Helper()
	dir := filepath.Join(r.Home, ".bot-bottle", "bottles")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		r.t.Fatal(err)
	}
	for name, front := range manifests {
		if err := os.WriteFile(filepath.Join(dir, name+".md"), []byte("---\n"+front+"\n---\n"), 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
}

// give puts the supervisor where the server may copy from.
func (r *run) give() string {
	r.t.Helper()
	data, err := os.ReadFile(r.Supervisor)
	if err != nil {
		r.t.Fatal(err)
	}
	path := filepath.Join(r.Home, "supervisor")
	if err := os.WriteFile(path, data, 0o755); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// serve starts a server as an agent host does.
func (r *run) serve() *drive.Host {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), r.CallTime)
	defer cancel()
	h, err := drive.Start(ctx, r.Binary, r.Env, "--root", r.Home)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), r.CallTime)
		defer cancel()
		_ = h.Call(ctx, "cleanup", map[string]any{"all": true}, nil) // it may have ended
		_ = h.Close()
	})
	return h
}

// must calls a tool that has to succeed.
func (r *run) must(tool string, args map[string]any, out any) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), r.CallTime)
	defer cancel()
	if err := r.h.Call(ctx, tool, args, out); err != nil {
		r.t.Fatal(err)
	}
}

// supervise runs the supervisor in the boss. What it found wrong is in its output.
func (r *run) supervise(args ...string) {
	r.t.Helper()
	var done drive.Exec
	r.must("exec", map[string]any{
		"id": "boss", "command": append([]string{"./supervisor"}, args...), "timeout_seconds": 600, "max_output_bytes": 65536,
	}, &done)
	if done.ExitCode != 0 || !strings.Contains(done.Stdout, "ok ") || strings.Contains(done.Stdout, "FAIL") {
		r.t.Errorf("the supervisor ended with %d:\n%s%s", done.ExitCode, done.Stdout, done.Stderr)
		return
	}
	r.t.Logf("%q:\n%s", args, done.Stdout)
}

// listed is what list says of a bottle.
type listed struct {
	ID     string `json:"id"`
	Parent string `json:"parent"`
	State  string `json:"state"`
}

func (r *run) list() []listed {
	r.t.Helper()
	var out struct {
		Bottles []listed `json:"bottles"`
	}
	r.must("list", nil, &out)
	return out.Bottles
}

// children are the boss's, as the operator sees them.
func (r *run) children() []string {
	r.t.Helper()
	var out []string
	for _, b := range r.list() {
		if b.Parent == "boss" && b.State == "running" {
			out = append(out, b.ID)
		}
	}
	return out
}

// endWithParent removes the boss: its children go with it, and nobody else.
func (r *run) endWithParent(children []string) {
	r.t.Helper()
	var out struct {
		Items []struct {
			ID   string `json:"id"`
			Done bool   `json:"done"`
		} `json:"items"`
	}
	r.must("cleanup", map[string]any{"ids": []string{"boss"}}, &out)
	var gone []string
	for _, i := range out.Items {
		if i.Done {
			gone = append(gone, i.ID)
		}
	}
	for _, id := range append(children, "boss") {
		if !slices.Contains(gone, id) {
			r.t.Errorf("%s did not end with its parent: %+v", id, out.Items)
		}
	}
	if left := r.list(); len(left) != 1 || left[0].ID != "stranger" || left[0].State != "running" {
		r.t.Errorf("left are %+v", left)
	}
	r.must("cleanup", map[string]any{"all": true}, nil)
	for _, dir := range []string{"bottles", "mcp"} {
		if names, err := filepath.Glob(filepath.Join(r.StateDir, dir, "*")); err != nil || len(names) > 0 {
			r.t.Errorf("left behind: %q, %v", names, err)
		}
	}
}
