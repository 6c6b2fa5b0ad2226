package provision

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/provision/selftest"
)

// InvalidError is one thing in a request that cannot be granted.
type InvalidError struct {
	// Field is the request's field, such as "env HTTP_PROXY" or "workspace".
	Field string
	// Problem is a sentence without the field: what is wrong and what to do.
	Problem string
	// Allowed lists the values that would be accepted, where they are few.
	Allowed []string

	cause error
	host  string // the host that cannot be had, of a request to narrow a policy
}

// Unwrap gives the cause, such as fs.ErrNotExist, or nil.
func (e *InvalidError) Unwrap() error { return e.cause }

func (e *InvalidError) Error() string {
	text := e.Field + ": " + e.Problem
	if len(e.Allowed) > 0 {
		text += " (allowed: " + strings.Join(e.Allowed, ", ") + ")"
	}
	return text
}

// PlanError holds everything that is wrong with a launch request.
type PlanError struct{ Problems []error }

func (e *PlanError) Error() string {
	if len(e.Problems) == 1 {
		return "the launch cannot be planned: " + e.Problems[0].Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "the launch cannot be planned, %d problems:", len(e.Problems))
	for _, p := range e.Problems {
		b.WriteString("\n" + p.Error())
	}
	return b.String()
}

// Unwrap gives the problems, *InvalidError or *manifest.Error among them.
func (e *PlanError) Unwrap() []error { return e.Problems }

// StepError says at which step a launch failed. Everything that the earlier
// steps made has been removed, unless Rollback says otherwise.
type StepError struct {
	Step string
	Err  error
	// Rollback is why something could not be removed; cleanup tries again.
	Rollback error
}

func (e *StepError) Error() string {
	text := fmt.Sprintf("launch failed at step %s: %v", e.Step, e.Err)
	if e.Rollback != nil {
		text += fmt.Sprintf("; and not everything could be removed, so run cleanup: %v", e.Rollback)
	}
	return text
}

// Unwrap gives both causes.
func (e *StepError) Unwrap() []error {
	if e.Rollback == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.Rollback}
}

// IsolationError means that the self-test found a way out of the bottle, or
// could not prove that there is none. The bottle was removed.
type IsolationError struct {
	Report Report
	// Advice is what the backend knows to do about its network; "" leaves it to
	// doctor. It is given when a check of the network is red.
	Advice string
}

func (e *IsolationError) Error() string {
	text := "the isolation self-test is red, so the bottle was not handed over: " + strings.Join(e.findings(), "; ")
	reached := slices.ContainsFunc(e.Report.Checks, func(c Check) bool { return !c.OK && selftest.OfNetwork(c.Name) })
	if e.Advice != "" && reached {
		text += "; " + strings.TrimSuffix(e.Advice, ".")
	}
	return text + "; run 'bottle-mcp doctor' on the host"
}

// findings are the red checks. What several users found alike is told once.
func (e *IsolationError) findings() []string {
	var out []string
	told := make([]bool, len(e.Report.Checks))
	for i, c := range e.Report.Checks {
		if c.OK || told[i] {
			continue
		}
		as := c.As
		for j, same := range e.Report.Checks[i+1:] {
			if !same.OK && same.Name == c.Name && same.Detail == c.Detail {
				as += " and " + same.As
				told[i+1+j] = true
			}
		}
		out = append(out, fmt.Sprintf("%s as %s (%s)", c.Name, as, c.Detail))
	}
	return out
}
