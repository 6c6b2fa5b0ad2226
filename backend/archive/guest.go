package archive

import (
	"context"
	"io"
)

// GuestMain runs the hidden verbs inside a guest, as the user who owns the
// guest's side of the copy. args is "unpack DEST" (tar on stdin, report as the
// last line of stdout) or "pack SRC" (tar on stdout, report as the last line
// of stderr). It returns the exit code.
func GuestMain(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return 1
}
