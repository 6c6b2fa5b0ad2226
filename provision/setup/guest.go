package setup

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	fileMode = 0o644
	dirMode  = 0o755
	// maxExisting bounds what is read of a file that an image brought. A bundle
	// of CAs has a quarter of a MiB.
	maxExisting = 8 << 20
)

// GuestMain is the verb: specs on stdin, each answered with one line on stdout,
// until there are no more. It returns the exit code: 0 when every file was
// accounted for, whatever became of it, 2 when a spec is not one.
func GuestMain(stdin io.Reader, stdout io.Writer) int {
	return GuestMainAt("/", stdin, stdout)
}

// GuestMainAt is GuestMain with the guest's root at another directory, for tests.
func GuestMainAt(root string, stdin io.Reader, stdout io.Writer) int {
	in := &io.LimitedReader{R: stdin}
	dec := json.NewDecoder(in)
	dec.DisallowUnknownFields()
	for {
		in.N = maxSpec
		var s spec
		err := dec.Decode(&s)
		if errors.Is(err, io.EOF) {
			return 0
		}
		if err == nil {
			err = check(s.Files)
		}
		if err != nil {
			return 2
		}
		r := result{Files: make([]Outcome, len(s.Files))}
		for i, f := range s.Files {
			r.Files[i] = bring(root, f)
		}
		line, err := json.Marshal(r)
		if err != nil {
			return 1
		}
		if _, err := stdout.Write(append(line, '\n')); err != nil {
			return 1
		}
	}
}

// errIrregular is the cause when something else than a file is in the place.
var errIrregular = errors.New("it is no regular file")

// bring puts one file in place and reads it back.
func bring(root string, f File) Outcome {
	p := place{at: filepath.Join(root, f.Path), File: f}
	state, err := p.put()
	o := Outcome{Path: f.Path, State: state}
	switch {
	case err != nil && (state == Left || state == Absent):
		o.Detail = cause(err)
		return o
	case err != nil:
		o.State, o.Detail = Failed, cause(err)
		return o
	case !o.InPlace():
		return o
	}
	back, err := p.readBack(state)
	if err != nil {
		o.State, o.Detail = Failed, "read it back: "+cause(err)
		return o
	}
	o.Sum = sum(back)
	return o
}

// cause leaves out the path, which the report names.
func cause(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Op + ": " + path.Err.Error()
	}
	return err.Error()
}

// place is one file and where it goes.
type place struct {
	File

	at string
}

// put brings the content in place. An error beside Left or Absent says why.
func (p place) put() (State, error) {
	old, err := read(p.at)
	switch {
	case err == nil:
		return p.over(old)
	case errors.Is(err, fs.ErrNotExist):
		return p.make()
	case errors.Is(err, errIrregular) || p.How == Check:
		return Left, err
	}
	return Failed, err
}

// over is put where a regular file is.
func (p place) over(old []byte) (State, error) {
	switch {
	case bytes.Equal(old, p.Content):
		return Present, p.chmod()
	case p.How == Replace:
		return Written, p.replace()
	case p.How == Create:
	case bytes.Contains(old, p.Content):
		return Present, nil
	case p.How == Append || p.How == Extend:
		return Merged, p.append(old)
	}
	return Left, errors.New("the image or an earlier step brought another one")
}

// make is put where nothing is.
func (p place) make() (State, error) {
	if p.How == Extend || p.How == Check {
		return Absent, fs.ErrNotExist
	}
	if err := os.MkdirAll(filepath.Dir(p.at), dirMode); err != nil {
		return Failed, err
	}
	err := p.write(p.at)
	if errors.Is(err, fs.ErrExist) {
		return Left, errors.New("a link that leads nowhere is there")
	}
	if err != nil {
		return Failed, err
	}
	return Written, nil
}

// replace is atomic: a reader sees the old file or the new one.
func (p place) replace() error {
	tmp := p.at + "." + strconv.FormatUint(rand.Uint64(), 36) + ".tmp" //nolint:gosec // uniqueness comes from O_EXCL
	if err := p.write(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, p.at); err != nil {
		_ = os.Remove(tmp)
		return err
	}
	return nil
}

// mode is what the file is made with.
func (p place) mode() fs.FileMode {
	if p.Mode == 0 {
		return fileMode
	}
	return fs.FileMode(p.Mode)
}

// chmod gives a file that has the content already the mode that was asked for.
func (p place) chmod() error {
	if p.How != Replace || p.Mode == 0 {
		return nil
	}
	info, err := os.Stat(p.at)
	if err != nil || info.Mode().Perm() == p.mode() {
		return err
	}
	return os.Chmod(p.at, p.mode())
}

// write makes a new file. After an error nothing of it is left.
func (p place) write(at string) error {
	f, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, p.mode())
	if err != nil {
		return err
	}
	_, err = f.Write(p.Content)
	if err == nil {
		err = f.Chmod(p.mode()) // the umask may have taken bits away
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(at)
	}
	return err
}

// append adds behind what is there, on a line of its own. Where the file is a
// link to another of the user's, that one gets it, as it is the one in use.
func (p place) append(old []byte) error {
	f, err := os.OpenFile(p.at, os.O_WRONLY|os.O_APPEND|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	add := p.Content
	if n := len(old); n > 0 && old[n-1] != '\n' {
		add = append([]byte("\n"), add...)
	}
	_, err = f.Write(add)
	return errors.Join(err, f.Close())
}

// readBack is the content as it stands in the file now.
func (p place) readBack(state State) ([]byte, error) {
	now, err := read(p.at)
	switch {
	case err != nil:
		return nil, err
	case state == Merged:
		return now[max(0, len(now)-len(p.Content)):], nil
	case p.How == Create || p.How == Replace:
		return now, nil
	}
	if i := bytes.Index(now, p.Content); i >= 0 {
		return now[i : i+len(p.Content)], nil
	}
	return now, nil
}

// read returns a regular file. Nothing else is opened for longer than a look:
// an image may have a pipe there.
func read(at string) ([]byte, error) {
	f, err := os.OpenFile(at, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errIrregular
	}
	data, err := io.ReadAll(io.LimitReader(f, maxExisting+1))
	if err == nil && len(data) > maxExisting {
		err = fmt.Errorf("%w of a usual size", errIrregular)
	}
	return data, err
}
