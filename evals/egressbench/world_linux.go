package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// innerEnv marks the second start, inside namespaces of its own.
const innerEnv = "EGRESS_BENCH_INNER"

// The names of the origin: one for each way the product treats a route.
const (
	hostAll  = "all.bench.test"  // a credential, the scanner for both directions
	hostBare = "bare.bench.test" // no credential, no scanner
	hostAuth = "auth.bench.test" // a credential, no scanner
)

// privately builds the peers, for which the network is needed, and starts this
// program again with a loopback of its own, where no port is taken, and a hosts
// file of its own.
func privately(ctx context.Context, o options) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("namespaces and the sidecar's users need root")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "egress-bench-peers-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	buildPeers(ctx, o, dir)
	args := append([]string{"-m", "-n", self}, os.Args[1:]...)
	cmd := exec.CommandContext(ctx, "unshare", append(args, "-peers", dir)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), innerEnv+"=1")
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	return cmd.Run()
}

// buildPeers builds what can be built; the run says what is missing.
func buildPeers(ctx context.Context, o options, dir string) {
	names := []string{"goproxy", "gitleaks"}
	if o.short {
		names = names[:1] // the other one takes a minute to compile
	}
	for _, name := range names {
		cmd := exec.CommandContext(ctx, "go", "build", "-C", o.peers, "-o", filepath.Join(dir, name), "./"+name)
		cmd.Env = append(os.Environ(), "GOFLAGS=-trimpath")
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "egressbench: %s cannot be built: %v: %s\n", name, err, out)
		}
	}
}

// settleIn prepares the namespaces of the second start.
func settleIn(dir string) error {
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("bring up loopback: %w", err)
	}
	hosts := filepath.Join(dir, "hosts")
	line := "127.0.0.1 localhost " + strings.Join([]string{hostAll, hostBare, hostAuth}, " ") + "\n"
	if err := os.WriteFile(hosts, []byte(line), 0o644); err != nil {
		return err
	}
	if err := unix.Mount(hosts, "/etc/hosts", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount the names: %w", err)
	}
	return nil
}

func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return errors.Join(err, unix.Close(s))
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return errors.Join(unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifr), unix.Close(s))
}
