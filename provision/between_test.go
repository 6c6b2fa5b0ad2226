package provision

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/archive"
)

// pairBed has a bottle and one that it launched.
func pairBed(t *testing.T) (b *bed, boss, child *Bottle) {
	t.Helper()
	b, boss = bossBed(t)
	return b, boss, b.launchAs(guest(boss.ID), LaunchRequest{})
}

// read gives what a guest has at a path; "" with "missing" when there is nothing.
func (b *bed) read(id backend.ID, path string) string {
	b.t.Helper()
	data, err := os.ReadFile(b.fake.guest(id, path))
	if errors.Is(err, fs.ErrNotExist) {
		return "missing"
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return string(data)
}

func TestCopyBetween(t *testing.T) {
	const ws = backend.GuestWorkspace
	tests := []struct {
		name     string
		in       bool // from the caller into its child
		from, to string
		exclude  []string
		files    int
		want     map[string]string // on the side that receives
	}{
		{"a file", true, "one.txt", "/tmp/x", nil, 1, map[string]string{"/tmp/x": "one"}},
		{"a file into a directory", true, "one.txt", "/tmp/", nil, 1, map[string]string{"/tmp/one.txt": "one"}},
		{"by its absolute path", true, ws + "/one.txt", "/tmp/x", nil, 1, map[string]string{"/tmp/x": "one"}},
		{"a directory", true, "dir", "/tmp/d", nil, 3, map[string]string{"/tmp/d/a": "a", "/tmp/d/sub/b": "b"}},
		{"all but some", true, "dir", "/tmp/d", []string{"*.log", "sub"}, 1, map[string]string{"/tmp/d/a": "a", "/tmp/d/sub/b": "missing", "/tmp/d/x.log": "missing"}},
		{"nothing is a secret of the host's", true, ".env", "/tmp/x", nil, 1, map[string]string{"/tmp/x": "mine"}},
		{"out, a file", false, "/r.txt", "result", nil, 1, map[string]string{ws + "/result": "r"}},
		{"out, into the workspace", false, "/r.txt", "results/", nil, 1, map[string]string{ws + "/results/r.txt": "r"}},
		{"out, to where a directory is", false, "/r.txt", "dir", nil, 1, map[string]string{ws + "/dir/r.txt": "r"}},
		{"out, a directory", false, "/out", "/tmp/all", []string{"*.log"}, 1, map[string]string{"/tmp/all/y": "y", "/tmp/all/z.log": "missing"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, boss, child := pairBed(t)
			for name, text := range map[string]string{"one.txt": "one", ".env": "mine", "dir/a": "a", "dir/sub/b": "b", "dir/x.log": "x"} {
				put(t, b.fake.guest(boss.ID, ws), name, text)
			}
			for name, text := range map[string]string{"r.txt": "r", "out/y": "y", "out/z.log": "z"} {
				put(t, b.fake.guest(child.ID, "/"), name, text)
			}
			before := grep(t, b.root, "")
			receiver := child.ID
			var result CopyResult
			var err error
			if opts := (CopyOptions{Exclude: tt.exclude}); tt.in {
				result, err = b.CopyIn(t.Context(), guest(boss.ID), child.ID, tt.from, tt.to, opts)
			} else {
				receiver = boss.ID
				result, err = b.CopyOut(t.Context(), guest(boss.ID), child.ID, tt.from, tt.to, opts)
			}
			if err != nil || result.Files != tt.files || (result.SHA256 != "") != (tt.files == 1) {
				t.Errorf("result is %+v, %v", result, err)
			}
			for path, want := range tt.want {
				if got := b.read(receiver, path); got != want {
					t.Errorf("%s holds %q, want %q", path, got, want)
				}
			}
			if after := grep(t, b.root, ""); !slices.Equal(before, after) {
				t.Errorf("on the host are %v", after)
			}
		})
	}
}

func TestCopyBetweenRefuses(t *testing.T) {
	b, boss, child := pairBed(t)
	put(t, b.root, "host-file", "of the host")
	put(t, b.fake.guest(child.ID, "/"), "x", "x")
	before := grep(t, b.root, "")
	who, ctx := guest(boss.ID), t.Context()
	in := func(host string, opts CopyOptions) error {
		_, err := b.CopyIn(ctx, who, child.ID, host, "/tmp/x", opts)
		return err
	}
	out := func(host string) error {
		_, err := b.CopyOut(ctx, who, child.ID, "/x", host, CopyOptions{})
		return err
	}
	for _, bad := range []string{"", "../x", "a/../../x", "/a/../x", "a\x00b", strings.Repeat("x", maxGuestPath+1)} {
		wantInvalid(t, in(bad, CopyOptions{}), "host path", "")
		wantInvalid(t, out(bad), "host path", "")
	}
	wantInvalid(t, in("x", CopyOptions{Exclude: []string{"["}}), "exclude", "malformed")
	// A path of the host's own root is one of the caller's file system.
	if err := in(filepath.Join(b.root, "host-file"), CopyOptions{}); err == nil || b.read(child.ID, "/tmp/x") != "missing" {
		t.Errorf("a host's file: %v", err)
	}
	if err := out(filepath.Join(b.root, "written")); err != nil || b.read(boss.ID, filepath.Join(b.root, "written")) != "x" {
		t.Errorf("a path that the host has too: %v", err)
	}
	if after := grep(t, b.root, ""); !slices.Equal(before, after) {
		t.Errorf("on the host are %v", after)
	}
	b.fake.set(boss.ID, backend.Dead)
	lock, err := b.store.Lock(ctx, boss.ID)
	if err != nil {
		t.Fatal(err)
	}
	r, err := b.store.Read(boss.ID)
	r.Phase = "removing"
	if err = errors.Join(err, lock.Write(r), lock.Unlock()); err != nil {
		t.Fatal(err)
	}
	if err := in("x", CopyOptions{}); !errors.Is(err, backend.ErrNotFound) {
		t.Errorf("for a caller that has ended: %v", err)
	}
}

// TestCopyBetweenHostile: what a guest sends is bounded, and what is cut short is an
// error.
func TestCopyBetweenHostile(t *testing.T) {
	entry := func(size int64) func(w io.Writer) error {
		return func(w io.Writer) error {
			tw := tar.NewWriter(w)
			if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "x", Size: size, Mode: 0o644}); err != nil {
				return err
			}
			_, err := io.CopyN(tw, zeroes{}, size)
			return errors.Join(err, tw.Close())
		}
	}
	tests := map[string]struct {
		stream  func(w io.Writer) error
		exclude []string
		want    error
	}{
		"more than a copy may hold":           {entry(2 << 20), nil, archive.ErrLimit},
		"more than a copy may hold, filtered": {entry(2 << 20), []string{"none"}, archive.ErrLimit},
		"nothing":                             {func(io.Writer) error { return nil }, nil, archive.ErrTruncated},
		"half a header":                       {func(w io.Writer) error { _, err := w.Write(make([]byte, 100)); return err }, nil, archive.ErrTruncated},
		"half a file":                         {func(w io.Writer) error { return half(w, entry(4096)) }, nil, archive.ErrTruncated},
		"an engine that fails":                {func(io.Writer) error { return errUpset }, nil, errUpset},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b, boss, child := pairBed(t)
			b.cfg.MaxCopyOut = 1 << 20
			b.fake.stream = tt.stream
			_, err := b.CopyIn(t.Context(), guest(boss.ID), child.ID, "x", "/tmp/x", CopyOptions{Exclude: tt.exclude})
			if !errors.Is(err, tt.want) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

var errUpset = errors.New("engine is upset")

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// half writes the first half of what whole writes.
func half(w io.Writer, whole func(io.Writer) error) error {
	var buf bytes.Buffer
	if err := whole(&buf); err != nil {
		return err
	}
	_, err := w.Write(buf.Bytes()[:buf.Len()/2])
	return err
}

// TestChildWorkspace copies the caller's files, and the operator sees from where.
func TestChildWorkspace(t *testing.T) {
	b, boss := bossBed(t)
	put(t, b.root, "ws/host.txt", "of the host")
	put(t, b.fake.guest(boss.ID, backend.GuestWorkspace), "ws/mine.txt", "mine")
	put(t, b.fake.guest(boss.ID, backend.GuestWorkspace), "ws/.bot-bottle/agents/evil.md", "---\nbottle: full\n---\n")
	c := b.launchAs(guest(boss.ID), LaunchRequest{Workspace: "ws"})
	if c.Workspace != "boss:"+backend.GuestWorkspace+"/ws" || c.WorkspaceCopy == nil || c.WorkspaceCopy.Files != 2 {
		t.Errorf("bottle is %+v", c)
	}
	if b.read(c.ID, backend.GuestWorkspace+"/mine.txt") != "mine" || b.read(c.ID, backend.GuestWorkspace+"/host.txt") != "missing" {
		t.Error("the wrong files were copied")
	}
	_, err := b.planAs(guest(boss.ID), LaunchRequest{Workspace: "ws", Agent: "evil"})
	wantInvalid(t, err, "manifests", "does not exist or cannot be used")
	// What is not there fails the launch, and leaves nothing.
	p, err := b.planAs(guest(boss.ID), LaunchRequest{Workspace: "absent"})
	if err != nil {
		t.Fatal(err)
	}
	var step *StepError
	if _, err := b.Launch(t.Context(), p, nil); !errors.As(err, &step) || step.Step != "copy-workspace" || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
	b.cfg.MaxWorkspace, b.cfg.MaxWorkspaceEntries = 10, 1
	if p, err = b.planAs(guest(boss.ID), LaunchRequest{Workspace: "ws"}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Launch(t.Context(), p, nil); !errors.Is(err, archive.ErrLimit) {
		t.Errorf("error is %v", err)
	}
	if list, err := b.List(t.Context(), guest(boss.ID)); err != nil || len(list) != 1 {
		t.Errorf("left are %+v, %v", list, err)
	}
}
