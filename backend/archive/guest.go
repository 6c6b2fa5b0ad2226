package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// The verbs of GuestMain.
const (
	verbUnpack     = "unpack"
	verbUnpackFile = "unpack-file"
	verbPack       = "pack"
)

// outcome is the line that GuestMain ends with.
type outcome struct {
	Report backend.CopyReport `json:"report"`
	Error  string             `json:"error,omitempty"`
	// Kind is the error's class where a caller branches on it.
	Kind string `json:"kind,omitempty"`
}

// errorKinds are the classes that cross from the guest to the host.
var errorKinds = map[string]error{
	"not-exist":  fs.ErrNotExist,
	"permission": fs.ErrPermission,
	"limit":      ErrLimit,
	"truncated":  ErrTruncated,
}

// GuestMain runs the hidden verbs inside a guest, as the user who owns the
// guest's side of the copy. args is "unpack DEST" or, for one file that DEST
// names itself unless it is a directory, "unpack-file DEST" (tar on stdin,
// report as the last line of stdout), or "pack SRC" (tar on stdout, report as
// the last line of stderr). It returns the exit code: 0, 1 when the copy failed (the report
// says how), 2 when args are wrong.
func GuestMain(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) != 2 || !filepath.IsAbs(args[1]) {
		_, _ = fmt.Fprintln(stderr, "usage: guest unpack DEST | guest unpack-file DEST | guest pack SRC, with an absolute path")
		return 2
	}
	switch args[0] {
	case verbUnpack:
		report, err := unpackHere(ctx, stdin, args[1], UnpackOptions{AnyLinks: true})
		return finish(stdout, report, err)
	case verbUnpackFile:
		dest, opts := args[1], UnpackOptions{AnyLinks: true}
		if info, err := os.Stat(dest); err != nil || !info.IsDir() {
			dest, opts.As = filepath.Split(dest)
			opts.MaxEntries = 1
		}
		report, err := unpackHere(ctx, stdin, dest, opts)
		return finish(stdout, report, err)
	case verbPack:
		report, err := packHere(ctx, stdout, args[1])
		return finish(stderr, report, err)
	}
	_, _ = fmt.Fprintf(stderr, "guest has no verb %q: use unpack or pack\n", args[0])
	return 2
}

func finish(w io.Writer, report backend.CopyReport, err error) int {
	out := outcome{Report: report}
	if err != nil {
		out.Error = bounded(err.Error())
		for kind, target := range errorKinds {
			if errors.Is(err, target) {
				out.Kind = kind
			}
		}
	}
	line, jsonErr := json.Marshal(out)
	if jsonErr != nil {
		return 1
	}
	if _, writeErr := w.Write(append(line, '\n')); writeErr != nil || err != nil {
		return 1
	}
	return 0
}

// unpackHere unpacks below dest, which is made when it is missing.
func unpackHere(ctx context.Context, stdin io.Reader, dest string, opts UnpackOptions) (backend.CopyReport, error) {
	if _, err := os.Lstat(dest); errors.Is(err, fs.ErrNotExist) {
		opts.RootMeta = true
	}
	if err := os.MkdirAll(dest, modeNewDir); err != nil {
		return newTally().report, fmt.Errorf("make the destination: %w", err)
	}
	root, err := os.OpenRoot(dest)
	if err != nil {
		return newTally().report, fmt.Errorf("open the destination: %w", err)
	}
	defer func() { _ = root.Close() }()
	return Unpack(ctx, stdin, root, opts)
}

func packHere(ctx context.Context, stdout io.Writer, src string) (backend.CopyReport, error) {
	dir, base := filepath.Split(filepath.Clean(src))
	if base == "" {
		base = "." // the root directory
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return newTally().report, fmt.Errorf("open the source's directory: %w", err)
	}
	defer func() { _ = root.Close() }()
	return Pack(ctx, stdout, Source{Root: root, Name: base}, PackOptions{})
}
