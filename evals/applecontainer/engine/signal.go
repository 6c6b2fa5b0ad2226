package engine

import (
	"strconv"
	"strings"
	"syscall"
)

// signals are those that have names the program knows.
func signals() map[string]syscall.Signal {
	return map[string]syscall.Signal{
		"HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "BUS": 7, "FPE": 8, "KILL": 9, "USR1": 10,
		"SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15, "STKFLT": 16, "CHLD": 17, "CONT": 18, "STOP": 19,
		"TSTP": 20, "TTIN": 21, "TTOU": 22, "URG": 23, "XCPU": 24, "XFSZ": 25, "VTALRM": 26, "PROF": 27, "WINCH": 28,
		"IO": 29, "PWR": 30, "SYS": 31,
	}
}

// ParseSignal reads a Linux signal's name, with or without SIG, or number; ""
// is 0.
func ParseSignal(text string) (syscall.Signal, error) {
	if text == "" {
		return 0, nil
	}
	if n, err := strconv.Atoi(text); err == nil && n > 0 && n <= 64 {
		return syscall.Signal(n), nil
	}
	signal, known := signals()[strings.TrimPrefix(strings.ToUpper(text), "SIG")]
	if !known {
		return 0, Failf(InvalidArgument, "invalid signal: %s", text)
	}
	return signal, nil
}
