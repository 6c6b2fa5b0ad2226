package state

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// startOf is the boot id and the start time in ticks since boot; "" when there
// is no such process or it is a zombie.
func startOf(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	// The command's name is in parentheses and may hold anything.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	const state, starttime = 0, 19 // counted after the name
	if len(fields) <= starttime || fields[state] == "Z" || fields[state] == "X" {
		return ""
	}
	return strings.TrimSpace(string(boot)) + "/" + fields[starttime]
}
