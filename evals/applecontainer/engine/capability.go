package engine

import (
	"slices"
	"strings"
)

// capabilities are all names, by number.
var capabilities = []string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
	"LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE",
}

// defaultCapabilities are those of a container that asks for no change.
var defaultCapabilities = []string{
	"CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
	"NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
}

const allCapabilities = "ALL"

// CapabilityName is a capability as the program stores it: CAP_NAME, or ALL.
func CapabilityName(name string) (string, error) {
	bare := strings.TrimPrefix(strings.ToUpper(name), "CAP_")
	switch {
	case bare == allCapabilities:
		return bare, nil
	case slices.Contains(capabilities, bare):
		return "CAP_" + bare, nil
	default:
		return "", Failf(InvalidArgument, "unknown capability %s", name)
	}
}

// capabilitySet is the set after the program's order of evaluation: drop ALL,
// add ALL, then single additions, then single drops. have is what this host
// can give.
func capabilitySet(add, drop, have []string) []string {
	set := prefixed(defaultCapabilities)
	if slices.Contains(drop, allCapabilities) {
		set = nil
	}
	if slices.Contains(add, allCapabilities) {
		set = prefixed(capabilities)
	}
	for _, name := range add {
		if name != allCapabilities && !slices.Contains(set, name) {
			set = append(set, name)
		}
	}
	return slices.DeleteFunc(set, func(name string) bool {
		return slices.Contains(drop, name) || !slices.Contains(have, name)
	})
}

func prefixed(names []string) []string {
	out := make([]string, 0, len(names))
	for _, name := range names {
		out = append(out, "CAP_"+name)
	}
	return out
}

// capabilitiesOf are the names of a mask.
func capabilitiesOf(mask uint64) []string {
	var out []string
	for i, name := range prefixed(capabilities) {
		if mask&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return out
}
