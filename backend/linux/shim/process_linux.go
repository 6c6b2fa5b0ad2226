package shim

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Identify records a live process of this host.
func Identify(pid int) (Process, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Process{}, fmt.Errorf("look up process %d: %w", pid, err)
	}
	i := bytes.LastIndexByte(data, ')')
	f := strings.Fields(string(data[i+1:]))
	if i < 0 || len(f) < 20 {
		return Process{}, fmt.Errorf("look up process %d: /proc entry is not understood", pid)
	}
	start, err := strconv.ParseUint(f[19], 10, 64) // field 22; f begins at field 3
	if err != nil {
		return Process{}, fmt.Errorf("look up process %d: %w", pid, err)
	}
	return Process{PID: pid, Start: start}, nil
}

// Alive reports whether the very process still runs. A zombie counts as dead.
func (p Process) Alive() bool {
	now, err := Identify(p.PID)
	return p.PID > 1 && err == nil && now == p && !zombie(p.PID)
}

func zombie(pid int) bool {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	i := bytes.LastIndexByte(data, ')')
	return err == nil && i >= 0 && i+2 < len(data) && (data[i+2] == 'Z' || data[i+2] == 'X')
}

// Kill kills the very process and no other that got its number since.
func (p Process) Kill() {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(fd) }()
	if p.Alive() { // the descriptor pins what was just looked at
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
}

// BootID identifies this boot of the host.
func BootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
