package vmguest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// maxAccounts bounds /etc/passwd and /etc/group.
const maxAccounts = 4 << 20

// whoWorks finds the agent's account in this guest, and a home for it that can be
// its.
func whoWorks(user string) (backend.Account, error) {
	etc, err := openDir("/etc")
	if err != nil {
		return backend.Account{}, err
	}
	defer closeFD(etc)
	var files [2][]byte
	for i, name := range []string{"passwd", "group"} {
		if files[i], err = accountFile(etc, name); err != nil {
			return backend.Account{}, complain("read /etc/"+name, err)
		}
	}
	a, err := choose(user, files[0], files[1])
	if err == nil && !canLive(a) {
		a.Home = backend.AgentHome
	}
	return a, err
}

// canLive reports whether the home that an image names is its user's, or can be
// made for it. A directory of somebody else's with something in it is none, and
// no link is followed to one.
func canLive(a backend.Account) bool {
	if a.Home == backend.AgentHome {
		return true
	}
	deep := filepath.Dir(a.Home) != "/" // nobody makes a directory beside /usr
	fd, err := unix.Open("/", dirFlags, 0)
	if err != nil {
		return false
	}
	for name := range strings.SplitSeq(strings.Trim(a.Home, "/"), "/") {
		next, err := unix.Openat(fd, name, dirFlags, 0)
		closeFD(fd)
		if err != nil {
			return missing(err) && deep
		}
		fd = next
	}
	defer closeFD(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false
	}
	return int(st.Uid) == a.UID || deep && isEmpty(fd)
}

func isEmpty(dir int) bool {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	f := os.NewFile(uintptr(fd), "home")
	defer func() { _ = f.Close() }()
	_, err = f.Readdirnames(1)
	return errors.Is(err, io.EOF)
}

// alias leads from the place where every guest's agent has its home to where this
// image's is.
func (h *home) alias() error {
	if h.Home == backend.AgentHome {
		return nil
	}
	dir, name := filepath.Split(backend.AgentHome)
	fd, err := openDir(filepath.Clean(dir))
	if err != nil {
		return err
	}
	defer closeFD(fd)
	for {
		err := unix.Symlinkat(h.Home, fd, name)
		switch {
		case err == nil:
			h.did("made a link from " + backend.AgentHome)
			return nil
		case !errors.Is(err, unix.EEXIST):
			return complain("make a link at "+backend.AgentHome, err)
		}
		buf := make([]byte, maxHomePath+1)
		if n, err := unix.Readlinkat(fd, name, buf); err == nil && string(buf[:n]) == h.Home {
			return nil
		}
		// Root owns the directory around it: what is empty can go.
		if err := unix.Unlinkat(fd, name, unix.AT_REMOVEDIR); err != nil {
			return fmt.Errorf("%s has to lead to %s, the home of the image's user %s, and something else is there (%w): have the image remove it (RUN rm -rf %s)",
				backend.AgentHome, h.Home, h.Name, err, backend.AgentHome)
		}
	}
}

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
		{"passwd", h.UID, fmt.Sprintf("x:%d:%d::%s:%s", h.UID, h.GID, h.Home, shell())},
		{"group", h.GID, fmt.Sprintf("x:%d:", h.GID)},
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
	data, err := accountFile(etc, name)
	if err != nil {
		return false, err
	}
	user := h.Name
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

// accountFile reads passwd or group, and makes it where there is none.
func accountFile(etc int, name string) ([]byte, error) {
	fd, err := unix.Openat(etc, name, unix.O_RDONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), filepath.Join("/etc", name))
	defer func() { _ = f.Close() }()
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
