package world

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// ruleMark is the comment on every rule of ours.
const ruleMark = "bottle-world"

// hardRules close an internal bridge: nothing from it reaches the host, nothing
// crosses it. A packet from one of its ports to another passes FORWARD as well
// where bridges call iptables, so both conditions must name the other side.
// Podman fills the filter table; these are in mangle, which comes first.
func hardRules(bridge string) []string {
	var rules []string
	for _, match := range []string{
		"INPUT -i " + bridge,
		"FORWARD -i " + bridge + " ! -o " + bridge,
		"FORWARD -o " + bridge + " ! -i " + bridge,
	} {
		rules = append(rules, "-A "+match+" -m comment --comment "+ruleMark+" -j DROP")
	}
	return rules
}

// families are the programs for IPv4 and IPv6.
func families() []string { return []string{"iptables", "ip6tables"} }

// HardenInternal closes what every `--internal` bridge of Podman leaves open:
// services of the host on the gateway address and on the bridge's IPv6
// link-local address, the gateway's resolver, and every way across. The bridge
// need not exist yet. Doing it twice is doing it once.
func HardenInternal(ctx context.Context, bridge string) error {
	if err := SoftenInternal(ctx, bridge); err != nil {
		return err
	}
	for _, family := range families() {
		if err := restore(ctx, family, hardRules(bridge)); err != nil {
			return fmt.Errorf("the internal network on %s stays leaky: %w", bridge, err)
		}
	}
	return ipv6Off(bridge)
}

// SoftenInternal removes the rules of HardenInternal.
func SoftenInternal(ctx context.Context, bridge string) error {
	if strings.ContainsAny(bridge, "/ \n!") || bridge == "" || bridge[0] == '-' {
		return fmt.Errorf("%q is no name of a bridge", bridge)
	}
	for _, family := range families() {
		rules, err := listRules(ctx, family)
		if err != nil {
			return err
		}
		var gone []string
		for _, rule := range rules {
			if slices.Contains(strings.Fields(rule), bridge) {
				gone = append(gone, strings.Replace(rule, "-A", "-D", 1))
			}
		}
		if len(gone) == 0 {
			continue
		}
		if err := restore(ctx, family, gone); err != nil {
			return fmt.Errorf("the rules for %s stay: %w", bridge, err)
		}
	}
	return nil
}

// listRules returns our rules of one family.
func listRules(ctx context.Context, family string) ([]string, error) {
	// -w: Podman's own calls hold the lock for moments.
	out, err := exec.CommandContext(ctx, find(family), "-w", "10", "-t", "mangle", "-S").Output()
	if err != nil {
		return nil, fmt.Errorf("%s cannot list its rules: %w", family, err)
	}
	var rules []string
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, ruleMark) {
			rules = append(rules, strings.TrimSpace(line))
		}
	}
	return rules, nil
}

// restore applies changes to one family's table, all or none.
func restore(ctx context.Context, family string, changes []string) error {
	cmd := exec.CommandContext(ctx, find(family+"-restore"), "-w", "10", "--noflush")
	cmd.Stdin = strings.NewReader("*mangle\n" + strings.Join(changes, "\n") + "\nCOMMIT\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s-restore: %w: %s", family, err, out)
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
