package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Find returns the absolute path of the program that Run would start for name:
// name itself when it has a slash, else the first executable file of that name in
// the PATH of env, else of this process. Relative entries of PATH are skipped:
// what a program's name means must not depend on a working directory. The error
// wraps fs.ErrNotExist when there is none.
func Find(name string, env []string) (string, error) {
	if name == "" {
		return "", fmt.Errorf("no program is named: %w", fs.ErrNotExist)
	}
	if strings.ContainsRune(name, '/') {
		path, err := filepath.Abs(name) // Spec.Dir does not change what it means
		if err != nil {
			return "", err
		}
		return path, executable(path)
	}
	var blocked error
	for _, dir := range filepath.SplitList(searchPath(env)) {
		if !filepath.IsAbs(dir) {
			continue
		}
		path := filepath.Join(dir, name)
		err := executable(path)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && blocked == nil {
			blocked = err
		}
	}
	if blocked != nil {
		return "", blocked
	}
	return "", fmt.Errorf("program %.100q is not on PATH: %w", name, fs.ErrNotExist)
}

func searchPath(env []string) string {
	path, ok := "", false
	for _, kv := range env {
		if v, is := strings.CutPrefix(kv, "PATH="); is {
			path, ok = v, true // the last one counts, as in os/exec
		}
	}
	if !ok {
		path = os.Getenv("PATH")
	}
	return path
}

func executable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("%s is not an executable file: %w", path, fs.ErrPermission)
	}
	return nil
}
