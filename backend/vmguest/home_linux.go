package vmguest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// In a guest without capabilities uid 0 can give nothing away (that takes
// CAP_CHOWN), and the agent cannot write where homes are. So root opens the
// parent directory for a moment, the agent makes its own home in it, and root
// closes it. The mode the parent had is kept beside the home, in a symbolic link
// of root's: it is made in one step, and a run that was cut short can be
// repeated.

// Modes of what is made.
const (
	homeMode      = 0o700
	workspaceMode = 0o755
	parentMode    = 0o755
	// openBits let everybody make entries, and nobody remove another's.
	openBits  = unix.S_ISVTX | 0o003
	modeBits  = 0o7777
	writeBits = 0o003 // others may write and search
)

// modeLink is the name of the link that remembers the parent's mode.
const modeLink = ".bottle-mode"

// workspaceName is the workspace's, below the home.
var workspaceName = path.Base(backend.GuestWorkspace) //nolint:gochecknoglobals // a constant

// homeOptions are the arguments of "guest home": what the first phase finds out
// of user, the later ones are told.
type homeOptions struct {
	phase, user, home string
	uid, gid          int
}

func homeMain(args []string, stdout io.Writer) error {
	var o homeOptions
	f := flags(verbHome)
	f.StringVar(&o.phase, "phase", "", "")
	f.StringVar(&o.user, "user", "", "")
	f.StringVar(&o.home, "home", "", "")
	f.IntVar(&o.uid, "uid", -1, "")
	f.IntVar(&o.gid, "gid", -1, "")
	if err := parseFlags(f, args); err != nil {
		return err
	}
	unix.Umask(0o022) // modes are what is said here, whatever the engine's mask
	if o.phase == phaseOpen {
		return o.open(stdout)
	}
	if err := o.check(); err != nil {
		return err
	}
	h, err := openHome(backend.Account{UID: o.uid, GID: o.gid, Home: o.home})
	if err != nil {
		return err
	}
	defer h.close()
	phases := map[string]func() error{phaseMake: h.make, phaseClose: h.shut}
	if err := phases[o.phase](); err != nil {
		return err
	}
	return h.tell(stdout, homeReport{Phase: o.phase})
}

// open is root's first step: everything that the agent's needs.
func (o homeOptions) open(stdout io.Writer) error {
	a, err := whoWorks(o.user)
	if err != nil {
		return err
	}
	h, err := openHome(a)
	if err != nil {
		return err
	}
	defer h.close()
	if err := h.open(); err != nil {
		return err
	}
	return h.tell(stdout, homeReport{Phase: o.phase, Account: &a})
}

func (h *home) tell(stdout io.Writer, r homeReport) error {
	r.Home, r.Did = h.Home, h.done
	if err := json.NewEncoder(stdout).Encode(r); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

func (o homeOptions) check() error {
	switch {
	case o.phase != phaseMake && o.phase != phaseClose:
		return badUsage("--phase must be %s, %s or %s", phaseOpen, phaseMake, phaseClose)
	case o.home != backend.AgentHome && !plausibleHome(o.home):
		return badUsage("--home must be the clean path of a directory that can be a home")
	case o.uid < 1 || o.gid < 1:
		return badUsage("--uid and --gid must be numbers, and not root's")
	}
	return nil
}

// home is the place where a home is being made.
type home struct {
	backend.Account

	parent int // its directory, opened without following links
	done   []string
}

func openHome(a backend.Account) (*home, error) {
	fd, err := openDir(filepath.Dir(a.Home))
	if err != nil {
		return nil, err
	}
	return &home{Account: a, parent: fd, done: []string{}}, nil
}

func (h *home) close()             { _ = unix.Close(h.parent) }
func (h *home) did(what string)    { h.done = append(h.done, what) }
func (h *home) name() string       { return filepath.Base(h.Home) }
func (h *home) dir() string        { return filepath.Dir(h.Home) }
func closeFD(fd int)               { _ = unix.Close(fd) }
func missing(err error) bool       { return errors.Is(err, unix.ENOENT) }
func permissions(m uint32) uint32  { return m & modeBits }
func isDir(st *unix.Stat_t) bool   { return st.Mode&unix.S_IFMT == unix.S_IFDIR }
func owner(st *unix.Stat_t) string { return strconv.FormatUint(uint64(st.Uid), 10) }

// dirFlags open a directory to name entries in it, which takes no right to list
// it.
const dirFlags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// setMode changes the mode of an opened directory.
func setMode(dir int, mode uint32) error {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	return unix.Fchmod(fd, mode)
}

// openDir walks to an absolute path, makes what is missing and follows no link:
// the image decides what stands there.
func openDir(path string) (int, error) {
	fd, err := unix.Open("/", dirFlags, 0)
	if err != nil {
		return -1, fmt.Errorf("open the root directory: %w", err)
	}
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		next, err := openOrMake(fd, name)
		closeFD(fd)
		if err != nil {
			return -1, complain("open directory "+path, err)
		}
		fd = next
	}
	return fd, nil
}

func openOrMake(dir int, name string) (int, error) {
	fd, err := unix.Openat(dir, name, dirFlags, 0)
	if !missing(err) {
		return fd, err
	}
	if err := unix.Mkdirat(dir, name, parentMode); err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, err
	}
	return unix.Openat(dir, name, dirFlags, 0)
}

// complain says what can be done about err.
func complain(what string, err error) error {
	switch {
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%s: the image's root file system is read-only; start it writable, or use an image that has the agent's home: %w", what, err)
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("%s: a part of it is a link or no directory; use an image that has a directory there: %w", what, err)
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("%s: the disk is full; give the bottle a larger one: %w", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// stat looks at an entry of dir itself, also if it is a link.
func stat(dir int, name string) (*unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return &st, err
}

// foreign explains a directory of somebody else's that cannot be replaced.
func (h *home) foreign(path string, st *unix.Stat_t, err error) error {
	return fmt.Errorf("%s belongs to user %s and cannot be replaced (%w): have the image give it to the agent (RUN chown -R %d:%d %s)",
		path, owner(st), err, h.UID, h.GID, h.Home)
}

// open is root's part before the agent makes its own.
func (h *home) open() error {
	removed, err := removeBlockDevices("/dev")
	if err != nil {
		return err
	}
	if removed > 0 {
		h.did("removed " + strconv.Itoa(removed) + " block devices")
	}
	if err := errors.Join(h.accounts(), h.alias()); err != nil {
		return err
	}
	st, err := stat(h.parent, h.name())
	switch {
	case missing(err):
	case err != nil:
		return complain("look at "+h.Home, err)
	case !isDir(st):
		return complain("use "+h.Home, unix.ENOTDIR)
	case int(st.Uid) == h.UID:
		return nil
	default:
		// WORKDIR in a Dockerfile leaves an empty one of root's.
		if err := unix.Unlinkat(h.parent, h.name(), unix.AT_REMOVEDIR); err != nil {
			return h.foreign(h.Home, st, err)
		}
		h.did("removed an empty home of another user")
	}
	return h.openParent()
}

func (h *home) openParent() error {
	var st unix.Stat_t
	if err := unix.Fstat(h.parent, &st); err != nil {
		return complain("look at "+h.dir(), err)
	}
	mode := permissions(st.Mode)
	if mode&writeBits == writeBits || (int(st.Uid) == h.UID && mode&0o300 == 0o300) {
		return nil
	}
	err := unix.Symlinkat(strconv.FormatUint(uint64(mode), 8), h.parent, modeLink)
	if err != nil && !errors.Is(err, unix.EEXIST) { // what a run before remembered is older and true
		return complain("write to "+h.dir(), err)
	}
	if err := setMode(h.parent, mode|openBits); err != nil {
		return complain("open "+h.dir()+" for the agent", err)
	}
	h.did("opened the parent directory")
	return nil
}

// make is the agent's step.
func (h *home) make() error {
	if os.Geteuid() != h.UID {
		return badUsage("phase %s must run as user %d", phaseMake, h.UID)
	}
	fd, err := h.own(h.parent, h.Home, homeMode)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	ws, err := h.own(fd, filepath.Join(h.Home, workspaceName), workspaceMode)
	if err != nil {
		return err
	}
	closeFD(ws)
	return nil
}

// own opens the agent's directory at path, whose own directory is dir, and makes
// it if it is missing or another user's and empty.
func (h *home) own(dir int, path string, mode uint32) (int, error) {
	name := filepath.Base(path)
	st, err := stat(dir, name)
	if err == nil && isDir(st) && int(st.Uid) != h.UID {
		if err := unix.Unlinkat(dir, name, unix.AT_REMOVEDIR); err != nil {
			return -1, h.foreign(path, st, err)
		}
		err = unix.ENOENT
	}
	made := missing(err)
	if made {
		if err := unix.Mkdirat(dir, name, homeMode); err != nil {
			return -1, complain("make "+path, err)
		}
		h.did("made " + path)
	}
	fd, err := unix.Openat(dir, name, dirFlags, 0)
	if err != nil {
		return -1, complain("open "+path, err)
	}
	if !made {
		return fd, nil
	}
	if err := setMode(fd, mode); err != nil {
		closeFD(fd)
		return -1, complain("set the mode of "+path, err)
	}
	return fd, nil
}

// shut is root's last step: the parent's mode as it was, and a look at the
// result.
func (h *home) shut() error {
	if err := h.shutParent(); err != nil {
		return err
	}
	st, err := stat(h.parent, h.name())
	if err != nil {
		return complain("look at "+h.Home, err)
	}
	if !isDir(st) || int(st.Uid) != h.UID {
		return fmt.Errorf("%s is not a directory of user %d: run phase %s as that user first", h.Home, h.UID, phaseMake)
	}
	return nil
}

func (h *home) shutParent() error {
	buf := make([]byte, 16)
	n, err := unix.Readlinkat(h.parent, modeLink, buf)
	if missing(err) {
		return nil
	}
	if err != nil {
		return complain("read the mode of "+h.dir(), err)
	}
	st, err := stat(h.parent, modeLink)
	if err != nil {
		return complain("look at the mode of "+h.dir(), err)
	}
	mode, err := strconv.ParseUint(string(buf[:n]), 8, 12)
	if err != nil || int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s/%s was tampered with: remove the bottle", h.dir(), modeLink)
	}
	if err := setMode(h.parent, uint32(mode)); err != nil {
		return complain("close "+h.dir(), err)
	}
	if err := unix.Unlinkat(h.parent, modeLink, 0); err != nil {
		return complain("close "+h.dir(), err)
	}
	h.did("closed the parent directory")
	return nil
}
