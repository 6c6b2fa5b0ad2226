package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/evals/drive"
)

// proxied is the first command of a bottle: one request through its proxy.
// Both sides run it with the same shell and no other program.
const proxied = `exec 3<>/dev/tcp/127.0.0.1/9099 && printf 'GET http://_egress.local/healthz HTTP/1.0\r\nHost: _egress.local\r\n\r\n' >&3 && read -r line <&3 && case $line in *200*) ;; *) exit 1;; esac`

// betweenLaunches is the pace of a server's caller: it lets the server start
// its next spare. Launches without a pause are the row of many bottles.
const betweenLaunches = 400 * time.Millisecond

// bench is one run: the server under test and a place for files.
type bench struct {
	o    options
	r    *report
	host *drive.Host
	dir  string
}

func measure(ctx context.Context, o options, r *report) error {
	// In memory, so that no disk is measured.
	dir, err := os.MkdirTemp("/dev/shm", "bottle-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	env := []string{"XDG_STATE_HOME=" + filepath.Join(dir, "state"), "HOME=" + dir, "BOT_BOTTLE_BACKEND=linux"}
	host, err := drive.Start(ctx, o.binary, env, "--root", dir, "--log-level", "error")
	if err != nil {
		return err
	}
	b := &bench{o: o, r: r, host: host, dir: dir}
	defer func() {
		_ = host.Call(ctx, "cleanup", map[string]any{"all": true}, nil)
		_ = host.Close()
	}()
	for _, part := range strings.Split(o.parts, ",") {
		steps := map[string]func(context.Context) error{
			"launch": b.launches, "exec": b.execs, "memory": b.memory, "copy": b.copies,
		}
		step, ok := steps[part]
		if !ok {
			return fmt.Errorf("part %q is not known", part)
		}
		if err := step(ctx); err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
	}
	return nil
}

// launch starts a bottle and fails unless its isolation was proven.
func (b *bench) launch(ctx context.Context, id string) (drive.Launch, error) {
	var l drive.Launch
	if err := b.host.Call(ctx, "launch", map[string]any{"id": id}, &l); err != nil {
		return l, err
	}
	if l.State != "running" || l.Report.Failed != 0 || l.Report.Passed == 0 {
		return l, fmt.Errorf("bottle %s: state %s, %d checks passed, %d failed", id, l.State, l.Report.Passed, l.Report.Failed)
	}
	return l, nil
}

func (b *bench) exec(ctx context.Context, id string, argv ...string) (drive.Exec, error) {
	var e drive.Exec
	if err := b.host.Call(ctx, "exec", map[string]any{"id": id, "command": argv}, &e); err != nil {
		return e, err
	}
	if e.ExitCode != 0 {
		return e, fmt.Errorf("%v in %s ended with %d: %s%s", argv, id, e.ExitCode, e.Stdout, e.Stderr)
	}
	return e, nil
}

func (b *bench) remove(ctx context.Context, id string) error {
	return b.host.Call(ctx, "cleanup", map[string]any{"ids": []string{id}}, nil)
}

// launches interleaves ours and the peers', so that a drifting machine hits
// all alike.
func (b *bench) launches(ctx context.Context) error {
	crun, err := newCrun(b.dir)
	if err != nil {
		return err
	}
	defer crun.close()
	pod, err := newPodman(ctx, b.dir)
	if err != nil {
		return err
	}
	var whole, untested, launch, theirs, podman, removal []time.Duration
	for i := range b.o.rounds {
		id := "launch-" + strconv.Itoa(i)
		time.Sleep(betweenLaunches)
		t := time.Now()
		l, err := b.launch(ctx, id)
		if err != nil {
			return err
		}
		launch = append(launch, time.Since(t))
		if _, err := b.exec(ctx, id, "/bin/bash", "-c", proxied); err != nil {
			return err
		}
		whole = append(whole, time.Since(t))
		untested = append(untested, whole[i]-l.Step("self-test"))
		t = time.Now()
		if err := b.remove(ctx, id); err != nil {
			return err
		}
		removal = append(removal, time.Since(t))
		d, err := crun.launch(ctx, i)
		if err != nil {
			return err
		}
		theirs = append(theirs, d)
		if i%3 == 0 { // slow, and far from the bound
			if d, err = pod.launch(ctx, i); err != nil {
				return err
			}
			podman = append(podman, d)
		}
	}
	b.r.duration("launch → first proxied exec, self-test included (MCP, stdio)", median(whole), 0, 60*time.Millisecond, 0)
	b.r.duration("the same / crun bundles, same topology, no self-test", median(whole), median(theirs), 0, 0.8)
	b.r.duration("the same less our self-test / crun bundles", median(untested), median(theirs), 0, 0.8)
	b.r.duration("the same / podman run + exec, network none, no proxy", median(whole), median(podman), 0, 0.2)
	b.r.duration("launch alone (MCP, stdio)", median(launch), 0, 0, 0)
	b.r.duration("cleanup of one bottle (MCP, stdio)", median(removal), 0, 0, 0)
	return nil
}

func (b *bench) execs(ctx context.Context) error {
	crun, err := newCrun(b.dir)
	if err != nil {
		return err
	}
	defer crun.close()
	if err := crun.start(ctx, "exec"); err != nil {
		return err
	}
	defer crun.remove("exec")
	if _, err := b.launch(ctx, "exec"); err != nil {
		return err
	}
	var ours, theirs []time.Duration
	for range 200 {
		t := time.Now()
		if _, err := b.exec(ctx, "exec", "/bin/true"); err != nil {
			return err
		}
		ours = append(ours, time.Since(t))
		t = time.Now()
		if err := crun.exec(ctx, "exec", "/bin/true"); err != nil {
			return err
		}
		theirs = append(theirs, time.Since(t))
	}
	b.r.duration("exec of /bin/true (MCP, stdio) / bare crun exec", median(ours), median(theirs), 15*time.Millisecond, 1)
	return b.remove(ctx, "exec")
}

// memory launches many bottles and takes the drop of MemAvailable, which
// counts shared pages once.
func (b *bench) memory(ctx context.Context) error {
	before, err := available()
	if err != nil {
		return err
	}
	t := time.Now()
	for i := range b.o.bottles {
		if _, err := b.launch(ctx, "many-"+strconv.Itoa(i)); err != nil {
			return err
		}
	}
	took := time.Since(t)
	time.Sleep(3 * time.Second) // idle
	after, err := available()
	if err != nil {
		return err
	}
	for i := range b.o.bottles {
		if _, err := b.exec(ctx, "many-"+strconv.Itoa(i), "/bin/true"); err != nil {
			return err
		}
	}
	each := float64(before-after) / float64(b.o.bottles) / (1 << 20)
	b.r.add(row{
		what: fmt.Sprintf("%d bottles alive, each answered an exec; launched without a pause in %.1f s, %.0f ms each",
			b.o.bottles, took.Seconds(), 1000*took.Seconds()/float64(b.o.bottles)),
		ours: strconv.Itoa(b.o.bottles), bound: "100", verdict: verdict(b.o.bottles >= 100),
	})
	b.r.add(row{
		what: "memory per idle bottle, sidecar included (drop of MemAvailable)",
		ours: fmt.Sprintf("%.1f MiB", each), bound: "≤ 12 MiB", verdict: verdict(each <= 12),
	})
	return b.host.Call(ctx, "cleanup", map[string]any{"all": true}, nil)
}

func available() (int64, error) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "MemAvailable:" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("no MemAvailable in /proc/meminfo")
}
