package selftest

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// TestCheckGivesUp has a probe that never ends, as a call that hangs in the
// kernel would: it is red and the run goes on.
func TestCheckGivesUp(t *testing.T) {
	tests := map[string]struct {
		probe probe
		ok    bool
		say   string
	}{
		"hangs": {func(context.Context) (string, error) { select {} }, false, "no answer within"},
		"waits": {func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() }, false, "deadline exceeded"},
		"fine":  {func(context.Context) (string, error) { return "seen", nil }, true, "seen"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			start := time.Now()
			c := check(ctx, "x", tt.probe)
			if c.OK != tt.ok || !strings.Contains(c.Detail, tt.say) || time.Since(start) > 2*time.Second {
				t.Errorf("%+v after %s", c, time.Since(start))
			}
		})
	}
}

func TestGuestMain(t *testing.T) {
	spec, err := json.Marshal(Spec{Timeout: 200 * time.Millisecond, Require: Require{Seccomp: 3}})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		stdin string
		code  int
	}{
		"red, no seccomp mode 3 exists": {string(spec), exitRed},
		"no spec":                       {"", exitError},
		"unknown key":                   {`{"skip":["dns"]}`, exitError},
		"wrong type":                    {`{"timeout_ns":"long"}`, exitError},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if code := GuestMain(t.Context(), strings.NewReader(tt.stdin), &out); code != tt.code {
				t.Errorf("code %d, want %d", code, tt.code)
			}
			if tt.code == exitError {
				return
			}
			result, err := DecodeResult(out.Bytes(), Spec{})
			if err != nil || len(result.Failed()) == 0 || strings.Count(out.String(), "\n") != 1 {
				t.Errorf("%v: %s", err, &out)
			}
		})
	}
}
