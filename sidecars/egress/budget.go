package egress

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// What a bottle may ask for below one wildcard: each name is a question to the
// resolver of whoever owns it, and so a message. The bounds are for the life of
// the bottle and for one minute.
const (
	maxNames          = 64
	maxNameBits       = 4096
	maxNameBitsMinute = 1024
)

// spentForGood is what Retry-After says of a budget that does not come back
// while the bottle lives.
const spentForGood = time.Hour

// meter counts what is used of a route. It outlives policies: a route that is
// put in force again has used what it has used.
type meter struct {
	now func() time.Time

	mu     sync.Mutex
	limits sidecars.Budget
	used   usage
	starts window
	names  map[string]struct{} // below a wildcard
	bits   float64
	recent window // bits, in whole ones
}

// usage is what was used of a budget.
type usage struct {
	Requests int64 `json:"requests"`
	BytesOut int64 `json:"bytes_out"`
	BytesIn  int64 `json:"bytes_in"`
	// LastMinute counts requests that began within it.
	LastMinute int64 `json:"last_minute"`
	// Names counts the hosts below a wildcard that were asked for.
	Names int `json:"names,omitempty"`
}

func newMeter() *meter { return &meter{now: time.Now} }

// bound puts a budget in force; nil is none.
func (m *meter) bound(b *sidecars.Budget) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limits = sidecars.Budget{}
	if b != nil {
		m.limits = *b
	}
}

// begin counts a request, or refuses it and counts nothing. size is that of its
// body, negative when it is not known. below is the part of the host that a
// wildcard leaves open, "" for an exact host.
func (m *meter) begin(below string, size int64) *refusal {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if l := m.limits.Requests; l > 0 && m.used.Requests >= l {
		return spent(reasonBudgetRequests, fmt.Sprintf("This bottle has made the %d requests that its budget for this route allows.", l), spentForGood)
	}
	if l := m.limits.BytesOut; l > 0 && size > l-m.used.BytesOut {
		return spentOut(l)
	}
	if l := int64(m.limits.PerMinute); l > 0 && m.starts.sum(now) >= l {
		return spent(reasonRateLimited, fmt.Sprintf("This bottle has begun the %d requests that this route allows within a minute.", l), m.starts.wait(now, l-1))
	}
	if no := m.name(now, below); no != nil {
		return no
	}
	m.used.Requests++
	m.starts.add(now, 1)
	return nil
}

// name counts a host that was not asked for before.
func (m *meter) name(now time.Time, below string) *refusal {
	if _, known := m.names[below]; known || below == "" {
		return nil
	}
	bits := nameBits(below)
	if len(m.names) >= maxNames || m.bits+bits > maxNameBits {
		return spent(reasonLabelBudget, "This bottle has asked for as many different hosts below this wildcard as it may: the names themselves could carry data.", spentForGood)
	}
	if whole := int64(math.Ceil(bits)); m.recent.sum(now)+whole > maxNameBitsMinute {
		return spent(reasonLabelBudget, "This bottle has asked for too many different hosts below this wildcard within a minute: the names themselves could carry data.",
			m.recent.wait(now, maxNameBitsMinute-whole))
	}
	if m.names == nil {
		m.names = map[string]struct{}{}
	}
	m.names[below] = struct{}{}
	m.bits += bits
	m.recent.add(now, int64(math.Ceil(bits)))
	return nil
}

// nameBits is how much a name can say at most, by the characters it uses.
func nameBits(name string) float64 {
	var digit, hex, letter, other bool
	for _, c := range []byte(name) {
		switch {
		case c >= '0' && c <= '9':
			digit = true
		case c >= 'a' && c <= 'f':
			hex = true
		case c >= 'g' && c <= 'z':
			letter = true
		default:
			other = true
		}
	}
	alphabet := 38.0 // letters, digits, '-', '_', '.'
	switch {
	case other || letter && digit:
	case letter:
		alphabet = 26
	case hex:
		alphabet = 16
	default:
		alphabet = 10
	}
	return float64(len(name)) * math.Log2(alphabet)
}

// take counts bytes of a body, or refuses them and counts nothing.
func (m *meter) take(n int, in bool) *refusal {
	m.mu.Lock()
	defer m.mu.Unlock()
	limit, used := m.limits.BytesOut, &m.used.BytesOut
	if in {
		limit, used = m.limits.BytesIn, &m.used.BytesIn
	}
	if limit > 0 && int64(n) > limit-*used {
		if in {
			return spentIn(limit)
		}
		return spentOut(limit)
	}
	*used += int64(n)
	return nil
}

// expect refuses an answer of a known size for which nothing is left.
func (m *meter) expect(size int64) *refusal {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l := m.limits.BytesIn; l > 0 && size > l-m.used.BytesIn {
		return spentIn(l)
	}
	return nil
}

func (m *meter) usage() usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := m.used
	u.LastMinute, u.Names = m.starts.sum(m.now()), len(m.names)
	return u
}

// metered is the stage that counts a body.
type metered struct {
	meter *meter
	in    bool
}

func (m metered) pass(piece []byte) ([]byte, *refusal) { return piece, m.meter.take(len(piece), m.in) }

func (m metered) end() ([]byte, *refusal) { return nil, nil }

func spent(reason, message string, wait time.Duration) *refusal {
	return &refusal{Status: http.StatusTooManyRequests, Layer: layerBudget, Reason: reason, Message: message, RetryAfter: max(wait, time.Second),
		Ask: "Do with less, or ask the operator to raise the budget of this route in the bottle's manifest, with the reason you need it; http://" + localHost + "/allowlist shows what was used."}
}

func spentOut(limit int64) *refusal {
	return spent(reasonBudgetOut, fmt.Sprintf("With this request this bottle would send more than the %d bytes that its budget for this route allows.", limit), spentForGood)
}

func spentIn(limit int64) *refusal {
	return spent(reasonBudgetIn, fmt.Sprintf("With this answer this bottle would receive more than the %d bytes that its budget for this route allows.", limit), spentForGood)
}

// windowSeconds is a minute and the second that is not over.
const windowSeconds = 61

// window counts what happened within the last minute, to the second and never
// too little. The zero value is empty.
type window struct {
	slots [windowSeconds]struct{ second, n int64 }
}

func (w *window) add(now time.Time, n int64) {
	second := now.Unix()
	s := &w.slots[second%windowSeconds]
	if s.second != second {
		s.second, s.n = second, 0
	}
	s.n += n
}

func (w *window) sum(now time.Time) int64 {
	var sum int64
	for _, s := range w.slots {
		if now.Unix()-s.second < windowSeconds {
			sum += s.n
		}
	}
	return sum
}

// wait is how long it takes until no more than most is left in the window.
func (w *window) wait(now time.Time, most int64) time.Duration {
	for d := int64(1); d < windowSeconds; d++ {
		if w.sum(now.Add(time.Duration(d)*time.Second)) <= most {
			return time.Duration(d) * time.Second
		}
	}
	return windowSeconds * time.Second
}

// meters are those of all routes there were, by rule.
type meters map[string]*meter

// of returns the meter of a route that has a budget or is a wildcard; nil for
// others.
func (m meters) of(r sidecars.Route) *meter {
	if r.Budget == nil && !strings.HasPrefix(r.Host, "*.") {
		return nil
	}
	if m[r.Host] == nil {
		m[r.Host] = newMeter()
	}
	return m[r.Host]
}

// below is the part of a host that a route's wildcard leaves open.
func (r *route) below(host string) string {
	suffix, ok := strings.CutPrefix(r.rule, "*")
	if !ok {
		return ""
	}
	return strings.TrimSuffix(host, suffix)
}
