//go:build !linux

package selftest

import (
	"context"
	"errors"
)

// errPlatform is every check's result away from Linux.
var errPlatform = errors.New("the probe runs inside Linux guests only")

func settle(context.Context, Spec) {}

func probes(spec Spec) map[string]probe {
	all := map[string]probe{}
	for _, name := range Names(spec) {
		all[name] = func(context.Context) (string, error) { return "", errPlatform }
	}
	return all
}
