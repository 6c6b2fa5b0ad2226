package cli

import (
	"fmt"
	"strings"
)

// decodeStatus reads `system status`. Its shape changed with 1.3.0; the status
// stayed where it was.
func decodeStatus(data []byte) (Status, error) {
	var shape struct {
		Status *string `json:"status"`
	}
	if err := decodeValue(data, &shape); err != nil {
		return Status{}, err
	}
	if shape.Status == nil || *shape.Status == "" {
		return Status{}, fmt.Errorf("%w: it has no status", errAlien)
	}
	return Status{Running: *shape.Status == "running", State: shorten(*shape.Status)}, nil
}

// decodeVersions reads `system version`: the program, then the daemon if it
// answered.
func decodeVersions(data []byte) (Versions, error) {
	var shape []struct {
		Version string `json:"version"`
	}
	if err := decodeValue(data, &shape); err != nil {
		return Versions{}, err
	}
	if len(shape) == 0 || shape[0].Version == "" {
		return Versions{}, fmt.Errorf("%w: it has no version", errAlien)
	}
	v := Versions{CLI: bareVersion(shape[0].Version)}
	if len(shape) > 1 {
		v.Daemon = bareVersion(shape[1].Version)
	}
	return v, nil
}

// bareVersion takes the number out of the daemon's sentence.
func bareVersion(s string) string {
	if m := versionLine.FindStringSubmatch(s); m != nil {
		return m[1]
	}
	return strings.TrimSpace(s)
}
