package world

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

func mountAt(source, target, kind string, flags uintptr, options string) error {
	if err := unix.Mount(source, target, kind, flags, options); err != nil {
		return fmt.Errorf("%s cannot be mounted at %s of the world: %w", source, target, err)
	}
	return nil
}

func bind(source, target string) error { return mountAt(source, target, "", unix.MS_BIND, "") }

// mountAll gives the world its own view of the file system. Nothing reaches
// the host's mounts, because all of them are private from here on.
func (l layout) mountAll(keep []string) error {
	if err := mountAt("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	kept, err := openAll(keep)
	if err != nil {
		return err
	}
	temporary, err := openAll([]string{l.path("tmp"), l.path("var-tmp")})
	if err != nil {
		return err
	}
	resolvConf := resolverFile()
	var steps []error
	step := func(err error) { steps = append(steps, err) }
	step(mountAt("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""))
	step(mountAt("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""))
	step(mountAt("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"))
	step(mountAt("tmpfs", "/dev/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"))
	step(bind(l.path("etc-containers"), "/etc/containers"))
	step(bind(l.path("containers"), "/var/lib/containers"))
	step(bind(l.path("hosts"), "/etc/hosts"))
	step(os.WriteFile(worldMark, []byte(l.dir), 0o644))
	step(l.placeResolver(resolvConf))
	// The world's directory may be in one of these: they come last, and at once.
	step(showAt([]held{{"/tmp", temporary[0].fd}, {"/var/tmp", temporary[1].fd}}))
	step(showAt(kept))
	// Else /tmp would be found again below itself.
	for _, d := range []string{"tmp", "var-tmp"} {
		step(mountAt("tmpfs", l.path(d), "tmpfs", unix.MS_RDONLY, "size=4k"))
	}
	return errors.Join(steps...)
}

// resolverFile is where /etc/resolv.conf leads: on many machines into /run,
// which is about to be hidden.
func resolverFile() string {
	const name = "/etc/resolv.conf"
	if target, err := filepath.EvalSymlinks(name); err == nil {
		return target
	}
	if target, err := os.Readlink(name); err == nil && filepath.IsAbs(target) {
		return target
	}
	return name
}

func (l layout) placeResolver(target string) error {
	if _, err := os.Stat(target); errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(target, "/run/") {
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(target, nil, 0o644); err != nil {
			return err
		}
	}
	return bind(l.path("resolv.conf"), target)
}

// held is a directory that is open while something is mounted over it.
type held struct {
	path string
	fd   int
}

func openAll(paths []string) ([]held, error) {
	var all []held
	for _, p := range paths {
		fd, err := unix.Open(p, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("%s cannot be kept in the world: %w", p, err)
		}
		all = append(all, held{p, fd})
	}
	return all, nil
}

// showAt mounts what is held at its path.
func showAt(all []held) error {
	for _, h := range all {
		if err := os.MkdirAll(h.path, 0o755); err != nil {
			return err
		}
		// The magic link leads to the directory below what now hides it.
		if err := bind(fmt.Sprintf("/proc/self/fd/%d", h.fd), h.path); err != nil {
			return err
		}
		if err := unix.Close(h.fd); err != nil {
			return err
		}
	}
	return nil
}

// keepers are the directories below the private ones that the payload still
// needs: its own, and those that its flags name (go test has the test binary
// and its logs below /tmp).
func (l layout) keepers() []string {
	candidates := []string{l.dir}
	if exe, err := os.Executable(); err == nil {
		candidates = append(candidates, filepath.Dir(exe))
	}
	if cwd, err := os.Getwd(); err == nil {
		candidates = append(candidates, cwd)
	}
	for _, arg := range os.Args[1:] {
		if _, value, ok := strings.Cut(arg, "="); ok && strings.HasPrefix(arg, "-") && filepath.IsAbs(value) {
			candidates = append(candidates, value, filepath.Dir(value))
		}
	}
	for _, env := range []string{"GOCACHE", "GOMODCACHE", "GOPATH", "GOTMPDIR", "GOCOVERDIR"} {
		candidates = append(candidates, os.Getenv(env))
	}
	var keep []string
	for _, c := range candidates {
		private := strings.HasPrefix(c, "/tmp/") || strings.HasPrefix(c, "/var/tmp/") || strings.HasPrefix(c, "/run/")
		info, err := os.Stat(c)
		if private && err == nil && info.IsDir() && !slices.Contains(keep, c) {
			keep = append(keep, c)
		}
	}
	// Parents first, so that one does not hide the other again.
	slices.Sort(keep)
	return keep
}
