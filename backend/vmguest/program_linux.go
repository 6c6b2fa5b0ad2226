package vmguest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// program is what a command comes to in this guest.
type program struct {
	path, dir string
	argv, env []string
}

// resolve finds out what to execute, or why it cannot be.
func resolve(o runOptions) (program, backend.ExitStatus) {
	env := environment(ownAccount(os.Environ(), o), o.env)
	if lookup(env, "HOME") == "" && o.home != "" {
		env = append(env, "HOME="+o.home)
	}
	dir, err := workingDir(o.dir, o.home)
	if err != nil {
		return program{}, failed(codeCannotRun, err.Error())
	}
	path, status := find(o.argv, lookup(env, "PATH"), dir)
	return program{path: path, dir: dir, argv: o.argv, env: env}, status
}

// ownAccount puts the image's user into what a launch says of every guest's. What
// somebody set otherwise stays.
func ownAccount(env []string, o runOptions) []string {
	if o.user == "" {
		return env
	}
	mine := map[string]string{
		"HOME=" + backend.AgentHome: "HOME=" + o.home, "USER=" + backend.AgentUser: "USER=" + o.user, "LOGNAME=" + backend.AgentUser: "LOGNAME=" + o.user,
	}
	out := slices.Clone(env)
	for i, kv := range out {
		if own, ok := mine[kv]; ok {
			out[i] = own
		}
	}
	return out
}

func failed(code int, why string) backend.ExitStatus {
	return backend.ExitStatus{Code: code, StartError: why}
}

// environment joins lists of "K=V"; of one name the last counts and stands where
// the first stood. An engine may append without looking for duplicates, and then
// programs see the first.
func environment(lists ...[]string) []string {
	at := map[string]int{}
	var out []string
	for _, l := range lists {
		for _, kv := range l {
			k, _, _ := strings.Cut(kv, "=")
			if i, ok := at[k]; ok {
				out[i] = kv
				continue
			}
			at[k] = len(out)
			out = append(out, kv)
		}
	}
	return out
}

func lookup(env []string, name string) string {
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

// workingDir is where the command starts. This process is the command's user, so
// what it may enter the command may too.
func workingDir(dir, home string) (string, error) {
	if dir == "" {
		for _, d := range []string{backend.GuestWorkspace, home} {
			if d != "" && enterable(d) == nil {
				return d, nil
			}
		}
		return "/", nil
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(backend.GuestWorkspace, dir)
	}
	switch err := enterable(dir); {
	case err == nil:
		return dir, nil
	case errors.Is(err, unix.ENOENT):
		return "", fmt.Errorf("working directory %q does not exist in the bottle", dir)
	case errors.Is(err, unix.ENOTDIR):
		return "", fmt.Errorf("working directory %q is not a directory", dir)
	default:
		return "", fmt.Errorf("working directory %q cannot be entered by this user: %w", dir, err)
	}
}

func enterable(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return unix.ENOTDIR
	}
	return unix.Access(dir, unix.X_OK)
}

// find finds the program as a shell would: 127 when there is none, 126 when
// there is one that cannot be executed.
func find(argv []string, path, dir string) (string, backend.ExitStatus) {
	if len(argv) == 0 || argv[0] == "" {
		return "", failed(codeNotFound, "the command is empty")
	}
	name := argv[0]
	if strings.Contains(name, "/") {
		file := name
		if !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		return executable(file, name)
	}
	status := failed(codeNotFound, fmt.Sprintf("command %q was not found on the bottle's PATH", name))
	for _, d := range filepath.SplitList(path) {
		if !filepath.IsAbs(d) {
			d = filepath.Join(dir, d)
		}
		file := filepath.Join(d, name)
		if _, err := os.Stat(file); err != nil {
			continue // nothing there, also when this user may not look
		}
		file, st := executable(file, name)
		if file != "" {
			return file, st
		}
		if st.Code == codeCannotRun {
			status = st
		}
	}
	return "", status
}

func executable(file, shown string) (string, backend.ExitStatus) {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ENAMETOOLONG):
		return "", failed(codeNotFound, fmt.Sprintf("command %q does not exist in the bottle", shown))
	case errors.Is(err, unix.EINVAL):
		return "", failed(codeNotFound, fmt.Sprintf("command %q holds a zero byte", shown))
	case err != nil:
		return "", failed(codeCannotRun, fmt.Sprintf("command %q cannot be reached by this user: %v", shown, err))
	case info.IsDir():
		return "", failed(codeCannotRun, fmt.Sprintf("%q is a directory", shown))
	}
	if err := unix.Access(file, unix.X_OK); err != nil {
		return "", failed(codeCannotRun, fmt.Sprintf("%q is not executable by this user", shown))
	}
	return file, backend.ExitStatus{}
}

// startFailure explains why fork or execve failed.
func startFailure(path string, err error) backend.ExitStatus {
	switch {
	case errors.Is(err, unix.ENOENT):
		return failed(codeNotFound, fmt.Sprintf("%q or its interpreter does not exist in the bottle", path))
	case errors.Is(err, unix.EAGAIN):
		return failed(codeCannotRun, "the bottle's limit of processes is reached: end some of them or remove the bottle")
	case errors.Is(err, unix.ENOEXEC):
		return failed(codeCannotRun, fmt.Sprintf("%q is not a program this machine can execute (a script needs a #! line)", path))
	case errors.Is(err, unix.E2BIG):
		return failed(codeCannotRun, "arguments and environment are larger than the kernel allows")
	case errors.Is(err, unix.EINVAL):
		return failed(codeCannotRun, "an argument or variable holds a zero byte")
	}
	return failed(codeCannotRun, fmt.Sprintf("start %q: %v", path, err))
}
