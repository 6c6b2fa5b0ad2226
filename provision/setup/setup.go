package setup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// Bounds of one run.
const (
	// MaxResult bounds what the guest may answer.
	MaxResult = 256 << 10

	maxFiles  = 256
	maxDetail = 300
	maxSpec   = 16 << 20
)

// How says what happens where something is already.
type How string

// The ways to bring a file.
const (
	// Create makes a file and leaves one that is there.
	Create How = "create"
	// Replace makes a file or replaces it: for places of our own.
	Replace How = "replace"
	// Append adds the content behind what is there, once, or makes the file.
	Append How = "append"
	// Extend is Append for a file that is there; where it is not, nothing is
	// made.
	Extend How = "extend"
	// Check only reads: the content must be somewhere in the file.
	Check How = "check"
)

// File is one file that a guest is to have.
type File struct {
	Path string `json:"path"` // absolute and clean
	// Content may be empty only with Replace.
	Content []byte `json:"content"`
	How     How    `json:"how"`
	// Mode is the permission bits of what is made or replaced; 0 = 0644.
	Mode uint32 `json:"mode,omitempty"`
}

// State is what became of a file.
type State string

// The states. In the first three the content is in place and was read back.
const (
	Written State = "written"
	Present State = "present" // it was there before
	Merged  State = "merged"  // added to what was there
	Left    State = "left"    // something else is there and stays
	Absent  State = "absent"  // not there, for Extend and Check
	Failed  State = "failed"
)

// Outcome is what became of one file.
type Outcome struct {
	Path  string `json:"path"`
	State State  `json:"state"`
	// Sum is the SHA-256 of the content as it was read back, in hex.
	Sum    string `json:"sum,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// InPlace reports whether the guest has the content.
func (o Outcome) InPlace() bool {
	return o.State == Written || o.State == Present || o.State == Merged
}

// spec and result are what the two halves say to each other.
type spec struct {
	Files []File `json:"files"`
}

type result struct {
	Files []Outcome `json:"files"`
}

// Argv is what runs the guest's half, with the spec on its standard input.
func Argv() []string { return []string{backend.GuestBinary, "guest", "setup"} }

// Encode makes the guest's input for some files. It may be followed by more.
func Encode(files []File) ([]byte, error) {
	if err := check(files); err != nil {
		return nil, err
	}
	data, err := json.Marshal(spec{files})
	if err != nil {
		return nil, fmt.Errorf("encode the files for the guest: %w", err)
	}
	if len(data) > maxSpec {
		return nil, fmt.Errorf("the files for the guest have more than %d bytes", maxSpec)
	}
	return append(data, '\n'), nil
}

// check refuses what no guest's half would do as meant.
func check(files []File) error {
	if len(files) > maxFiles {
		return fmt.Errorf("%d files for the guest are more than %d", len(files), maxFiles)
	}
	seen := map[string]bool{}
	for _, f := range files {
		switch {
		case !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || strings.ContainsRune(f.Path, 0):
			return fmt.Errorf("%.200q is not an absolute clean path", f.Path)
		case seen[f.Path]:
			return fmt.Errorf("%s is there twice", f.Path)
		case len(f.Content) == 0 && f.How != Replace:
			return fmt.Errorf("%s has no content", f.Path)
		case f.Mode > 0o777:
			return fmt.Errorf("%s: mode %o has more than permission bits", f.Path, f.Mode)
		}
		switch f.How {
		case Create, Replace, Append, Extend, Check:
		default:
			return fmt.Errorf("%s: there is no way %.40q to bring it", f.Path, f.How)
		}
		seen[f.Path] = true
	}
	return nil
}

// Decode judges the guest's answer to these files: in their order, and where the
// guest claims that content is in place, with its digest.
func Decode(data []byte, files []File) ([]Outcome, error) {
	var r result
	if err := strict(bytes.NewReader(data), &r); err != nil {
		return nil, fmt.Errorf("the guest's answer is malformed: %w", err)
	}
	if len(r.Files) != len(files) {
		return nil, fmt.Errorf("the guest answers for %d files of %d", len(r.Files), len(files))
	}
	for i := range r.Files {
		o, f := &r.Files[i], files[i]
		if o.Path != f.Path {
			return nil, fmt.Errorf("the guest answers for %.200q instead of %s", o.Path, f.Path)
		}
		o.Detail = printable(o.Detail)
		switch o.State {
		case Written, Present, Merged:
			if o.Sum != sum(f.Content) {
				return nil, fmt.Errorf("%s reads back different from what was written; is something in the image changing it?", f.Path)
			}
		case Left, Absent, Failed:
		default:
			return nil, fmt.Errorf("the guest says %.40q of %s, which is no state", o.State, f.Path)
		}
	}
	return r.Files, nil
}

func strict(r io.Reader, into any) error {
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows it")
	}
	return nil
}

func sum(content []byte) string {
	h := sha256.Sum256(content)
	return hex.EncodeToString(h[:])
}

// printable makes the guest's text fit for a report: bounded, on one line.
func printable(s string) string {
	if len(s) > maxDetail {
		s = s[:maxDetail] + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}
