package grammar

import (
	"fmt"
	"strconv"
	"strings"
)

// release is a version of the program as numbers; the zero value is older than
// all of them.
type release [3]int

// oldest is the first release whose declarations the contract describes: what
// came before it had other commands and other JSON.
var oldest = release{1, 0, 0} //nolint:gochecknoglobals // a constant

func (r release) before(other release) bool {
	for i := range r {
		if r[i] != other[i] {
			return r[i] < other[i]
		}
	}
	return false
}

// UnmarshalText reads "1.2.0"; two numbers are enough.
func (r *release) UnmarshalText(text []byte) error {
	parts := strings.Split(string(text), ".")
	if len(parts) < 2 || len(parts) > len(r) {
		return fmt.Errorf("grammar: %q is no version of the form 1.2.0", text)
	}
	*r = release{}
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 16)
		if err != nil {
			return fmt.Errorf("grammar: %q is no version of the form 1.2.0: %w", text, err)
		}
		r[i] = int(n)
	}
	return nil
}
