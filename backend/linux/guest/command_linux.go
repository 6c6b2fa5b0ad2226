package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// account is a user commands run as.
type account struct {
	uid, gid uint32
	name     string
	home     string
}

// user resolves a command's user. Where one id is mapped only the agent exists.
func (s *server) user(name string) (account, error) {
	agent := account{backend.AgentUID, backend.AgentUID, backend.AgentUser, backend.AgentHome}
	id := strconv.Itoa(backend.AgentUID)
	if name == "" || name == backend.AgentUser || name == id {
		return agent, nil
	}
	if !s.cfg.Multi {
		return account{}, fmt.Errorf("user %q does not exist in this bottle: only %q does, since this host maps one user id", name, backend.AgentUser)
	}
	switch name {
	case "root", "0":
		return account{0, 0, "root", "/root"}, nil
	case "nobody":
		return account{65534, 65534, "nobody", "/"}, nil
	}
	n, err := strconv.ParseUint(name, 10, 16)
	if err != nil {
		return account{}, fmt.Errorf("user %q does not exist in this bottle: use %q, \"root\" or a number below 65536", name, backend.AgentUser)
	}
	return account{uint32(n), uint32(n), name, "/"}, nil
}

// environment is the bottle's, the command's on top, and the user's home.
func environment(base, extra []string, who account) []string {
	at := map[string]int{}
	var out []string
	add := func(kv string) {
		k, _, _ := strings.Cut(kv, "=")
		if i, ok := at[k]; ok {
			out[i] = kv
			return
		}
		at[k] = len(out)
		out = append(out, kv)
	}
	for _, kv := range base {
		add(kv)
	}
	if who.name != backend.AgentUser {
		add("HOME=" + who.home)
		add("USER=" + who.name)
		add("LOGNAME=" + who.name)
	}
	for _, kv := range extra {
		add(kv)
	}
	return out
}

func workingDir(dir string, who account) (string, error) {
	if dir == "" {
		dir = who.home
		if who.name == backend.AgentUser {
			dir = backend.GuestWorkspace
			if info, err := os.Stat(dir); err == nil && !info.IsDir() {
				dir = who.home
			}
		}
		return dir, nil
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(backend.GuestWorkspace, dir)
	}
	// PID 1 may not be allowed to look; then the command's start decides.
	info, err := os.Stat(dir)
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("working directory %q does not exist in the bottle", dir)
	}
	if err == nil && !info.IsDir() {
		return "", fmt.Errorf("working directory %q is not a directory", dir)
	}
	return dir, nil
}

// lookup finds the program as a shell would: 127 when there is none, 126 when
// there is one that cannot be executed.
func lookup(argv, env []string, dir string) (string, backend.ExitStatus) {
	if len(argv) == 0 || argv[0] == "" {
		return "", failed(127, "the command is empty")
	}
	name := argv[0]
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return executable(name, argv[0])
	}
	status := failed(127, fmt.Sprintf("command %q was not found on the bottle's PATH", argv[0]))
	for _, kv := range env {
		list, ok := strings.CutPrefix(kv, "PATH=")
		if !ok {
			continue
		}
		for _, d := range filepath.SplitList(list) {
			if !filepath.IsAbs(d) {
				d = filepath.Join(dir, d)
			}
			path, st := executable(filepath.Join(d, name), name)
			if path != "" {
				return path, st
			}
			if st.Code == 126 {
				status = st
			}
		}
	}
	return "", status
}

func executable(path, shown string) (string, backend.ExitStatus) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return "", failed(127, fmt.Sprintf("command %q does not exist in the bottle", shown))
	case err != nil:
		return path, backend.ExitStatus{} // not ours to see; the start decides
	case info.IsDir():
		return "", failed(126, fmt.Sprintf("%q is a directory", shown))
	case info.Mode().Perm()&0o111 == 0:
		return "", failed(126, fmt.Sprintf("%q is not executable", shown))
	}
	return path, backend.ExitStatus{}
}

// startFailure explains why fork or execve failed.
func startFailure(path string, err error) backend.ExitStatus {
	switch {
	case errors.Is(err, unix.ENOENT):
		return failed(127, fmt.Sprintf("%q or its interpreter does not exist in the bottle", path))
	case errors.Is(err, unix.EAGAIN):
		return failed(126, "the bottle's limit of processes is reached: end some of them or remove the bottle")
	case errors.Is(err, unix.ENOEXEC):
		return failed(126, fmt.Sprintf("%q is not a program this machine can execute (a script needs a #! line)", path))
	case errors.Is(err, unix.E2BIG):
		return failed(126, "arguments and environment are larger than the kernel allows")
	}
	return failed(126, fmt.Sprintf("start %q: %v", path, err))
}
