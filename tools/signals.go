package tools

import (
	"fmt"
	"slices"
)

// linuxSignals are the signals of a guest by number. A guest is always Linux,
// so the host's own table (another one on a Mac) is of no use.
var linuxSignals = [...]string{ //nolint:gochecknoglobals // a constant table
	1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE",
	9: "SIGKILL", 10: "SIGUSR1", 11: "SIGSEGV", 12: "SIGUSR2", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM",
	16: "SIGSTKFLT", 17: "SIGCHLD", 18: "SIGCONT", 19: "SIGSTOP", 20: "SIGTSTP", 21: "SIGTTIN", 22: "SIGTTOU",
	23: "SIGURG", 24: "SIGXCPU", 25: "SIGXFSZ", 26: "SIGVTALRM", 27: "SIGPROF", 28: "SIGWINCH", 29: "SIGIO",
	30: "SIGPWR", 31: "SIGSYS",
}

// signalName is the name of a number, "" for none.
func signalName(number int) string {
	switch {
	case number <= 0:
		return ""
	case number < len(linuxSignals):
		return linuxSignals[number]
	default:
		return fmt.Sprintf("SIGRT%d", number)
	}
}

// sendable are the signals a caller may send; the rest says that a program
// failed, and sending them would only be a lie about that.
func sendable() []string {
	return []string{"SIGHUP", "SIGINT", "SIGQUIT", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGTERM", "SIGCONT", "SIGSTOP", "SIGTSTP", "SIGWINCH"}
}

// signalNumber is the inverse of signalName.
func signalNumber(name string) int { return slices.Index(linuxSignals[:], name) }
