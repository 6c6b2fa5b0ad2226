package cli

import (
	"context"
	"errors"
	"strings"
	"time"
)

// policy says what is tried again. Only what is known to pass is: anything else
// would hide a fault, or do a thing twice.
type policy struct {
	attempts int
	wait     time.Duration
	passes   func(*Error) bool
}

// afterCommand: a command that was running in a container can make its forced
// deletion fail once.
func afterCommand() policy {
	return policy{attempts: 2, wait: 500 * time.Millisecond, passes: func(e *Error) bool {
		return e.Kind == KindState || e.Kind == KindOther
	}}
}

// afterContainer: a network is refused while a container that was just deleted
// still refers to it, and the daemon has one second to list the networks first.
func afterContainer() policy {
	return policy{attempts: 3, wait: time.Second, passes: func(e *Error) bool {
		return e.says("delete failed for one or more networks") || e.says(xpcTimeout)
	}}
}

// underLoad: the daemon has one second for a list of networks, which load can
// exceed. Reading twice does no harm.
func underLoad() policy {
	return policy{attempts: 3, wait: 500 * time.Millisecond, passes: func(e *Error) bool {
		return e.says(xpcTimeout)
	}}
}

// afterBuilder: a builder on its way down refuses everything until it is down.
func afterBuilder() policy {
	return policy{attempts: 5, wait: 2 * time.Second, passes: func(e *Error) bool {
		return e.says("stopping") && (e.says("builder") || e.says("buildkit"))
	}}
}

// says reports whether the program's last words hold a text.
func (e *Error) says(text string) bool {
	return e.Code > 0 && strings.Contains(e.Message, text)
}

// retry calls f until it succeeds, fails for good or the attempts are used up.
func (c *CLI) retry(ctx context.Context, p policy, f func() error) error {
	for n := 1; ; n++ {
		err := f()
		var e *Error
		if err == nil || n == p.attempts || !errors.As(err, &e) || !p.passes(e) {
			return err
		}
		pause := time.NewTimer(c.scaled(p.wait))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return err // it says more than ctx does
		}
	}
}
