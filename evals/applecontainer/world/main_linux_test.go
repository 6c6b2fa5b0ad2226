package world_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world"
	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/world/rootfs"
)

// roleEnv makes the test binary the payload of a world inside the tests' own.
const roleEnv = "BOTTLE_WORLD_TEST_ROLE"

func TestMain(m *testing.M) {
	payload := m.Run
	if role := os.Getenv(roleEnv); role != "" {
		payload = func() int { return play(role) }
	}
	os.Exit(world.TestMain(payload, world.Options{Standin: "/usr/bin/env"}))
}

const exitPlayed = 7

// play litters a world: containers, networks, rules, a daemon. As "here" it
// says only in which world it is.
func play(role string) int {
	if role == "here" {
		pids, _ := os.Readlink("/proc/self/ns/pid")
		_, _ = os.Stdout.WriteString(pids)
		return 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if err := litter(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "play:", err)
		return 1
	}
	_, _ = os.Stdout.WriteString("littered\n")
	if role == "stay" {
		time.Sleep(time.Minute)
	}
	return exitPlayed
}

func litter(ctx context.Context) error {
	tar, err := os.CreateTemp("", "image-*.tar")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tar.Name()) }()
	busybox := rootfs.Sources{Busybox: "/bin/busybox", Roots: "/etc/ssl/certs/ca-certificates.crt"}
	if err := errors.Join(rootfs.Write(ctx, tar, busybox), tar.Close()); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"import", tar.Name(), "bottle-mcp.invalid/left"},
		{"network", "create", "--internal", "left"},
		{"volume", "create", "left"},
		{"run", "--detach", "--name", "left", "--network", "left", "bottle-mcp.invalid/left", "sleep", orphanSeconds},
	} {
		if _, err := world.Podman(ctx, args...); err != nil {
			return err
		}
	}
	if err := world.HardenInternal(ctx, "podman1"); err != nil {
		return err
	}
	return exec.CommandContext(ctx, "setsid", "-f", "sleep", orphanSeconds).Run()
}

// orphanSeconds is also how the orphans are recognised.
const orphanSeconds = "86399"
