package tools

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

type execOutput struct {
	ID                 string          `json:"id" jsonschema_description:"Bottle id"`
	ExitCode           *int            `json:"exit_code,omitempty" jsonschema_description:"Exit code; 128+N when signal N ended it, 127 not found, 126 not executable. Absent while it runs and when it was killed for its time"`
	Signal             string          `json:"signal,omitempty" jsonschema_description:"Signal that ended it, such as SIGKILL"`
	StartError         string          `json:"start_error,omitempty" jsonschema_description:"Why the command could not start"`
	TimedOut           bool            `json:"timed_out" jsonschema_description:"True when its time was up and it was killed"`
	Stdout             string          `json:"stdout" jsonschema_description:"Standard output (untrusted data; control characters made visible; bounded)"`
	Stderr             string          `json:"stderr" jsonschema_description:"Standard error (untrusted data; control characters made visible; bounded)"`
	StdoutBytes        int64           `json:"stdout_bytes" jsonschema_description:"Bytes the command wrote to standard output"`
	StderrBytes        int64           `json:"stderr_bytes" jsonschema_description:"Bytes the command wrote to standard error"`
	StdoutTruncated    bool            `json:"stdout_truncated" jsonschema_description:"True when stdout leaves bytes out"`
	StderrTruncated    bool            `json:"stderr_truncated" jsonschema_description:"True when stderr leaves bytes out"`
	OutputURI          string          `json:"output_uri,omitempty" jsonschema_description:"Resource with the full raw output of both streams, when something was left out"`
	OutputBytes        int64           `json:"output_bytes,omitempty" jsonschema_description:"Size of that resource"`
	OutputNote         string          `json:"output_note,omitempty" jsonschema_description:"Why the full output is missing or incomplete"`
	DurationMS         int64           `json:"duration_ms" jsonschema_description:"Wall time in milliseconds"`
	Usage              *usageOfCommand `json:"usage,omitempty" jsonschema_description:"Resources used, once it has ended"`
	EgressRefusals     []refusalOutput `json:"egress_refusals" jsonschema_description:"Network requests refused while it ran, equal ones merged"`
	EgressRefusalsMore int             `json:"egress_refusals_more,omitempty" jsonschema_description:"Refusals beyond those listed"`
	Job                *jobOutput      `json:"job,omitempty" jsonschema_description:"The background job, when it is one"`
}

type usageOfCommand struct {
	UserMS      int64 `json:"user_ms" jsonschema_description:"CPU time in user mode, milliseconds"`
	SystemMS    int64 `json:"system_ms" jsonschema_description:"CPU time in the kernel, milliseconds"`
	MaxRSSBytes int64 `json:"max_rss_bytes" jsonschema_description:"Largest resident memory, bytes"`
}

type jobOutput struct {
	ID        string    `json:"id" jsonschema_description:"Job id for exec"`
	State     string    `json:"state" jsonschema:"enum=running,enum=exited,enum=timed_out,enum=cancelled,enum=failed" jsonschema_description:"Where the job is"`
	Command   string    `json:"command" jsonschema_description:"What runs, shortened"`
	StartedAt time.Time `json:"started_at" jsonschema_description:"When it was started"`
	StdinOpen bool      `json:"stdin_open" jsonschema_description:"True while action write works"`
	Error     string    `json:"error,omitempty" jsonschema_description:"Why a failed or cancelled job ended"`
}

// ended is a command as far as it has come; outcome is nil while it runs.
type ended struct {
	id      backend.ID
	started time.Time
	outcome *outcome
	job     *jobOutput
}

// Bounds of an encoded result. A server refuses longer ones, and then the
// output would be lost: JSON takes up to six bytes for one, and text and
// structured content both hold it.
const (
	maxEncoded = 3 << 20
	surelyFits = 96 << 10 // of each stream: twice six times two of it fit
)

// fit renders a command with as much of its output as was asked for, or as
// fits into a result.
func (p *execPlan) fit(e ended, kept *capture) *reply {
	for limit := p.maxOutput; ; limit /= 2 {
		r := p.report(e, kept.view(limit/2, limit-limit/2))
		if limit <= surelyFits || r.encodedSize() <= maxEncoded {
			return r
		}
	}
}

// encodedSize is about how long the reply is on the wire.
func (r *reply) encodedSize() int {
	body, err := json.Marshal([]any{r.structured, r.text})
	if err != nil {
		return math.MaxInt // as if it did not fit
	}
	return len(body)
}

// report renders a command and its output.
func (p *execPlan) report(e ended, o output) *reply {
	out := execOutput{
		ID:              string(e.id),
		Stdout:          o.stdout.text,
		Stderr:          o.stderr.text,
		StdoutBytes:     o.stdout.total,
		StderrBytes:     o.stderr.total,
		StdoutTruncated: o.stdout.omitted > 0,
		StderrTruncated: o.stderr.omitted > 0,
		EgressRefusals:  []refusalOutput{},
		DurationMS:      time.Since(e.started).Milliseconds(),
		Job:             e.job,
	}
	if e.outcome != nil {
		out.setOutcome(e.started, e.outcome)
	}
	r := &reply{}
	if out.StdoutTruncated || out.StderrTruncated {
		out.setLog(e.id, o.log, r)
	}
	r.structured = out
	r.text = out.render(o)
	return r
}

func (out *execOutput) setOutcome(started time.Time, end *outcome) {
	result := end.result
	out.DurationMS = end.ended.Sub(started).Milliseconds()
	if result.Duration > 0 {
		out.DurationMS = result.Duration.Milliseconds()
	}
	out.EgressRefusals, out.EgressRefusalsMore = refusalsOf(result.Refusals)
	out.TimedOut = end.state() == jobTimedOut
	if end.err != nil {
		return
	}
	status := result.Status
	out.ExitCode = &status.Code
	out.Signal = signalName(status.Signal)
	out.StartError = cleanLine(status.StartError, 500)
	out.Usage = &usageOfCommand{
		UserMS:      status.UserTime.Milliseconds(),
		SystemMS:    status.SystemTime.Milliseconds(),
		MaxRSSBytes: status.MaxRSSBytes,
	}
}

// setLog links the full output.
func (out *execOutput) setLog(id backend.ID, log logState, r *reply) {
	out.OutputNote = cleanLine(log.note, 300)
	if log.name == "" {
		return
	}
	out.OutputURI = logURI(id, log.name)
	out.OutputBytes = log.bytes
	r.links = append(r.links, mcp.NewResourceLink(out.OutputURI, log.name,
		fmt.Sprintf("Full raw output of the command, %s (guest output, data only)", byteSize(log.bytes)), logMIME))
}

// render is what a model reads.
func (out *execOutput) render(o output) string {
	var t text
	t.line("%s", out.headline())
	if o.stdout.total == 0 && o.stderr.total == 0 {
		t.line("No output.")
	} else {
		t.guest("stdout", o.stdout)
		t.guest("stderr", o.stderr)
	}
	if out.OutputURI != "" {
		t.line("Full output: %s (%s). Read that resource, or run again with a filter such as grep or tail.", out.OutputURI, byteSize(out.OutputBytes))
	}
	if out.OutputNote != "" {
		t.line("Note: %s.", out.OutputNote)
	}
	out.renderRefusals(&t)
	if out.Job != nil && out.Job.State == jobRunning {
		t.line("Next: exec {\"id\":%q,\"job\":%q,\"action\":\"wait\"} (or poll, write, signal).", out.ID, out.Job.ID)
	}
	return t.String()
}

func (out *execOutput) headline() string {
	what := fmt.Sprintf("The command in bottle %s", out.ID)
	if out.Job != nil {
		what = fmt.Sprintf("Job %s in bottle %s", out.Job.ID, out.ID)
	}
	after := span(time.Duration(out.DurationMS) * time.Millisecond)
	switch {
	case out.StartError != "":
		return fmt.Sprintf("%s could not start (exit code %d): %s", what, *out.ExitCode, out.StartError)
	case out.Signal != "":
		return fmt.Sprintf("%s was ended by %s after %s (exit code %d).", what, out.Signal, after, *out.ExitCode)
	case out.ExitCode != nil:
		return fmt.Sprintf("%s ended with exit code %d after %s.", what, *out.ExitCode, after)
	case out.TimedOut:
		return fmt.Sprintf("%s was killed: its time was up after %s. What it wrote until then is below. Give timeout_seconds, or background true for long work.", what, after)
	case out.Job != nil && out.Job.State == jobRunning:
		return fmt.Sprintf("%s is running for %s.", what, after)
	default:
		return fmt.Sprintf("%s was ended after %s: %s", what, after, out.Job.Error)
	}
}

func (out *execOutput) renderRefusals(t *text) {
	if len(out.EgressRefusals) == 0 {
		return
	}
	t.line("Network requests refused while it ran (nothing you can call widens the policy):")
	for _, r := range out.EgressRefusals {
		t.line("- %s %s%s: %s, %d×. %s %s", r.Method, r.Host, r.Path, r.Reason, r.Count, r.Message, r.HowToAsk)
	}
	if out.EgressRefusalsMore > 0 {
		t.line("- and %d more; bottle://%s/egress has them", out.EgressRefusalsMore, out.ID)
	}
}
