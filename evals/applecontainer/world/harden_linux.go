package world

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ruleMark is the comment on every rule of ours.
const ruleMark = "bottle-world"

// hardRules close an internal bridge: nothing from it reaches the host, nothing
// crosses it. A packet from one of its ports to another passes FORWARD as well
// where bridges call iptables, so both conditions must name the other side.
// Podman fills the filter table; these are in mangle, which comes first.
func hardRules(bridge string) [][]string {
	return [][]string{
		{"INPUT", "-i", bridge},
		{"FORWARD", "-i", bridge, "!", "-o", bridge},
		{"FORWARD", "-o", bridge, "!", "-i", bridge},
	}
}

// HardenInternal closes what every `--internal` bridge of Podman leaves open:
// services of the host on the gateway address and on the bridge's IPv6
// link-local address, the gateway's resolver, and every way across. The bridge
// need not exist yet. Doing it twice is doing it once.
func HardenInternal(ctx context.Context, bridge string) error {
	if err := SoftenInternal(ctx, bridge); err != nil {
		return err
	}
	for _, program := range []string{"iptables", "ip6tables"} {
		for _, rule := range hardRules(bridge) {
			if err := firewall(ctx, program, "-A", rule); err != nil {
				return fmt.Errorf("the internal network on %s stays leaky: %w", bridge, err)
			}
		}
	}
	return ipv6Off(bridge)
}

// SoftenInternal removes the rules of HardenInternal.
func SoftenInternal(ctx context.Context, bridge string) error {
	if strings.ContainsAny(bridge, "/ ") || bridge == "" || bridge[0] == '-' {
		return fmt.Errorf("%q is no name of a bridge", bridge)
	}
	for _, program := range []string{"iptables", "ip6tables"} {
		for _, rule := range hardRules(bridge) {
			for firewall(ctx, program, "-C", rule) == nil {
				if err := firewall(ctx, program, "-D", rule); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func firewall(ctx context.Context, program, action string, rule []string) error {
	// -w: Podman's own calls hold the lock for moments.
	argv := append([]string{"-w", "10", "-t", "mangle", action}, rule...)
	argv = append(argv, "-m", "comment", "--comment", ruleMark, "-j", "DROP")
	out, err := exec.CommandContext(ctx, find(program), argv...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(argv, " "), err, out)
	}
	return nil
}

// ipv6Off takes the link-local address from a bridge that is there. For one
// that comes later the rules suffice.
func ipv6Off(bridge string) error {
	err := os.WriteFile(filepath.Join("/proc/sys/net/ipv6/conf", bridge, "disable_ipv6"), []byte("1"), 0o644)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
