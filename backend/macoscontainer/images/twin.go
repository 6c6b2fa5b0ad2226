package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// twin is the linux build of this program that guests run.
type twin struct {
	path   string // absolute
	arch   string
	source string // where it was found, for people
}

// twinName is the file that `just sidecar-linux` and releases make.
func twinName(arch string) string { return "bottle-mcp-linux-" + arch }

// Twin finds the linux build of this program for the guests' architecture and
// returns its absolute path. It looks in this order: BOTTLE_MCP_LINUX_BINARY; on
// a Linux host this executable; the one embedded in a release; beside this
// executable; in bin/ beside it. The first that exists must be right: another
// version inside the guests than outside is an error, unless the operator named
// it.
func (i *Images) Twin(ctx context.Context) (string, error) {
	t, err := i.findTwin(ctx)
	return t.path, err
}

func (i *Images) findTwin(ctx context.Context) (twin, error) {
	if err := ctx.Err(); err != nil {
		return twin{}, context.Cause(ctx)
	}
	if path := i.setting(EnvLinuxBinary); path != "" {
		return i.namedTwin(path)
	}
	arch := i.cfg.Architecture
	if i.host.system == "linux" && arch == i.host.arch {
		path, err := i.host.executable()
		if err != nil {
			return twin{}, fmt.Errorf("find this executable: %w", err)
		}
		return i.checkedTwin(path, "this executable")
	}
	if i.host.twin != "" && arch == "arm64" {
		path, err := i.unpackTwin()
		if err != nil {
			return twin{}, err
		}
		return i.checkedTwin(path, "embedded in this executable")
	}
	for _, path := range i.besideExecutable(twinName(arch)) {
		_, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return twin{}, fmt.Errorf("look for the linux build of this program: %w", err)
		}
		return i.checkedTwin(path, "beside this executable")
	}
	return twin{}, fmt.Errorf("the linux/%s build of this program, which guests run, is not here: make it with `just sidecar-linux %s`, or put %s of the same release beside this executable, or name it in %s",
		arch, arch, twinName(arch), EnvLinuxBinary)
}

// namedTwin takes the operator's word for the version, not for the rest: a
// binary that cannot run in a guest helps nobody.
func (i *Images) namedTwin(path string) (twin, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return twin{}, fmt.Errorf("%s: %w", EnvLinuxBinary, err)
	}
	build, err := inspectBinary(path, i.cfg.Architecture)
	if err != nil {
		return twin{}, fmt.Errorf("%s: %w", EnvLinuxBinary, err)
	}
	if own, ok := i.host.build(); ok {
		if difference := differs(own, build); difference != "" {
			i.log.Warn("guests run another build of this program than the host", "setting", EnvLinuxBinary, "difference", difference)
		}
	}
	return twin{path: path, arch: i.cfg.Architecture, source: EnvLinuxBinary}, nil
}

func (i *Images) checkedTwin(path, source string) (twin, error) {
	build, err := inspectBinary(path, i.cfg.Architecture)
	if err != nil {
		return twin{}, fmt.Errorf("the linux build of this program (%s): %w; make another with `just sidecar-linux %s`, or name one in %s",
			source, err, i.cfg.Architecture, EnvLinuxBinary)
	}
	if own, ok := i.host.build(); ok {
		if difference := differs(own, build); difference != "" {
			return twin{}, fmt.Errorf("%s is not the build of this program: %s; make it anew with `just sidecar-linux %s`, or set %s to use it all the same",
				path, difference, i.cfg.Architecture, EnvLinuxBinary)
		}
	}
	return twin{path: path, arch: i.cfg.Architecture, source: source}, nil
}

// besideExecutable lists where a file that belongs to this executable may be:
// beside it and in bin/ beside it, for the name it was started by and for the
// file behind that name.
func (i *Images) besideExecutable(name string) []string {
	exe, err := i.host.executable()
	if err != nil {
		return nil
	}
	dirs := []string{filepath.Dir(exe)}
	if target, err := filepath.EvalSymlinks(exe); err == nil {
		dirs = append(dirs, filepath.Dir(target))
	}
	var paths []string
	for _, dir := range slices.Compact(dirs) {
		paths = append(paths, filepath.Join(dir, name), filepath.Join(dir, "bin", name))
	}
	return paths
}

// unpackTwin writes the embedded twin into the cache, once, under the name of
// its content.
func (i *Images) unpackTwin() (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.embedded != "" {
		if info, err := os.Stat(i.embedded); err == nil && info.Size() == int64(len(i.host.twin)) {
			return i.embedded, nil
		}
	}
	dir, err := i.cache()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(i.host.twin))
	path := filepath.Join(dir, twinName("arm64")+"-"+hex.EncodeToString(sum[:]))
	if !holds(path, sum) {
		if err := replaceFile(path, i.host.twin); err != nil {
			return "", fmt.Errorf("write the embedded linux build of this program: %w", err)
		}
	}
	i.embedded = path
	return path, nil
}

// holds reports whether the file has that content: one that was cut short or
// touched is written anew.
func holds(path string, sum [sha256.Size]byte) bool {
	data, err := os.ReadFile(path)
	return err == nil && sha256.Sum256(data) == sum
}

// replaceFile writes an executable file at once.
func replaceFile(path, content string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = strings.NewReader(content).WriteTo(f)
	if err = errors.Join(err, f.Chmod(0o755), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
