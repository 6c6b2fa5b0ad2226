package pid1

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// newSuffix marks a file that is being written.
const newSuffix = ".new"

// WriteConfig writes the directory that is mounted in a sidecar, and makes it
// when there is none: the configuration, the CA, one file per token (that of
// sidecars.Bottles among them), the roots
// that upstreams are verified with when there are any, and an empty log
// directory. Each file is replaced atomically, the configuration last.
//
// It may be called again for a sidecar that runs, before it is sent SIGHUP: a
// CA key, tokens and roots that are not given then stay as the sidecar knows
// them.
func WriteConfig(dir string, cfg sidecars.Config, secrets sidecars.Secrets, roots []byte) error {
	files, err := configFiles(cfg, secrets, roots)
	if err != nil {
		return fmt.Errorf("write the sidecar's configuration: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("write the sidecar's configuration: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("write the sidecar's configuration: %w", err)
	}
	defer func() { _ = root.Close() }()
	for _, sub := range []string{sidecars.CADir, sidecars.TokensDir, sidecars.LogDir} {
		if err := makePrivate(root, sub); err != nil {
			return fmt.Errorf("write the sidecar's configuration: %w", err)
		}
	}
	for _, f := range files {
		if err := replaceFile(root, f.name, f.data); err != nil {
			return fmt.Errorf("write the sidecar's configuration: %w", err)
		}
	}
	return nil
}

// Change is another policy for a sidecar that runs, with the tokens that are
// new to it.
type Change struct {
	Config sidecars.Config
	Tokens map[string]secret.Value
}

// Write writes the change into the mounted directory, where the sidecar finds it
// when it is told to reload. Undo puts back the configuration there was.
func (c Change) Write(dir string) (undo func() error, err error) {
	file := path.Join(dir, sidecars.ConfigFile)
	before, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the sidecar's configuration: %w", err)
	}
	if err := WriteConfig(dir, c.Config, sidecars.Secrets{Tokens: c.Tokens}, nil); err != nil {
		return nil, err
	}
	return func() error {
		root, err := os.OpenRoot(dir)
		if err == nil {
			err = errors.Join(replaceFile(root, sidecars.ConfigFile, before), root.Close())
		}
		if err != nil {
			return fmt.Errorf("put the sidecar's configuration back: %w", err)
		}
		return nil
	}, nil
}

// RemoveSecrets removes the CA's key and the tokens that WriteConfig wrote:
// call it once the sidecar is ready, which keeps them in memory. What is gone
// already is no error.
func RemoveSecrets(dir string) error {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove the sidecar's secrets: %w", err)
	}
	defer func() { _ = root.Close() }()
	key := path.Join(sidecars.CADir, sidecars.CAKeyFile)
	names := []string{key, key + newSuffix}
	tokens, err := fs.ReadDir(root.FS(), sidecars.TokensDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the sidecar's secrets: %w", err)
	}
	for _, t := range tokens {
		names = append(names, path.Join(sidecars.TokensDir, t.Name()))
	}
	var faults []error
	for _, name := range names {
		if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			faults = append(faults, fmt.Errorf("remove the sidecar's secrets: %w; remove the file by hand", err))
		}
	}
	return errors.Join(faults...)
}

type configFile struct {
	name string
	data []byte
}

// configFiles are the files in the order in which they are written.
func configFiles(cfg sidecars.Config, secrets sidecars.Secrets, roots []byte) ([]configFile, error) {
	var files []configFile
	add := func(dir, name string, data []byte) {
		files = append(files, configFile{path.Join(dir, name), data})
	}
	if cfg.CACert != "" {
		add(sidecars.CADir, sidecars.CACertFile, []byte(cfg.CACert))
	}
	if !secrets.CAKey.Empty() {
		add(sidecars.CADir, sidecars.CAKeyFile, []byte(secrets.CAKey.Reveal()))
	}
	for slot, token := range secrets.Tokens {
		if err := checkSlot(slot); err != nil {
			return nil, err
		}
		if slot == sidecars.BottlesTokenFile || isNamed(slot) {
			return nil, fmt.Errorf("token slot %q is the sidecar's own: choose another", slot)
		}
		add(sidecars.TokensDir, slot, []byte(token.Reveal()))
	}
	for prefix, all := range map[string][]sidecars.Named{knownPrefix: secrets.Known, canaryPrefix: secrets.Canaries} {
		named, err := namedFiles(prefix, all)
		if err != nil {
			return nil, err
		}
		for _, f := range named {
			add(sidecars.TokensDir, f.name, f.data)
		}
	}
	if !secrets.BottlesToken.Empty() {
		add(sidecars.TokensDir, sidecars.BottlesTokenFile, []byte(secrets.BottlesToken.Reveal()))
	}
	if len(roots) > 0 {
		add("", sidecars.RootsFile, roots)
	}
	routes, err := encodeConfig(cfg)
	if err != nil {
		return nil, err
	}
	add("", sidecars.ConfigFile, routes)
	return files, nil
}

// fileConfig is sidecars.Config as it stands in sidecars.ConfigFile.
type fileConfig struct {
	Bottle       string                `json:"bottle"`
	Routes       []sidecars.Route      `json:"routes"`
	Placeholders []string              `json:"placeholders,omitempty"`
	Ledger       sidecars.LedgerPolicy `json:"ledger,omitzero"`
}

func encodeConfig(cfg sidecars.Config) ([]byte, error) {
	f := fileConfig{Bottle: cfg.Bottle, Routes: cfg.Routes, Placeholders: cfg.Placeholders, Ledger: cfg.Ledger}
	if f.Routes == nil {
		f.Routes = []sidecars.Route{}
	}
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

// ConfigDigest is what a Report says of a sidecar in which cfg is in force.
func ConfigDigest(cfg sidecars.Config) (string, error) {
	data, err := encodeConfig(cfg)
	if err != nil {
		return "", fmt.Errorf("encode the sidecar's configuration: %w", err)
	}
	return digestOf(data), nil
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// makePrivate makes a directory, or closes one that is there to others.
func makePrivate(root *os.Root, name string) error {
	if err := root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := root.Lstat(name)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory: remove it", name)
	}
	return root.Chmod(name, 0o700)
}

// replaceFile never shows half a file to the sidecar, which may read at any
// moment.
func replaceFile(root *os.Root, name string, data []byte) error {
	temporary := name + newSuffix
	if err := root.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = root.Rename(temporary, name)
	}
	if err != nil {
		return errors.Join(err, root.Remove(temporary))
	}
	return nil
}
