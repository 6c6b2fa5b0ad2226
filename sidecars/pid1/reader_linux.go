package pid1

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// Bounds of what is read from the mounted directory.
const (
	maxConfig = 1 << 20
	maxPEM    = 64 << 10
	maxRoots  = 4 << 20
	maxToken  = 16 << 10
	maxTokens = 256
)

const (
	readFlags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	dirFlags  = readFlags | unix.O_DIRECTORY
)

// directory is one that the host mounted, opened. No link below it is followed
// and nothing but a regular file is read.
type directory struct {
	fd   int
	path string // for messages
}

func openDirectory(path string) (*directory, error) {
	fd, err := unix.Open(path, dirFlags, 0)
	if err != nil {
		return nil, fmt.Errorf("open the configuration directory %s: %w; mount it there", path, err)
	}
	return &directory{fd, path}, nil
}

func (d *directory) close() { _ = unix.Close(d.fd) }

func (d *directory) sub(name string) (*directory, error) {
	fd, err := unix.Openat(d.fd, name, dirFlags, 0)
	if err != nil {
		return nil, fmt.Errorf("open directory %s/%s: %w", d.path, name, err)
	}
	return &directory{fd, d.path + "/" + name}, nil
}

// open opens a regular file of this directory.
func (d *directory) open(name string, flags int, mode uint32) (*os.File, error) {
	fd, err := unix.Openat(d.fd, name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, mode)
	if err != nil {
		return nil, fmt.Errorf("open %s/%s: %w", d.path, name, err)
	}
	var stat unix.Stat_t
	err = unix.Fstat(fd, &stat)
	if err == nil && stat.Mode&unix.S_IFMT != unix.S_IFREG {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("open %s/%s: %w", d.path, name, err)
	}
	return os.NewFile(uintptr(fd), d.path+"/"+name), nil
}

// read reads a whole file of at most limit bytes. The error wraps
// os.ErrNotExist when there is none.
func (d *directory) read(name string, limit int64) ([]byte, error) {
	f, err := d.open(name, unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read %s/%s: %w", d.path, name, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("read %s/%s: it has more than %d bytes", d.path, name, limit)
	}
	return data, nil
}

// readOptional is read, with nil for what is not there.
func (d *directory) readOptional(name string, limit int64) ([]byte, error) {
	data, err := d.read(name, limit)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// loadSettings reads everything that is in the directory. What the first start
// cannot do without may be missing, see settings.after.
func loadSettings(path string) (*settings, error) {
	d, err := openDirectory(path)
	if err != nil {
		return nil, err
	}
	defer d.close()
	data, err := d.read(sidecars.ConfigFile, maxConfig)
	if err != nil {
		return nil, err
	}
	s := &settings{digest: digestOf(data)}
	if s.config, err = decodeConfig(data); err != nil {
		return nil, fmt.Errorf("%s/%s: %w", path, sidecars.ConfigFile, err)
	}
	if s.roots, err = d.readOptional(sidecars.RootsFile, maxRoots); err != nil {
		return nil, err
	}
	if err := d.loadCA(s); err != nil {
		return nil, err
	}
	s.secrets.Tokens, err = d.loadTokens()
	if token, ok := s.secrets.Tokens[sidecars.BottlesTokenFile]; ok {
		s.secrets.BottlesToken = token
		delete(s.secrets.Tokens, sidecars.BottlesTokenFile)
	}
	s.secrets.Known, s.secrets.Canaries = takeNamed(s.secrets.Tokens, knownPrefix), takeNamed(s.secrets.Tokens, canaryPrefix)
	return s, err
}

func (d *directory) loadCA(s *settings) error {
	sub, err := d.sub(sidecars.CADir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer sub.close()
	cert, err := sub.readOptional(sidecars.CACertFile, maxPEM)
	if err != nil {
		return err
	}
	key, err := sub.readOptional(sidecars.CAKeyFile, maxPEM)
	s.config.CACert, s.secrets.CAKey = string(cert), secret.New(string(key))
	clear(key)
	return err
}

func (d *directory) loadTokens() (map[string]secret.Value, error) {
	tokens := map[string]secret.Value{}
	sub, err := d.sub(sidecars.TokensDir)
	if errors.Is(err, os.ErrNotExist) {
		return tokens, nil
	}
	if err != nil {
		return nil, err
	}
	list := os.NewFile(uintptr(sub.fd), sub.path)
	defer func() { _ = list.Close() }()
	slots, err := list.Readdirnames(maxTokens + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("list %s: %w", sub.path, err)
	}
	if len(slots) > maxTokens {
		return nil, fmt.Errorf("%s holds more than %d tokens", sub.path, maxTokens)
	}
	for _, slot := range slots {
		if strings.HasSuffix(slot, newSuffix) {
			continue // being written, or left by a writer that died
		}
		if err := checkSlot(slot); err != nil {
			return nil, fmt.Errorf("%s: %w", sub.path, err)
		}
		data, err := sub.read(slot, maxToken)
		if errors.Is(err, os.ErrNotExist) {
			continue // the host removes tokens at any moment
		}
		if err != nil {
			return nil, err
		}
		tokens[slot] = secret.New(string(data))
		clear(data)
	}
	return tokens, nil
}

// logFiles are the files that the init writes, in the mounted directory.
type logFiles struct {
	dir    *directory
	ledger []*os.File // decisions
	errors *os.File   // what the init and its daemons say
}

const logFlags = unix.O_RDWR | unix.O_APPEND | unix.O_CREAT

func (l *logFiles) records() []int {
	var fds []int
	for _, f := range l.ledger {
		fds = append(fds, int(f.Fd()))
	}
	return fds
}

// openLogs opens the logs, for the life of the init. Without the one of
// decisions nothing is served.
func openLogs(path string, lines *lineLog) (*logFiles, error) {
	d, err := openDirectory(path)
	if err != nil {
		return nil, err
	}
	defer d.close()
	dir, err := d.sub(sidecars.LogDir)
	if err != nil {
		return nil, err
	}
	l := &logFiles{dir: dir}
	if l.errors, err = dir.open(sidecars.ErrorLog, logFlags, 0o600); err != nil {
		return nil, err
	}
	size, err := l.errors.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", l.errors.Name(), err)
	}
	lines.toFile(l.errors, int(size), l.renew)
	for _, name := range ledger.Names() {
		f, err := dir.open(name, logFlags, 0o600)
		if err != nil {
			return nil, err
		}
		l.ledger = append(l.ledger, f)
	}
	return l, nil
}

// renew puts the error log aside under one more name, replacing the one before.
func (l *logFiles) renew() (io.Writer, error) {
	err := unix.Renameat(l.dir.fd, sidecars.ErrorLog, l.dir.fd, sidecars.ErrorLog+".1")
	if err != nil {
		return nil, err
	}
	next, err := l.dir.open(sidecars.ErrorLog, logFlags, 0o600)
	if err != nil {
		return nil, err
	}
	_ = l.errors.Close() // its lines are written; nothing is left to lose
	l.errors = next
	return next, nil
}
