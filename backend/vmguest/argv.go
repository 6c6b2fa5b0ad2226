package vmguest

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// Exit codes of "guest signal".
const (
	// SignalNone means that no command with that token is there: not yet, or not
	// any more.
	SignalNone = 3
	// SignalLeft means that something of the tree is still alive.
	SignalLeft = 1
)

// SpareProcesses is how many of a user's processes and threads "guest run" keeps
// from the command, so that a fork bomb cannot stop the next verb from killing
// it. A backend adds it to the limit of processes (RLIMIT_NPROC) that it gives
// the guest.
const SpareProcesses = 64

// maxGrace is the longest time between SIGTERM and SIGKILL, see backend.Command.
const maxGrace = time.Second

// tokenBytes makes a token that nothing in the guest can say by chance.
const tokenBytes = 16

// NewToken returns the name of one command's run: 128 random bits in hex.
func NewToken() string {
	var raw [tokenBytes]byte
	_, _ = rand.Read(raw[:]) // never fails, see crypto/rand
	return hex.EncodeToString(raw[:])
}

func validToken(token string) bool {
	raw, err := hex.DecodeString(token)
	return err == nil && len(raw) == tokenBytes && strings.ToLower(token) == token
}

// RunArgv returns what an engine executes in the guest, as the command's user,
// to run cmd: its standard streams are the command's own, and its trailer tells
// the status, see StderrFilter. SIGTERM to it ends the command's tree.
//
// With a terminal the wrapper's standard input is a stream of package terminal,
// and its standard error is the wrapper's alone. The engine is not asked for a
// terminal, so that none of its own stands in between.
//
// Engines pass text. Arguments that are none travel in hex, and so arrive as
// they are.
func RunArgv(cmd backend.Command, agent backend.Account, token string) []string {
	quote := func(s string) string { return s }
	argv := guestVerb(verbRun, "--token", token)
	if !isText(cmd) {
		argv = append(argv, "--hex")
		quote = func(s string) string { return hex.EncodeToString([]byte(s)) }
	}
	if grace := min(cmd.Grace, maxGrace); grace > 0 {
		argv = append(argv, "--grace", strconv.FormatInt(max(1, grace.Milliseconds()), 10))
	}
	if cmd.Dir != "" {
		argv = append(argv, "--dir", quote(cmd.Dir))
	}
	if cmd.TTY != nil {
		argv = append(argv, "--tty", sizeText(cmd.TTY.Size))
	}
	home, env := account(cmd.User, agent)
	argv = append(argv, "--user-home", quote(home))
	if home == agent.Home && agent != backend.DefaultAccount() {
		argv = append(argv, "--user-name", quote(agent.Name))
	}
	for _, kv := range append(env, cmd.Environ()...) {
		argv = append(argv, "--env", quote(kv))
	}
	argv = append(argv, "--")
	for _, arg := range cmd.Argv {
		argv = append(argv, quote(arg))
	}
	return argv
}

// account is the home of a command's user, and what it needs to say over the
// guest's environment, which is the agent's.
func account(user string, agent backend.Account) (home string, env []string) {
	switch {
	case agent.Is(user):
		return agent.Home, nil
	case user == "root" || user == "0":
		home, user = "/root", "root"
	default:
		home = "/"
	}
	return home, []string{"HOME=" + home, "USER=" + user, "LOGNAME=" + user}
}

func isText(cmd backend.Command) bool {
	text := func(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }
	return text(cmd.Dir) && text(cmd.User) &&
		!slices.ContainsFunc(cmd.Argv, func(s string) bool { return !text(s) }) &&
		!slices.ContainsFunc(cmd.Environ(), func(s string) bool { return !text(s) })
}

// sizeText is a terminal's size on a command line, such as "24x80".
func sizeText(s backend.WindowSize) string {
	return strconv.Itoa(int(s.Rows)) + "x" + strconv.Itoa(int(s.Cols))
}

func parseSize(text string) (backend.WindowSize, error) {
	rows, cols, _ := strings.Cut(text, "x")
	r, err1 := strconv.ParseUint(rows, 10, 16)
	c, err2 := strconv.ParseUint(cols, 10, 16)
	return backend.WindowSize{Rows: uint16(r), Cols: uint16(c)}, errors.Join(err1, err2)
}

// SignalArgv returns what an engine executes in the guest, as the command's
// user, to send a signal to every process of the command with that token.
//
// With tree, SIGKILL ends the whole tree and the verb returns when nothing is
// left of it, within a second or so; any other signal goes to the wrapper alone,
// which on SIGTERM ends the tree itself after the command's grace. The exit code
// is 0, SignalNone or SignalLeft. A command whose start the engine delays may
// come after SignalNone: repeat the signal until the engine tells its end.
func SignalArgv(token string, signal int, tree bool) []string {
	argv := guestVerb(verbSignal, "--token", token, "--signal", strconv.Itoa(signal))
	if tree {
		argv = append(argv, "--tree")
	}
	return argv
}

// IdleArgv returns the guest's main process, which ends by itself after
// lifetime. relays maps TCP ports on the guest's 127.0.0.1 to UNIX sockets.
func IdleArgv(lifetime time.Duration, relays map[int]string) []string {
	seconds := max(1, int64((lifetime+time.Second-1)/time.Second))
	argv := guestVerb(verbIdle, "--seconds", strconv.FormatInt(seconds, 10))
	ports := make([]int, 0, len(relays))
	for port := range relays {
		ports = append(ports, port)
	}
	slices.Sort(ports)
	for _, port := range ports {
		argv = append(argv, "--relay", strconv.Itoa(port)+"="+relays[port])
	}
	return argv
}

// Phase is one step of making the agent's home: an argument vector and the ids
// it must run with.
type Phase struct {
	UID, GID int
	Argv     []string
}

// HomePhases returns the steps that come after HomeArgv's, to be run one after
// the other before anything else runs in the guest. Each must end with 0. All of
// them can be repeated, from the first.
func HomePhases(a backend.Account) []Phase {
	phase := func(uid, gid int, name string) Phase {
		return Phase{uid, gid, guestVerb(
			verbHome, "--phase", name, "--uid", strconv.Itoa(a.UID), "--gid", strconv.Itoa(a.GID), "--home", a.Home)}
	}
	return []Phase{phase(a.UID, a.GID, phaseMake), phase(0, 0, phaseClose)}
}

// RootsArgv returns what prints the image's CA bundle, see ParseRoots.
func RootsArgv() []string { return guestVerb(verbRoots) }

// The verbs and phases, shared by both halves.
const (
	verbIdle   = "idle"
	verbRun    = "run"
	verbSignal = "signal"
	verbHome   = "home"
	verbRoots  = "roots"

	phaseOpen  = "open"
	phaseMake  = "make"
	phaseClose = "close"
)

func guestVerb(verb string, args ...string) []string {
	return append([]string{backend.GuestBinary, "guest", verb}, args...)
}
