// Command gitleaks scans each file named with gitleaks's detector, with its own
// rules and Go's regular expressions, and prints the best of three speeds in MB
// per second of processor time.
package main

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/zricethezav/gitleaks/v8/detect"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gitleaks:", err)
		os.Exit(1)
	}
}

func run() error {
	zerolog.SetGlobalLevel(zerolog.Disabled)
	d, err := detect.NewDetectorDefaultConfig()
	if err != nil {
		return err
	}
	for _, name := range os.Args[1:] {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		text, best := string(data), 0.0
		for range 3 {
			before := processor()
			_ = d.DetectString(text)
			best = max(best, float64(len(text))/1e6/(processor()-before).Seconds())
		}
		fmt.Printf("%.3f\n", best)
	}
	return nil
}

func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
