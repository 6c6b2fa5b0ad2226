package command

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// childEnv makes the test program a program under test: a script of steps.
const childEnv = "BOTTLE_COMMAND_TEST_CHILD=1"

// TestMain makes the test program what Run starts.
func TestMain(m *testing.M) {
	if os.Getenv("BOTTLE_COMMAND_TEST_CHILD") != "" {
		syscall.Exit(child(os.Args[1:])) // os.Exit would print a word about coverage
	}
	os.Exit(m.Run())
}

// child does its arguments one after the other.
func child(steps []string) int {
	for _, step := range steps {
		verb, arg, _ := strings.Cut(step, ":")
		switch verb {
		case "out":
			fmt.Print(arg)
		case "err":
			fmt.Fprint(os.Stderr, arg)
		case "exit":
			n, _ := strconv.Atoi(arg)
			return n
		case "hang":
			time.Sleep(time.Minute)
		case "ignore-term":
			signal.Ignore(syscall.SIGTERM)
		case "kill-self":
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			time.Sleep(time.Minute)
		case "flood":
			f := os.Stdout
			if arg == "err" {
				f = os.Stderr
			}
			for line := []byte(strings.Repeat("x", 4095) + "\n"); ; {
				if _, err := f.Write(line); err != nil {
					return 9
				}
			}
		case "cat":
			_, _ = io.Copy(os.Stdout, os.Stdin)
		case "env":
			fmt.Print(strings.Join(os.Environ(), "\n"))
		case "dir":
			dir, _ := os.Getwd()
			fmt.Print(dir)
		case "grandchild": // holds the pipes; "grandchild:GROUP" leaves the group
			grandchild(arg == "away")
		case "usr1":
			usr1 := make(chan os.Signal, 1)
			signal.Notify(usr1, syscall.SIGUSR1)
			fmt.Print("ready\n")
			<-usr1
			fmt.Print("got it")
		case "stdin-kind":
			info, _ := os.Stdin.Stat()
			fmt.Print(info.Mode().Type())
		}
	}
	return 0
}

func grandchild(away bool) {
	self, _ := os.Executable()
	cmd := exec.Command(self, "ignore-term", "hang")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: away}
	if err := cmd.Start(); err != nil {
		fmt.Fprint(os.Stderr, err)
	}
	fmt.Printf("%d\n", cmd.Process.Pid)
}

// self is the spec of a child with these steps.
func self(t *testing.T, steps ...string) Spec {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Spec{Name: path, Args: steps, Env: []string{childEnv}, Timeout: 20 * time.Second}
}
