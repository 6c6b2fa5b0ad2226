package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Action is what goes wrong in one call.
type Action string

// The actions.
const (
	// Fail ends the call with an error, without an effect.
	Fail Action = "fail"
	// Hang has the call neither do nor say anything for ever.
	Hang Action = "hang"
	// Garbage has the effect and prints nonsense.
	Garbage Action = "garbage"
	// Truncate has the effect and prints half of the result.
	Truncate Action = "truncate"
	// Kill ends the program by SIGKILL before it did anything.
	Kill Action = "kill"
	// KillAfter ends the program by SIGKILL behind the effect, nothing printed.
	KillAfter Action = "kill-after"
	// Endless has the effect and prints without end.
	Endless Action = "endless"
	// KillParent ends the caller by SIGKILL behind the effect, nothing printed:
	// the caller dies between this command and its next.
	KillParent Action = "kill-parent"
)

// Next is a fault for a call to come.
type Next struct {
	// Match is how the command begins, in whole words, such as "network" or
	// "network create"; "" is any.
	Match string `json:"match"`
	// Skip is how many calls that match go well first.
	Skip   int    `json:"skip"`
	Action Action `json:"action"`
}

func (n Next) check() error {
	switch n.Action {
	case Fail, Hang, Garbage, Truncate, Kill, KillAfter, Endless, KillParent:
		return nil
	default:
		return fmt.Errorf("the stand-in knows no action %q", n.Action)
	}
}

// Take returns the action for a call of the command: "" for one that goes
// well. The caller holds a lock, so that calls are counted one by one.
func Take(dir, command string) (Action, error) {
	path := filepath.Join(dir, next)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("the next fault cannot be read: %w", err)
	}
	n, err := decode(data)
	if err != nil {
		return "", err
	}
	if n.Match != "" && !strings.HasPrefix(command+" ", n.Match+" ") {
		return "", nil
	}
	if n.Skip > 0 {
		n.Skip--
		return "", write(path, n)
	}
	if err := os.Remove(path); err != nil {
		return "", fmt.Errorf("the next fault cannot be consumed: %w", err)
	}
	return n.Action, nil
}

func decode(data []byte) (Next, error) {
	var n Next
	if err := json.Unmarshal(data, &n); err != nil {
		return Next{}, fmt.Errorf("the next fault is no JSON of the form {match, skip, action}: %w", err)
	}
	return n, n.check()
}

// write replaces the file at once: other calls read it at any moment.
func write(path string, n Next) error {
	data, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("the next fault cannot be encoded: %w", err)
	}
	// The name begins with a dot, so that Read leaves it alone.
	temporary := filepath.Join(filepath.Dir(path), "."+next)
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		return fmt.Errorf("the next fault cannot be written: %w", err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("the next fault cannot be replaced: %w", err)
	}
	return nil
}
