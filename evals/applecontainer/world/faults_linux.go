package world

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Faults of the stand-in: each imitates a report about the real tool.
const (
	FaultInternalRoutesOut = "internal-routes-out"    // an internal network reaches the outside
	FaultHostOnGateway     = "host-on-gateway"        // services of the host answer on the gateway
	FaultGatewayResolver   = "gateway-resolver"       // the gateway resolves names of the outside
	FaultSecondNetwork     = "second-network-refused" // a second --network is an error
	FaultSubnetChanges     = "subnet-changes"         // networks get another subnet; value "now": at the next call
	FaultExecCapabilities  = "exec-regains-caps"      // exec has capabilities that run dropped
	FaultServiceDown       = "service-down"           // the service does not run
	FaultSlowStart         = "slow-start"             // value: milliseconds
	FaultJSONShape         = "json-shape"             // value: ShapeOld or ShapeNew
	FaultVersion           = "version"                // value: such as 1.0.0
	FaultStoppedVanishes   = "stopped-vanishes"       // a container is removed when its process ends
	FaultWrongPlatform     = "wrong-platform"         // images are reported for another architecture
	FaultNext              = "next"                   // value: a Next; see World.SetNext
)

// Values of FaultJSONShape.
const (
	ShapeOld = "pre-1.0"
	ShapeNew = "1.3"
)

const callsFile = "calls.jsonl"

// Actions of a Next.
const (
	ActionFail       = "fail"        // an error, without an effect
	ActionHang       = "hang"        // neither do nor say anything, for ever
	ActionGarbage    = "garbage"     // have the effect and print nonsense
	ActionTruncate   = "truncate"    // have the effect and print half of the result
	ActionEndless    = "endless"     // have the effect and print without end
	ActionKill       = "kill"        // die by SIGKILL before anything is done
	ActionKillAfter  = "kill-after"  // die by SIGKILL behind the effect, nothing printed
	ActionKillParent = "kill-parent" // kill the caller behind the effect
)

// Next is a fault for one call to come.
type Next struct {
	// Match is how the call begins, in whole words, such as "network create".
	Match string `json:"match"`
	// Skip lets so many matching calls pass.
	Skip   int    `json:"skip"`
	Action string `json:"action"`
}

// Call is one call of the stand-in, as it wrote it down.
type Call struct {
	Argv  []string  `json:"argv"` // without the program's own name
	PID   int       `json:"pid"`
	Start time.Time `json:"start"`
	Exit  int       `json:"exit"`
}

// SetFault switches a fault on until ClearFault or the end of the test.
func (w *World) SetFault(t testing.TB, name, value string) {
	t.Helper()
	if err := w.setFault(name, value); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.ClearFault(t, name) })
}

// SetNext arms a fault for calls to come.
func (w *World) SetNext(t testing.TB, n Next) {
	t.Helper()
	data, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	w.SetFault(t, FaultNext, string(data))
}

// ClearFault switches a fault off; one that is off stays off.
func (w *World) ClearFault(t testing.TB, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(w.layout.state(), "faults", name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

func (w *World) setFault(name, value string) error {
	if name == "" || strings.ContainsAny(name, "/\x00") || name[0] == '.' {
		return fmt.Errorf("%q is no name of a fault", name)
	}
	return replaceFile(filepath.Join(w.layout.state(), "faults", name), []byte(value))
}

func (w *World) clearFaults() error {
	dir := filepath.Join(w.layout.state(), "faults")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Mkdir(dir, 0o755)
}

// CallLog returns the finished calls of the stand-in since the test began.
func (w *World) CallLog(t testing.TB) []Call {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(w.layout.state(), callsFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	calls, err := decodeCalls(data)
	if err != nil {
		t.Fatal(err)
	}
	return calls
}

// decodeCalls leaves out a last line that is still being written.
func decodeCalls(data []byte) ([]Call, error) {
	var calls []Call
	for lines := bufio.NewReader(bytes.NewReader(data)); ; {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return calls, nil //nolint:nilerr // an unfinished line belongs to the next reading
		}
		var c Call
		if err := json.Unmarshal(line, &c); err != nil {
			return nil, fmt.Errorf("the stand-in wrote a call that is none: %w: %s", err, line)
		}
		calls = append(calls, c)
	}
}
