package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) == 4 && os.Args[1] == originVerb {
		fmt.Fprintln(os.Stderr, originMain(os.Args[2], os.Args[3]))
		os.Exit(1)
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "egressbench:", err)
		os.Exit(1)
	}
}

// options are the command's flags.
type options struct {
	binary string
	peers  string
	out    string
	short  bool
	rounds int
	parts  string
}

func run() error {
	var o options
	flag.StringVar(&o.binary, "binary", "", "the bottle-mcp binary to measure")
	flag.StringVar(&o.peers, "peers", "evals/egressbench/peers", "the source of the peers, or a directory they were built into")
	flag.StringVar(&o.out, "out", "", "write the results there as Markdown")
	flag.BoolVar(&o.short, "short", false, "fewer rounds, and without what takes long")
	flag.IntVar(&o.rounds, "rounds", 11, "how often everything takes its turn")
	flag.StringVar(&o.parts, "parts", "keepalive,handshake,bulk,stream,memory,cold,scanner,aborts", "what to measure")
	flag.Parse()
	if o.binary == "" {
		return fmt.Errorf("name the binary: -binary bin/bottle-mcp")
	}
	abs, err := filepath.Abs(o.binary)
	if err != nil {
		return err
	}
	o.binary = abs
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	if os.Getenv(innerEnv) == "" {
		return privately(ctx, o)
	}
	r := newReport(o)
	if err := measure(ctx, o, r); err != nil {
		return err
	}
	return r.write(os.Stdout, o.out)
}

// bench is one run.
type bench struct {
	o      options
	r      *report
	dir    string
	origin *origin
	direct *target
	peers  []*target // that are here, and the product last
	ours   *target
}

// all are the ways to the origin, in the order in which they take turns.
func (b *bench) all() []*target { return append([]*target{b.direct}, b.peers...) }

func measure(ctx context.Context, o options, r *report) error {
	// In memory, so that no disk is measured.
	dir, err := os.MkdirTemp("/dev/shm", "egress-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b := &bench{o: o, r: r, dir: dir}
	if err := settleIn(dir); err != nil {
		return err
	}
	if b.origin, err = startOrigin(ctx, dir); err != nil {
		return fmt.Errorf("start the origin: %w", err)
	}
	defer b.origin.stop()
	b.direct = &target{name: nameDirect, trust: b.origin.trust}
	if err := b.startProxies(ctx); err != nil {
		return err
	}
	defer b.stopProxies()
	steps := map[string]func(context.Context) error{
		"keepalive": b.keepAlive, "handshake": b.handshakes, "bulk": b.bulk, "stream": b.streams,
		"memory": b.memory, "cold": b.coldStarts, "scanner": b.scanners, "aborts": b.aborts,
	}
	for _, part := range strings.Split(o.parts, ",") {
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
