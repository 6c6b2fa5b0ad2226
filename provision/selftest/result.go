package selftest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Bounds of what crosses from the guest.
const (
	maxResult = 256 << 10
	maxDetail = 300
)

// ErrResult is wrapped by every error of DecodeResult.
var ErrResult = errors.New("the guest's self-test result cannot be believed")

// Result is what the probe found. It travels as JSON out of the guest.
type Result struct {
	Checks  []Check       `json:"checks"`
	Elapsed time.Duration `json:"elapsed_ns"`
}

// Check is one finding.
type Check struct {
	// Name is stable, e.g. "tcp4-direct".
	Name    string        `json:"name"`
	OK      bool          `json:"ok"`
	Detail  string        `json:"detail"`
	Elapsed time.Duration `json:"elapsed_ns"`
}

// Failed returns the red checks.
func (r Result) Failed() []Check {
	var out []Check
	for _, c := range r.Checks {
		if !c.OK {
			out = append(out, c)
		}
	}
	return out
}

// DecodeResult reads what a guest's probe wrote. The bytes are hostile: they
// are bounded and strictly decoded, and exactly the checks of Names(spec) must
// be there, each once and in order. Details are cut and made printable.
func DecodeResult(data []byte, spec Spec) (Result, error) {
	if len(data) > maxResult {
		return Result{}, fmt.Errorf("%w: it is larger than %d bytes", ErrResult, maxResult)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var r Result
	if err := dec.Decode(&r); err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrResult, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Result{}, fmt.Errorf("%w: something follows it", ErrResult)
	}
	var names []string
	for i, c := range r.Checks {
		names = append(names, c.Name)
		r.Checks[i].Detail = printable(c.Detail)
		if c.Elapsed < 0 {
			return Result{}, fmt.Errorf("%w: a check took negative time", ErrResult)
		}
	}
	if want := Names(spec); !slices.Equal(names, want) || r.Elapsed < 0 {
		return Result{}, fmt.Errorf("%w: it has %d checks that are not the %d asked for", ErrResult, len(names), len(want))
	}
	return r, nil
}

// printable cuts text from the guest and takes control characters out.
func printable(s string) string {
	if len(s) > maxDetail {
		s = s[:maxDetail] + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
}
