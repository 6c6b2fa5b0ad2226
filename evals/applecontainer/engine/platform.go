package engine

import "runtime"

// Architecture is what images must be made for to run here. A Mac's is arm64;
// the stand-in's machine has the tests' own.
func Architecture() string { return runtime.GOARCH }
