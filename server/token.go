package server

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// tokenName is the file that CreateToken keeps in its directory.
const tokenName = "http-token"

// Bounds of a token's length: shorter ones can be guessed, longer ones are no
// tokens.
const (
	minToken = 16
	maxToken = 1024
)

// LoadToken reads a bearer token from a file, without the white space around
// it. It refuses a file that anybody but its owner may read, or that belongs to
// another user.
func LoadToken(path string) (secret.Value, error) {
	f, err := os.Open(path)
	if err != nil {
		return secret.Value{}, fmt.Errorf("cannot open the token file, check --token-file: %w", err)
	}
	defer func() { _ = f.Close() }() // was only read
	// Of the open file, so that it cannot be exchanged in between.
	info, err := f.Stat()
	if err != nil {
		return secret.Value{}, fmt.Errorf("cannot examine the token file: %w", err)
	}
	if err := checkTokenFile(path, info); err != nil {
		return secret.Value{}, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxToken+2))
	if err != nil {
		return secret.Value{}, fmt.Errorf("cannot read the token file: %w", err)
	}
	token := strings.TrimSpace(string(raw))
	if len(token) < minToken || len(token) > maxToken || !printable(token) {
		return secret.Value{}, fmt.Errorf("token file %s must hold one token of %d to %d printable characters; write one, for example with: openssl rand -hex 32", path, minToken, maxToken)
	}
	return secret.New(token), nil
}

func checkTokenFile(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("token file %s is not a regular file; give the path of one", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("token file %s has mode %04o, so others on this machine may use it; run: chmod 600 %s, and change the token", path, mode, path)
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Geteuid() && owner.Uid != 0 {
		return fmt.Errorf("token file %s belongs to user %d, who may read and change it; give one of your own", path, owner.Uid)
	}
	return nil
}

// printable holds for what can stand in a header as it is.
func printable(token string) bool {
	return !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}

// CreateToken returns the token kept in dir and the path of its file. The first
// time it makes a random one, readable by its owner only; later it is the same,
// so that clients' configurations stay valid over restarts.
func CreateToken(dir string) (secret.Value, string, error) {
	path := filepath.Join(dir, tokenName)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return secret.Value{}, "", fmt.Errorf("cannot make the directory of the token: %w", err)
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if err := writeToken(path); err != nil {
			return secret.Value{}, "", fmt.Errorf("cannot write a new token: %w", err)
		}
	}
	token, err := LoadToken(path)
	if err != nil {
		return secret.Value{}, "", err
	}
	return token, path, nil
}

// writeToken makes the file appear whole or not at all, and leaves one that
// another server made meanwhile.
func writeToken(path string) error {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails
	temp, err := os.CreateTemp(filepath.Dir(path), "."+tokenName+"-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }() // the link stays
	_, err = temp.WriteString(base64.RawURLEncoding.EncodeToString(raw) + "\n")
	if err := errors.Join(err, temp.Chmod(0o600), temp.Close()); err != nil {
		return err
	}
	if err := os.Link(temp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
