package backendtest

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// Limits of the bottle that is filled up. They are far above what a shell
// needs and far below what the machine has.
const (
	limitPIDs = 64
	limitDisk = 32 << 20
)

// fill starts more than may run. A shell that cannot fork ends, hence the inner.
const fill = `(i=0; while [ $i -lt 300 ]; do sleep $1 & i=$((i+1)); done) > /dev/null 2>&1`

func (s *suite) limits(t *testing.T) {
	b := s.launch(t, limited(backend.Limits{PIDs: limitPIDs, DiskBytes: limitDisk}))
	t.Run("processes", b.processLimit)
	t.Run("fork bomb", b.forkBomb)
	t.Run("disk", b.diskLimit)
	t.Run("core dumps", b.noCoreDumps)
	t.Run("file descriptors", b.descriptorLimit)
	t.Run("full", b.full)
}

// processLimit starts more than it may, by a bounded number: where there is no
// limit, that does no harm.
func (b *bottle) processLimit(t *testing.T) {
	mark := sleepMarks(1)[0]
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan result, 1)
	go func() {
		done <- b.try(ctx, script0(fill+`; exec sleep $1`, mark), "")
	}()
	time.Sleep(time.Second)
	i, ok := b.s.instance(t, b.id)
	if !ok || i.State != backend.Running {
		t.Errorf("with all processes used up List says %+v, %v", i, ok)
	}
	if i.Usage.PIDs > limitPIDs+8 {
		t.Errorf("%d processes run, the limit is %d", i.Usage.PIDs, limitPIDs)
	}
	cancel()
	if r := <-done; !errors.Is(r.err, context.Canceled) {
		t.Errorf("the command ended with %+v, %v", r.ExitStatus, r.err)
	}
	b.answers(t)
	if left := b.processes(t); strings.Contains(left, mark) {
		t.Errorf("%d processes are left", strings.Count(left, mark))
	}
}

func (b *bottle) forkBomb(t *testing.T) {
	if t.Failed() {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	r := b.try(ctx, script0(`bomb() { bomb | bomb & }; bomb 2>/dev/null; sleep 60`), "")
	if r.took > 10*time.Second {
		t.Errorf("the command took %s to end", r.took)
	}
	b.answers(t)
}

// answers demands that the bottle works.
func (b *bottle) answers(t *testing.T) {
	t.Helper()
	await(t, 10*time.Second, "the bottle answers", func() bool {
		// Of the commands only cat takes a new process.
		r := b.try(t.Context(), script0("cat /dev/null && (exit 0) && echo fine"), "")
		return r.err == nil && r.stdout == "fine\n"
	})
}

func (b *bottle) diskLimit(t *testing.T) {
	if b.s.lacks("disk") {
		return // the backend says so, and the report of every launch
	}
	for _, dir := range []string{backend.AgentHome, "/tmp", "/var/tmp", "/dev/shm"} {
		r := b.run(t, script0(`cat /dev/zero > "$1/fill"`, dir), "")
		if r.Code == 0 || !strings.Contains(r.stderr, "No space left") {
			t.Errorf("filling %s ends with %+v, %q", dir, r.ExitStatus, r.stderr)
		}
		b.answers(t)
		size, err := strconv.ParseInt(strings.TrimSpace(b.sh(t, `stat -c %s "$1/fill"`, dir)), 10, 64)
		if err != nil || size > limitDisk {
			t.Errorf("%s took %d bytes of %d, %v", dir, size, limitDisk, err)
		}
		b.sh(t, `: > "$1/fill"`, dir)
	}
	// A full disk is an error of a copy, never a shorter file.
	src := t.TempDir()
	writeHost(t, src, "big", noise(limitDisk+(1<<20)))
	report, err := b.tryCopyIn(t, src, "/tmp/full")
	if err == nil {
		t.Errorf("a copy into a full disk reports %+v", report)
	}
	if r := b.run(t, script0("cat /tmp/full/big"), ""); r.stdout != "" {
		t.Errorf("%d bytes of a file are left", len(r.stdout))
	}
}

func (b *bottle) noCoreDumps(t *testing.T) {
	if out := b.sh(t, "ulimit -c; ulimit -Hc"); out != "0\n0\n" {
		t.Errorf("core dumps are limited to %q", out)
	}
}

// descriptorLimit wants a bound that programs can live with.
func (b *bottle) descriptorLimit(t *testing.T) {
	out := strings.TrimSpace(b.sh(t, "ulimit -Hn"))
	n, err := strconv.Atoi(out)
	if err != nil || n < 1024 {
		t.Errorf("open files are limited to %q", out)
	}
}

// full leaves all processes that may run behind: the next command runs, or
// says at once why it does not.
func (b *bottle) full(t *testing.T) {
	b.run(t, script0(fill+"; exit 0", sleepMarks(1)[0]), "")
	r := b.run(t, script0("echo fine"), "")
	if r.stdout != "fine\n" && r.StartError == "" || r.took > slack {
		t.Errorf("%+v, %q after %s", r.ExitStatus, r.stdout, r.took)
	}
}
