package tools

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/bottle-mcp/bottle-mcp/provision"
)

// progress reports on one call: numbers only grow, as the protocol demands, and
// silence never lasts longer than the heartbeat. A caller that wants none costs
// nothing.
type progress struct {
	report func(Progress) // nil = not wanted

	mu      sync.Mutex
	current float64
	total   float64
	label   string
	began   time.Time
	sent    time.Time
	done    chan struct{}
	ended   sync.WaitGroup
}

// newProgress starts the heartbeat; stop ends it.
func newProgress(call Call, every time.Duration) *progress {
	p := &progress{}
	if !call.WantsProgress || call.Progress == nil {
		return p
	}
	p.report = call.Progress
	p.began = time.Now()
	p.sent = p.began
	p.done = make(chan struct{})
	p.ended.Go(func() { p.beats(every) })
	return p
}

// wanted reports whether anybody listens.
func (p *progress) wanted() bool { return p.report != nil }

// stop returns when no report is under way or will come.
func (p *progress) stop() {
	if p.wanted() {
		close(p.done)
		p.ended.Wait()
	}
}

// step reports an event of a long operation.
func (p *progress) step(e provision.Event) {
	current := float64(e.Index) - 0.5
	message := e.Step
	if e.Done {
		current = float64(e.Index)
		message = fmt.Sprintf("%s done in %s", e.Step, e.Elapsed.Round(time.Millisecond))
	}
	if e.Detail != "" {
		message += ": " + e.Detail
	}
	if !e.Done && e.Detail != "" {
		p.within(cleanLine(message, 300), float64(e.Total))
		return
	}
	p.send(current, float64(e.Total), cleanLine(e.Step, 80), cleanLine(message, 300))
}

// noteEvery is how often lines of a step that goes on are passed on: a build
// prints faster than anybody reads.
const noteEvery = 500 * time.Millisecond

// within reports from inside a step. The number grows as with a heartbeat.
func (p *progress) within(message string, total float64) {
	if !p.wanted() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(p.sent) < noteEvery {
		return
	}
	p.grow()
	p.sent = now
	p.report(Progress{Current: p.current, Total: total, Message: message})
}

// grow moves the number towards the next step without reaching it, so that the
// step still counts as progress. Steps lie at halves; the room up to the next
// one is shared by all that comes in between.
func (p *progress) grow() { p.current += (math.Floor(p.current*2+1)/2 - p.current) / 64 }

// text reports a message of an operation whose length nobody knows. The
// message is clean already.
func (p *progress) text(label, message string) {
	p.mu.Lock()
	next := math.Floor(p.current) + 1
	p.mu.Unlock()
	p.send(next, 0, label, message)
}

func (p *progress) send(current, total float64, label, message string) {
	if !p.wanted() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if current <= p.current {
		return
	}
	p.current, p.total, p.label, p.sent = current, total, label, time.Now()
	p.report(Progress{Current: current, Total: total, Message: message})
}

func (p *progress) beats(every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-p.done:
			return
		case now := <-ticker.C:
			p.beat(now, every)
		}
	}
}

// beat breaks a silence.
func (p *progress) beat(now time.Time, every time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.sent) < every*9/10 {
		return
	}
	p.grow()
	p.sent = now
	message := "working"
	if p.label != "" {
		message = p.label
	}
	p.report(Progress{Current: p.current, Total: p.total, Message: fmt.Sprintf("%s, %s so far", message, now.Sub(p.began).Round(time.Second))})
}
