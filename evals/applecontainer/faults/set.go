package faults

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"errors"
)

// The faults, by the name of their file.
const (
	// RoutesOut lets packets of internal networks out.
	RoutesOut = "internal-routes-out"
	// HostOnGateway leaves the host reachable on the gateway of internal networks.
	HostOnGateway = "host-on-gateway"
	// GatewayResolver has the gateway of internal networks resolve every name.
	GatewayResolver = "gateway-resolver"
	// SecondNetwork refuses containers with more than one network.
	SecondNetwork = "second-network-refused"
	// SubnetChanges gives networks another subnet: with the value "now" at the
	// next call, which consumes it, else at every start of a container.
	SubnetChanges = "subnet-changes"
	// ExecRegainsCaps gives every exec'd process the default capabilities.
	ExecRegainsCaps = "exec-regains-caps"
	// ServiceDown has no daemon answer. `system start` ends it.
	ServiceDown = "service-down"
	// SlowStart delays every start by the value in milliseconds.
	SlowStart = "slow-start"
	// JSONShape prints the shapes of another release: "pre-1.0" or "1.3".
	JSONShape = "json-shape"
	// Version imitates the release of the value, its grammar included.
	Version = "version"
	// StoppedVanishes removes a container when its process ends.
	StoppedVanishes = "stopped-vanishes"
	// WrongPlatform reports images for another architecture.
	WrongPlatform = "wrong-platform"

	next = "next"
)

// The values of JSONShape.
const (
	ShapePre10 = "pre-1.0"
	Shape13    = "1.3"
)

// Set is the faults that are on.
type Set map[string]string

// Read reads the directory. One that is not there has no faults.
func Read(dir string) (Set, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Set{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the faults of the stand-in cannot be listed: %w", err)
	}
	set := Set{}
	for _, entry := range entries {
		if entry.Name() == next || strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		value, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // switched off meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("the fault %s cannot be read: %w", entry.Name(), err)
		}
		set[entry.Name()] = strings.TrimSpace(string(value))
	}
	return set, set.check()
}

// check refuses what would silently switch nothing on.
func (s Set) check() error {
	for name, value := range s {
		switch name {
		case RoutesOut, HostOnGateway, GatewayResolver, SecondNetwork, SubnetChanges, ExecRegainsCaps,
			ServiceDown, Version, StoppedVanishes, WrongPlatform:
		case SlowStart:
			if _, err := strconv.ParseUint(value, 10, 31); err != nil {
				return fmt.Errorf("the fault %s needs milliseconds, not %q: %w", name, value, err)
			}
		case JSONShape:
			if value != ShapePre10 && value != Shape13 {
				return fmt.Errorf("the fault %s is %s or %s, not %q", name, ShapePre10, Shape13, value)
			}
		default:
			return fmt.Errorf("the stand-in knows no fault %q", name)
		}
	}
	return nil
}

// On says whether the fault is switched on.
func (s Set) On(name string) bool {
	_, on := s[name]
	return on
}

// Delay is how long starts are delayed.
func (s Set) Delay() time.Duration {
	ms, err := strconv.Atoi(s[SlowStart])
	if err != nil {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// Clear switches a fault off.
func Clear(dir, name string) error {
	if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the fault %s cannot be switched off: %w", name, err)
	}
	return nil
}
