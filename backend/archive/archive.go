package archive

import (
	"errors"
	"os"
)

// Sentinels that callers branch on.
var (
	// ErrLimit means that a stream holds more than UnpackOptions allow. What
	// came before the limit has been unpacked.
	ErrLimit = errors.New("archive is larger than allowed")
	// ErrTruncated means that the stream ended before its end mark.
	ErrTruncated = errors.New("archive ended before its end mark")

	errOutside = errors.New("the name leaves its root")
)

// Source is what Pack reads: a name below a root that is never left.
type Source struct {
	Root *os.Root
	// Name is relative to Root, "." is Root itself. A symbolic link is packed
	// as a link; links in the directories above it are followed inside Root.
	Name string
}

// PackOptions refine Pack.
type PackOptions struct {
	// Exclude holds slash patterns (path.Match on the relative path and on
	// the base name). An excluded directory is left out with all it holds;
	// exclusions are not in the report.
	Exclude []string
	// Omit, when not nil, says why an entry is left out; "" packs it. The report
	// has the reason. A directory is left out with all it holds.
	Omit func(name string, dir bool) string
	// Replace holds what stands in for the content of regular files, by name; the
	// report has the reason.
	Replace map[string]Replacement
}

// Replacement is content in the place of a file's own.
type Replacement struct {
	Content []byte
	Reason  string
}

// UnpackOptions refine Unpack.
type UnpackOptions struct {
	// UID and GID, when not nil, own everything that is unpacked; otherwise
	// the calling process does. The stream's own ids are ignored.
	UID, GID *int
	// MaxBytes and MaxEntries bound the content; 0 means 64 GiB and four
	// million entries. Beyond them Unpack ends with ErrLimit.
	MaxBytes   int64
	MaxEntries int
	// AnyLinks keeps symbolic links whatever they point to. Only right where
	// the whole file system belongs to the stream's sender, as in a guest:
	// elsewhere absolute and escaping targets are left out.
	AnyLinks bool
	// RootMeta applies the mode and time of the stream's "." entry to the
	// destination itself, which is right when it was made for this copy.
	RootMeta bool
	// As, when set, is the name that an entry which is no directory gets; for
	// streams of one file.
	As string
}
