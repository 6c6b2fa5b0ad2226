package pid1

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// timingEnv shortens what the init waits for: "grace=1s,device=100ms".
	timingEnv = "PID1_TEST_TIMING"
	// stubbornFile makes the daemon one that does not stop.
	stubbornFile = "/stubborn"
)

// TestMain makes the test program the sidecar's only program, and what builds
// the machine around it.
func TestMain(m *testing.M) {
	args := os.Args[1:]
	if len(args) > 0 {
		switch args[0] {
		case "box":
			fmt.Fprintln(os.Stderr, "box:", enterBox())
			os.Exit(99)
		case "orphan":
			os.Exit(orphan(args[1:]))
		case "sidecar":
			os.Exit(sidecar(args))
		}
	}
	os.Exit(m.Run())
}

func sidecar(args []string) int {
	if len(args) > 1 && args[1] == "init" && os.Getenv(timingEnv) != "" {
		o, err := parseOptions(args[2:], os.LookupEnv, os.Stderr)
		if err != nil {
			return exitUsage
		}
		if err := shorten(&o.timing, os.Getenv(timingEnv)); err != nil {
			return exitUsage
		}
		return newMachine(o).run()
	}
	if _, err := os.Stat(stubbornFile); err == nil && len(args) > 1 && args[1] == "daemon" {
		return stubborn()
	}
	handled, code := Run(args, os.Stdout, os.Stderr)
	if !handled {
		return 98
	}
	return code
}

func shorten(t *timing, text string) error {
	fields := map[string]*time.Duration{
		"grace": &t.grace, "farewell": &t.farewell, "drain": &t.drain, "start": &t.start,
		"device": &t.device, "first": &t.firstPause, "last": &t.lastPause, "healthy": &t.healthy,
	}
	for pair := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(pair, "=")
		d, err := time.ParseDuration(value)
		if err != nil {
			return err
		}
		*fields[name] = d
	}
	return nil
}

// stubborn is a daemon that serves nobody, says so and ignores SIGTERM.
func stubborn() int {
	terms := make(chan os.Signal, 1)
	signal.Notify(terms, unix.SIGTERM)
	control, err := controlFile()
	if err != nil {
		return 1
	}
	if _, err := readStart(control); err != nil {
		return 1
	}
	if err := writeAnswer(control, nil); err != nil {
		return 1
	}
	fmt.Fprintf(os.Stderr, "hello \x1b[31m%s\n", strings.Repeat("x", 5000))
	for {
		<-terms
		fmt.Fprintln(os.Stderr, "asked to stop")
	}
}

// orphan leaves a child behind that ends a little later.
func orphan(args []string) int {
	if len(args) > 0 {
		time.Sleep(200 * time.Millisecond)
		return 0
	}
	cmd := exec.Command("/proc/self/exe", "orphan", "child")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(cmd.Process.Pid)
	return 0
}
