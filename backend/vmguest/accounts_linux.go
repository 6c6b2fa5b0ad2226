package vmguest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxAccounts bounds /etc/passwd and /etc/group.
const maxAccounts = 4 << 20

// accounts sees to it that the agent's ids have names: programs such as ssh and
// git refuse users without one.
func (h *home) accounts() error {
	etc, err := openDir("/etc")
	if err != nil {
		return err
	}
	defer closeFD(etc)
	for _, file := range []struct {
		name string
		id   int
		line string
	}{
		{"passwd", h.uid, fmt.Sprintf("x:%d:%d::%s:%s", h.uid, h.gid, h.home, shell())},
		{"group", h.gid, fmt.Sprintf("x:%d:", h.gid)},
	} {
		added, err := h.account(etc, file.name, file.id, file.line)
		if err != nil {
			return complain("add the agent to /etc/"+file.name, err)
		}
		if added {
			h.did("added a line to /etc/" + file.name)
		}
	}
	return nil
}

func shell() string {
	for _, path := range []string{"/bin/bash", "/usr/bin/bash"} {
		if unix.Access(path, unix.X_OK) == nil {
			return path
		}
	}
	return "/bin/sh"
}

// account appends a line for id unless the file has one.
func (h *home) account(etc int, name string, id int, rest string) (bool, error) {
	fd, err := unix.Openat(etc, name, unix.O_RDONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return false, err
	}
	f := os.NewFile(uintptr(fd), filepath.Join("/etc", name))
	defer func() { _ = f.Close() }()
	data, err := readAccounts(f)
	if err != nil {
		return false, err
	}
	user := h.user
	known, taken := findAccount(data, id, user)
	if known {
		return false, nil
	}
	if taken {
		user += "-" + strconv.Itoa(id)
	}
	line := user + ":" + rest + "\n"
	if len(data) > 0 && data[len(data)-1] != '\n' {
		line = "\n" + line
	}
	return true, appendLine(etc, name, line)
}

func readAccounts(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxAccounts+1))
	if err == nil && len(data) > maxAccounts {
		err = fmt.Errorf("it has more than %d bytes", maxAccounts)
	}
	return data, err
}

func appendLine(dir int, name, line string) error {
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_APPEND|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), filepath.Join("/etc", name))
	_, err = f.WriteString(line)
	return errors.Join(err, f.Close())
}

// findAccount reports whether a file of accounts has a line for id, and one for
// name. The id is the third field of both passwd and group.
func findAccount(data []byte, id int, name string) (known, taken bool) {
	for line := range bytes.Lines(data) {
		f := bytes.Split(bytes.TrimRight(line, "\n"), []byte(":"))
		if len(f) < 3 {
			continue
		}
		known = known || string(f[2]) == strconv.Itoa(id)
		taken = taken || string(f[0]) == name
	}
	return known, taken
}
