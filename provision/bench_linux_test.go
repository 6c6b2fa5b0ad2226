package provision_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/backend/linux"
	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/provision/state"
)

// benchProvider is set up as a coding agent is.
const benchProvider = `
auth_token:
  scheme: Bearer
  route: {host: api.example.com}
  env: {AGENT_TOKEN: placeholder-of-the-token}
prompt: {file: .like/prompt.md}
skills: .like/skills
files:
  - {path: .like.json, format: json, content: {trusted: "{{workspace}}", label: "{{label}}"}}
  - {path: .like/settings.json, format: json, content: {theme: dark}}
  - {path: .like/label, content: "{{banner}}"}
`

// provisioning are the steps between the self-test and the hand-over, without a
// workspace.
var provisioning = []string{"configure", "write-provider-files", "write-skills", "write-prompt"}

// BenchmarkProvisioning launches real bottles with an agent, three skills of ten
// files and a prompt, and says in the median what each step takes and what
// provisioning takes together. It judges nothing: evals/results says what is
// expected.
func BenchmarkProvisioning(b *testing.B) {
	home := b.TempDir()
	files := map[string]string{
		".bot-bottle/contrib/like/provider.yaml": benchProvider,
		".bot-bottle/bottles/bench.md":           "---\nagent_provider: {template: like, auth_token: BENCH_TOKEN}\n---\n",
		".bot-bottle/agents/bench.md":            "---\nskills: [one, two, three]\n---\nYou answer.\n",
	}
	for _, skill := range []string{"one", "two", "three"} {
		files[".claude/skills/"+skill+"/SKILL.md"] = "# a skill\n"
		for n := range 9 {
			files[fmt.Sprintf(".claude/skills/%s/part-%d.md", skill, n)] = strings.Repeat("text of a skill\n", 250)
		}
	}
	for name, text := range files {
		write(b, filepath.Join(home, name), []byte(text))
	}
	m := benchManager(b, home, home)
	took := map[string][]time.Duration{}
	var order []string
	for b.Loop() {
		var sum time.Duration
		live := launchOnce(b, m, provision.LaunchRequest{Agent: "bench", Bottles: []string{"bench"}, Prompt: "Do it."})
		for _, s := range live.StepTimings {
			if took[s.Step] == nil {
				order = append(order, s.Step)
			}
			took[s.Step] = append(took[s.Step], s.Elapsed)
			if slices.Contains(provisioning, s.Step) {
				sum += s.Elapsed
			}
		}
		took["provisioning"] = append(took["provisioning"], sum)
	}
	for _, name := range append(order, "provisioning") {
		b.ReportMetric(float64(median(took[name]).Microseconds())/1000, name+"-ms")
	}
}

// BenchmarkWorkspace copies workspaces in, each in turn with a plain
// `tar c | tar x` of the same directory into memory, and says how fast both are
// and what the ratio is: 100 % is as fast as tar.
func BenchmarkWorkspace(b *testing.B) {
	for _, name := range slices.Sorted(maps.Keys(trees)) {
		b.Run(name, func(b *testing.B) {
			home, root := b.TempDir(), b.TempDir()
			size := trees[name](b, root)
			m := benchManager(b, home, root)
			var ours, theirs, look []time.Duration
			for b.Loop() {
				start := time.Now()
				live := launchOnce(b, m, provision.LaunchRequest{Workspace: root})
				for _, s := range live.StepTimings {
					if s.Step == "copy-workspace" {
						ours = append(ours, s.Elapsed)
					}
				}
				look = append(look, time.Since(start))
				theirs = append(theirs, plainTar(b, root))
			}
			mine, peer := median(ours), median(theirs)
			b.ReportMetric(float64(size)/1e6/mine.Seconds(), "MB/s")
			b.ReportMetric(float64(size)/1e6/peer.Seconds(), "tar-MB/s")
			b.ReportMetric(100*peer.Seconds()/mine.Seconds(), "%-of-tar")
			b.ReportMetric(float64(mine.Milliseconds()), "copy-ms")
			b.ReportMetric(float64(median(look).Milliseconds()), "plan-launch-remove-ms")
		})
	}
}

// trees make the workspaces and return how many bytes they hold.
var trees = map[string]func(*testing.B, string) int64{
	"1-GiB-in-16-files": func(b *testing.B, root string) int64 {
		b.Helper()
		return noise(b, root, 16, 64<<20)
	},
	"1-GiB-in-1-file": func(b *testing.B, root string) int64 {
		b.Helper()
		return noise(b, root, 1, 1<<30)
	},
	"20000-small-files": func(b *testing.B, root string) int64 {
		b.Helper()
		return noise(b, root, 20_000, 4<<10)
	},
	"git-checkout": func(b *testing.B, root string) int64 {
		b.Helper()
		top, err := exec.CommandContext(b.Context(), "git", "rev-parse", "--show-toplevel").Output()
		if err != nil {
			b.Skip("this source is no checkout")
		}
		clone := exec.CommandContext(b.Context(), "git", "clone", "-q", "--no-hardlinks", strings.TrimSpace(string(top)), filepath.Join(root, "checkout"))
		if out, err := clone.CombinedOutput(); err != nil {
			b.Fatalf("clone: %v: %s", err, out)
		}
		var size int64
		err = filepath.WalkDir(root, func(_ string, e os.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				info, ierr := e.Info()
				if ierr != nil {
					return ierr
				}
				size += info.Size()
			}
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
		return size
	},
}

// noise fills files that nothing can compress or skip.
func noise(b *testing.B, root string, files int, each int64) int64 {
	b.Helper()
	source := rand.NewChaCha8([32]byte{1})
	for n := range files {
		dir := filepath.Join(root, fmt.Sprintf("d%03d", n/100))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("f%05d", n)))
		if err == nil {
			_, err = io.CopyN(f, source, each)
		}
		if err != nil {
			b.Fatal(err)
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
	return int64(files) * each
}

// plainTar is the peer: the same directory through two processes of tar into a
// file system in memory, as a guest's is.
func plainTar(b *testing.B, root string) time.Duration {
	b.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "tar-") //nolint:usetesting // memory, as a guest's files are: TempDir may be a disk //nolint:usetesting // in memory
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	start := time.Now()
	cmd := exec.CommandContext(b.Context(), "sh", "-c", `tar -C "$1" -cf - . | tar -C "$2" -xf -`, "sh", root, dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("tar: %v: %s", err, out)
	}
	return time.Since(start)
}

func benchManager(b *testing.B, home, root string) *provision.Manager {
	b.Helper()
	store, err := state.Open(filepath.Join(b.TempDir(), "state"))
	if err != nil {
		b.Fatal(err)
	}
	engine := linux.New(linux.Config{BottlesDir: store.BottlesDir(), Owner: store.Owner()})
	if _, err := engine.Check(b.Context()); err != nil {
		b.Skip(err)
	}
	m, err := provision.NewManager(provision.Config{
		Backends: []backend.Backend{engine}, State: store, ManifestHome: filepath.Join(home, ".bot-bottle"), WorkspaceRoots: []string{root},
		LookupEnv: func(name string) (string, bool) {
			value, ok := map[string]string{"HOME": home, "BENCH_TOKEN": "token-of-the-benchmark"}[name]
			return value, ok
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	return m
}

// launchOnce launches and removes one bottle.
func launchOnce(b *testing.B, m *provision.Manager, req provision.LaunchRequest) *provision.Bottle {
	b.Helper()
	req.Principal = provision.Principal{Kind: provision.Operator}
	plan, err := m.Plan(b.Context(), req)
	if err != nil {
		b.Fatal(err)
	}
	live, err := m.Launch(b.Context(), plan, nil)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.Context(), 20*time.Second)
	defer cancel()
	if _, err := m.Cleanup(ctx, provision.CleanupRequest{IDs: []backend.ID{live.ID}, Principal: req.Principal}, func(provision.Event) {}); err != nil {
		b.Fatal(err)
	}
	return live
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

func write(b *testing.B, path string, data []byte) {
	b.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		b.Fatal(err)
	}
}
