package state

import "os"

// Process names a process beyond the reuse of its number.
type Process struct {
	PID int `json:"pid"`
	// Start tells two processes of one number apart, also across reboots.
	Start string `json:"start"`
}

// Self is this process.
func Self() Process {
	pid := os.Getpid()
	return Process{PID: pid, Start: startOf(pid)}
}

// Alive reports whether the process still runs.
func (p Process) Alive() bool {
	return p.PID > 0 && p.Start != "" && startOf(p.PID) == p.Start
}
