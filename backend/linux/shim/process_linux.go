package shim

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Identify records a process of this host.
func Identify(pid int) (Process, error) {
	p, _, err := look(pid)
	return p, err
}

// look reads a process's identity and whether it is dead and only unreaped.
func look(pid int) (p Process, zombie bool, err error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Process{}, false, fmt.Errorf("look up process %d: %w", pid, err)
	}
	i := bytes.LastIndexByte(data, ')')
	f := strings.Fields(string(data[i+1:]))
	if i < 0 || len(f) < 20 {
		return Process{}, false, fmt.Errorf("look up process %d: /proc entry is not understood", pid)
	}
	start, err := strconv.ParseUint(f[19], 10, 64) // field 22; f begins at field 3
	if err != nil {
		return Process{}, false, fmt.Errorf("look up process %d: %w", pid, err)
	}
	return Process{PID: pid, Start: start}, f[0] == "Z" || f[0] == "X", nil
}

// Alive reports whether the very process still runs. A zombie counts as dead.
func (p Process) Alive() bool {
	now, zombie, err := look(p.PID)
	return p.PID > 1 && err == nil && now == p && !zombie
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
