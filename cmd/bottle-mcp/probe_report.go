package main

import (
	"strconv"
	"sync"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// probeSchema is the version of the JSON form. Fields are added, never
// renamed or removed, without a new number.
const probeSchema = 1

// probeReport is what probe found: the JSON form, and what the text is
// printed from.
type probeReport struct {
	Schema   int             `json:"schema"`
	OK       bool            `json:"ok"`
	Version  versionInfo     `json:"version"`
	Host     probeHost       `json:"host"`
	Backend  probeBackend    `json:"backend"`
	Bottle   probeBottle     `json:"bottle"`
	Sections []*probeSection `json:"sections"`
	Passed   int             `json:"passed"`
	Failed   int             `json:"failed"`
	Elapsed  millis          `json:"elapsed_ms"`
	Hints    []string        `json:"hints"`
}

// probeHost is the machine probe ran on.
type probeHost struct {
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	Kernel string `json:"kernel"`
	CPUs   int    `json:"cpus"`
	UID    int    `json:"uid"`
}

// probeBackend is the backend that ran the bottle.
type probeBackend struct {
	Name      string            `json:"name"`
	Isolation string            `json:"isolation"`
	Walls     []string          `json:"walls"`
	Missing   []backend.Missing `json:"missing"`
}

// probeBottle is the bottle that was launched.
type probeBottle struct {
	ID        backend.ID `json:"id"`
	Manifests []string   `json:"manifests"`
	Policy    string     `json:"policy"`
	Kept      bool       `json:"kept"`
}

// probeSection is one part of the main job.
type probeSection struct {
	Name    string       `json:"name"`
	Elapsed millis       `json:"elapsed_ms"`
	Checks  []probeCheck `json:"checks"`

	now func() time.Time
}

// probeCheck is one thing that was checked.
type probeCheck struct {
	Name    string `json:"name"`
	As      string `json:"as,omitempty"` // who in the guest ran it, for isolation checks
	OK      bool   `json:"ok"`
	Detail  string `json:"detail"`
	Elapsed millis `json:"elapsed_ms"`
}

// millis is a duration that is a number of milliseconds in JSON.
type millis time.Duration

// MarshalJSON implements json.Marshaler.
func (m millis) MarshalJSON() ([]byte, error) { //nolint:unparam // the signature is json.Marshaler's
	return strconv.AppendFloat(nil, float64(time.Duration(m).Microseconds())/1000, 'f', 3, 64), nil
}

// check runs one check. Its detail is shown when it passed, its error when it
// did not.
func (s *probeSection) check(name string, fn func() (string, error)) {
	start := s.now()
	detail, err := fn()
	if err != nil {
		detail = err.Error()
	}
	s.Checks = append(s.Checks, probeCheck{
		Name: name, OK: err == nil, Detail: detail, Elapsed: millis(s.now().Sub(start)),
	})
}

// failed counts the red checks.
func (s *probeSection) failed() int {
	n := 0
	for _, check := range s.Checks {
		if !check.OK {
			n++
		}
	}
	return n
}

// recorder collects sections. It is locked because the deadline may close it
// while a section still runs: what comes later is neither counted nor shown.
type recorder struct {
	mu     sync.Mutex
	report *probeReport
	shown  func(*probeSection)
	now    func() time.Time
	start  time.Time
	within string // the section that runs
	closed bool
}

// section runs one section, then shows it.
func (r *recorder) section(name string, fn func(*probeSection)) {
	r.mu.Lock()
	r.within = name
	r.mu.Unlock()
	s := &probeSection{Name: name, Checks: []probeCheck{}, now: r.now}
	start := r.now()
	fn(s)
	if s.Elapsed == 0 {
		s.Elapsed = millis(r.now().Sub(start))
	}
	r.add(s)
}

func (r *recorder) add(s *probeSection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.report.Sections = append(r.report.Sections, s)
		r.shown(s)
	}
}

// update changes the report's head.
func (r *recorder) update(fn func(*probeReport)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		fn(r.report)
	}
}

// close ends recording and sums up. When overdue is positive, the probe did
// not end by itself within that time, which is a red check of its own.
func (r *recorder) close(overdue time.Duration) *probeReport {
	r.mu.Lock()
	within := r.within
	r.mu.Unlock()
	if overdue > 0 {
		r.add(&probeSection{Name: "deadline", Elapsed: millis(overdue), Checks: []probeCheck{{
			Name: "finished in time", Detail: "still in section " + within + " after " + span(overdue), Elapsed: millis(overdue),
		}}})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	report := r.report
	report.Passed, report.Failed = 0, 0
	for _, s := range report.Sections {
		report.Failed += s.failed()
		report.Passed += len(s.Checks) - s.failed()
	}
	report.OK = report.Failed == 0 && report.Passed > 0
	report.Elapsed = millis(r.now().Sub(r.start))
	return report
}
