package backend

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// checkTimeout bounds how long one backend may take to say what it can do.
const checkTimeout = 15 * time.Second

// Selection is what decides which backend runs a bottle.
type Selection struct {
	// Explicit is the name somebody asked for: a flag, a manifest, a request.
	Explicit string
	// Env is the value of BOT_BOTTLE_BACKEND.
	Env string
	// GOOS is the host's operating system, as in runtime.GOOS.
	GOOS     string
	Backends []Backend
}

// Selected is the outcome of Select.
type Selected struct {
	Backend      Backend
	Capabilities Capabilities
	// Source says what decided: "explicit", "BOT_BOTTLE_BACKEND" or "default".
	Source string
}

// SelectionError means that no backend can be used. It lists each one with its
// reason, because a silent fallback would be another isolation than was asked
// for.
type SelectionError struct {
	// Wanted is the name that was asked for; "" when the default failed.
	Wanted string
	Source string
	// Candidates are all backends of this build, in their order.
	Candidates []Candidate
}

// Candidate is one backend that was considered.
type Candidate struct {
	Name string
	// Err is why it is unavailable; nil when it would work.
	Err error
}

func (e *SelectionError) Error() string {
	var b strings.Builder
	switch {
	case e.Wanted == "":
		b.WriteString("no default backend works on this host")
	case e.known():
		fmt.Fprintf(&b, "backend %q (from %s) is unavailable", e.Wanted, e.Source)
	default:
		fmt.Fprintf(&b, "backend %.60q (from %s) is not known", e.Wanted, e.Source)
	}
	if len(e.Candidates) == 0 {
		return b.String() + "; this build has none for this operating system"
	}
	for i, c := range e.Candidates {
		b.WriteString([]string{"; choose one of: ", "; "}[min(i, 1)])
		b.WriteString(c.Name + " (" + c.reason() + ")")
	}
	return b.String()
}

func (e *SelectionError) known() bool {
	return slices.ContainsFunc(e.Candidates, func(c Candidate) bool { return c.Name == e.Wanted })
}

// Unwrap gives the candidates' errors, *UnavailableError among them.
func (e *SelectionError) Unwrap() []error {
	var errs []error
	for _, c := range e.Candidates {
		if c.Err != nil {
			errs = append(errs, c.Err)
		}
	}
	return errs
}

func (c Candidate) reason() string {
	var u *UnavailableError
	switch {
	case c.Err == nil:
		return "available"
	case errors.As(c.Err, &u) && u.Fix != "":
		return "unavailable: " + u.Reason + "; " + u.Fix
	case errors.As(c.Err, &u):
		return "unavailable: " + u.Reason
	}
	return "unavailable: " + c.Err.Error()
}

// Select picks the backend: Explicit, else Env, else the platform's default.
// A name that was asked for is never replaced by another one. When nothing
// can be used the error is a *SelectionError.
func Select(ctx context.Context, s Selection) (Selected, error) {
	wanted, source := s.Explicit, "explicit"
	if wanted == "" {
		wanted, source = s.Env, "BOT_BOTTLE_BACKEND"
	}
	names := []string{wanted}
	if wanted == "" {
		names, source = defaults(s.GOOS), "default"
	}
	tried := map[string]error{}
	for _, name := range names {
		i := slices.IndexFunc(s.Backends, func(b Backend) bool { return b.Name() == name })
		if i < 0 {
			continue
		}
		caps, err := check(ctx, s.Backends[i])
		if err == nil {
			return Selected{Backend: s.Backends[i], Capabilities: caps, Source: source}, nil
		}
		if ctx.Err() != nil {
			return Selected{}, fmt.Errorf("select a backend: %w", context.Cause(ctx))
		}
		tried[name] = err
	}
	failed := &SelectionError{Wanted: wanted, Source: source}
	for _, b := range s.Backends {
		err, ok := tried[b.Name()]
		if !ok {
			_, err = check(ctx, b)
		}
		failed.Candidates = append(failed.Candidates, Candidate{Name: b.Name(), Err: err})
	}
	return Selected{}, failed
}

// defaults are the names to try on a platform, best first.
func defaults(goos string) []string {
	switch goos {
	case "linux":
		return []string{"linux"}
	case "darwin":
		return []string{"macos-container", "smolmachines"}
	}
	return nil
}

func check(ctx context.Context, b Backend) (Capabilities, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	return b.Check(ctx)
}
