package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
)

// probeFileSize is that of the file copied in and out.
const probeFileSize = 1 << 20

// writeProbeWorkspace makes a small directory of what copies get wrong: an
// executable, an empty file, an empty directory, a link, an odd name.
func writeProbeWorkspace(dir string) error {
	random := make([]byte, probeFileSize)
	if _, err := rand.Read(random); err != nil {
		return fmt.Errorf("no random bytes: %w", err)
	}
	files := []struct {
		name string
		data []byte
		mode fs.FileMode
	}{
		{"random.bin", random, 0o640},
		{"sub/run.sh", []byte("#!/bin/sh\necho ran\n"), 0o755},
		{"sub/empty", nil, 0o600},
		{"sub/odd 'name'", []byte("x"), 0o644},
	}
	for _, sub := range []string{"sub", "hollow"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o750); err != nil {
			return fmt.Errorf("probe cannot write its workspace: %w", err)
		}
	}
	for _, f := range files {
		path := filepath.Join(dir, f.name)
		if err := os.WriteFile(path, f.data, f.mode); err != nil {
			return fmt.Errorf("probe cannot write its workspace: %w", err)
		}
		if err := os.Chmod(path, f.mode); err != nil { // whatever the umask
			return fmt.Errorf("probe cannot write its workspace: %w", err)
		}
	}
	if err := os.Symlink("run.sh", filepath.Join(dir, "sub", "link")); err != nil {
		return fmt.Errorf("probe cannot write its workspace: %w", err)
	}
	return nil
}

// files checks copies both ways against digests taken on both sides.
func (p *probe) files(ctx context.Context, s *probeSection) {
	source := filepath.Join(p.work, "workspace")
	s.check("workspace runs", func() (string, error) {
		got, err := p.command(ctx, "", backend.GuestWorkspace+"/sub/link")
		return same(got, err, strings.TrimSpace(got.stdout), "ran")
	})
	s.check("copy in", func() (string, error) {
		result, err := p.bottles.CopyIn(ctx, operator, p.bottle.ID, source, backend.AgentHome+"/probe-in", provision.CopyOptions{})
		if err == nil && len(result.Skipped) > 0 {
			err = fmt.Errorf("%s was skipped: %s", result.Skipped[0].Path, result.Skipped[0].Reason)
		}
		return fmt.Sprintf("%d files, %s", result.Files, bytesText(result.Bytes)), err
	})
	s.check("sha256 inside", func() (string, error) {
		want, err := fileDigest(filepath.Join(source, "random.bin"))
		if err != nil {
			return "", err
		}
		got, err := p.command(ctx, "", "sh", "-c", "sha256sum < \"$1\" | cut -d ' ' -f 1", "sh", backend.AgentHome+"/probe-in/random.bin")
		_, err = same(got, err, strings.TrimSpace(got.stdout), want)
		return want[:16] + "… on both sides", err
	})
	s.check("copy out and compare", func() (string, error) {
		back := filepath.Join(p.work, "back")
		result, err := p.bottles.CopyOut(ctx, operator, p.bottle.ID, backend.AgentHome+"/probe-in", back, provision.CopyOptions{})
		if err != nil {
			return "", err
		}
		if err := sameTree(source, back); err != nil {
			return "", err
		}
		return fmt.Sprintf("%d files, modes and links equal", result.Files), nil
	})
	s.check("one file inline", func() (string, error) {
		content := "caf\u00e9 \x00 end"
		path := backend.AgentHome + "/inline"
		if _, err := p.bottles.WriteFile(ctx, operator, p.bottle.ID, path, []byte(content), provision.CopyOptions{}); err != nil {
			return "", err
		}
		got, size, err := p.bottles.ReadFile(ctx, operator, p.bottle.ID, path, 1<<10)
		if err == nil && (string(got) != content || size != int64(len(content))) {
			err = fmt.Errorf("read back %q, %d bytes", got, size)
		}
		return fmt.Sprintf("%d bytes", size), err
	})
}

// fileDigest is the hex SHA-256 of a file.
func fileDigest(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("digest: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// sameTree is an error naming the first difference between two trees.
func sameTree(want, got string) error {
	wanted, err := treeLines(want)
	if err != nil {
		return err
	}
	found, err := treeLines(got)
	if err != nil {
		return err
	}
	for _, line := range wanted {
		if !slices.Contains(found, line) {
			return fmt.Errorf("missing or changed after the copy: %s", line)
		}
	}
	for _, line := range found {
		if !slices.Contains(wanted, line) {
			return fmt.Errorf("not in the original: %s", line)
		}
	}
	return nil
}

// treeLines describes every entry below dir: path, type, permissions, content.
func treeLines(dir string) ([]string, error) {
	var lines []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		content, mode := "", info.Mode().String()
		switch {
		case info.Mode().IsRegular():
			content, err = fileDigest(path)
		case info.Mode()&fs.ModeSymlink != 0:
			content, err = os.Readlink(path)
			mode = "link" // permissions of a link mean nothing and differ by system
		}
		lines = append(lines, strings.Join([]string{name, mode, content}, " "))
		return err
	})
	if err == nil && len(lines) == 0 {
		err = errors.New("nothing below " + dir)
	}
	return lines, err
}
