package archive

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// Bounds of a report: it crosses from a hostile guest to a model.
const (
	maxSkips     = 100
	maxSkipBytes = 512
)

// Reasons that several places give.
const (
	reasonVanished = "it vanished while it was copied"
	reasonSwapped  = "it was replaced while it was copied"
	reasonSetID    = "copied without its set-user-id or set-group-id bit"
)

// tally builds a report.
type tally struct{ report backend.CopyReport }

func newTally() tally {
	return tally{backend.CopyReport{Skipped: []backend.Skip{}}}
}

// skip notes that path was left out, or not copied as it is.
func (t *tally) skip(path, reason string) {
	if len(t.report.Skipped) >= maxSkips {
		t.report.SkippedMore++
		return
	}
	t.report.Skipped = append(t.report.Skipped, backend.Skip{Path: bounded(path), Reason: reason})
}

func (t *tally) skipf(path, format string, args ...any) { t.skip(path, fmt.Sprintf(format, args...)) }

// bounded makes a name fit for a report: valid UTF-8 and not too long.
func bounded(s string) string {
	if len(s) > maxSkipBytes {
		s = s[:maxSkipBytes] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// setID reports whether mode bits hold one that Pack and Unpack drop.
func setID(mode int64) bool { return mode&(unix.S_ISUID|unix.S_ISGID) != 0 }
