package agenthost

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// backupSuffix marks the copy of a file as it was before the last edit.
const backupSuffix = ".bottle-mcp-backup"

// Store is a configuration file on the disk.
type Store struct {
	// Path is where the host looks for it.
	Path string
	// Inside, when set, is a directory that the file must lie in, links
	// followed: a repository decides nothing about files elsewhere.
	Inside string
}

// Read gives the content; nil when there is no file.
func (s Store) Read() ([]byte, error) {
	target, err := s.target()
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(target, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", s.Path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && data == nil {
		data = []byte{}
	}
	return data, err
}

// Write replaces the content old, which Read gave, by doc, in one step. What
// was there is kept beside it, and its name returned. A file that has changed
// since Read is left as it is.
func (s Store) Write(old, doc []byte) (backup string, err error) {
	target, err := s.target()
	if err != nil {
		return "", err
	}
	mode := fs.FileMode(0o600)
	if old != nil {
		info, err := os.Stat(target)
		if err != nil {
			return "", err
		}
		mode = info.Mode().Perm()
		backup = target + backupSuffix
		if err := replace(backup, old, mode); err != nil {
			return "", fmt.Errorf("keep a copy of %s: %w", s.Path, err)
		}
	} else if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		return "", err
	}
	switch now, err := s.Read(); {
	case err != nil:
		return "", err
	case (now == nil) != (old == nil) || !bytes.Equal(now, old):
		return "", fmt.Errorf("%s has changed meanwhile: run the command again", s.Path)
	}
	return backup, replace(target, doc, mode)
}

// target follows the links of the part of the path that exists: people keep
// their settings elsewhere and link them, and a link must not become a file.
func (s Store) target() (string, error) {
	target, err := resolve(s.Path)
	if err != nil || s.Inside == "" {
		return target, err
	}
	inside, err := filepath.EvalSymlinks(s.Inside)
	if err != nil {
		return "", err
	}
	if rel, err := filepath.Rel(inside, target); err != nil || !filepath.IsLocal(rel) {
		return "", fmt.Errorf("%s leads out of the project, to %s: remove the link", s.Path, target)
	}
	return target, nil
}

func resolve(path string) (string, error) {
	rest := ""
	for at := filepath.Clean(path); ; at = filepath.Dir(at) {
		target, err := filepath.EvalSymlinks(at)
		if err == nil {
			return filepath.Join(target, rest), nil
		}
		if !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			return "", err
		}
		if _, err := os.Lstat(at); err == nil {
			return "", fmt.Errorf("%s is a symbolic link that leads nowhere: mend or remove it", at)
		}
		rest = filepath.Join(filepath.Base(at), rest)
	}
}

// replace writes a file so that it is there whole or not at all.
func replace(path string, data []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+strings.TrimPrefix(filepath.Base(path), ".")+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
