package selftest

import "time"

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

// Names lists the checks that Run makes for spec, in order. A result without
// one of them proves nothing.
func Names(spec Spec) []string { return nil }

// DecodeResult reads what a guest's probe wrote. The bytes are hostile: they
// are bounded, strictly decoded, and every check of Names(spec) must be there
// exactly once.
func DecodeResult(data []byte, spec Spec) (Result, error) { return Result{}, nil }
