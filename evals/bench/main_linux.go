package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// innerEnv marks the second start, inside a mount namespace of its own.
const innerEnv = "BOTTLE_BENCH_INNER"

func main() {
	if len(os.Args) == 2 && os.Args[1] == peerSidecarVerb {
		os.Exit(peerSidecar())
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the command's flags.
type options struct {
	binary  string
	out     string
	rounds  int
	bottles int
	parts   string
}

func run() error {
	var o options
	flag.StringVar(&o.binary, "binary", "", "the bottle-mcp binary to measure")
	flag.StringVar(&o.out, "out", "", "write the results there as Markdown")
	flag.IntVar(&o.rounds, "rounds", 30, "launches measured")
	flag.IntVar(&o.bottles, "bottles", 100, "bottles alive at once")
	flag.StringVar(&o.parts, "parts", "launch,exec,memory,copy", "what to measure")
	flag.Parse()
	if o.binary == "" {
		return fmt.Errorf("name the binary: -binary bin/bottle-mcp")
	}
	if os.Getenv(innerEnv) == "" {
		return privately()
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
	r := newReport(o)
	if err := measure(ctx, o, r); err != nil {
		return err
	}
	return r.write(os.Stdout, o.out)
}

// privately starts this program again in a mount namespace without the empty
// version 2 hierarchy of hybrid hosts, which crun refuses.
func privately() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("the peers need root")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	script := `umount /sys/fs/cgroup/unified 2>/dev/null; exec "$0" "$@"`
	cmd := exec.Command("unshare", append([]string{"-m", "sh", "-c", script, self}, os.Args[1:]...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), innerEnv+"=1")
	return cmd.Run()
}
