package command

import "sync"

// Sizes of what is kept of a captured standard error, and how much of it a
// program may print: it is chatter, so it is cut rather than refused, but a
// program that does nothing else must end.
const (
	stderrHead = 16 << 10
	stderrTail = 48 << 10
	maxChatter = 64 << 20
)

// capture keeps the head and the tail of what is written to it. It is safe for
// use while a program still writes.
type capture struct {
	mu         sync.Mutex
	head, tail []byte
	maxHead    int
	maxTail    int
	total      int64
	limit      int64
	overflow   func() // called when more than limit was written
}

// Write implements io.Writer and never fails.
func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(p)
	c.total += int64(n)
	if c.total > c.limit && c.overflow != nil {
		c.overflow()
		c.overflow = nil
	}
	if room := c.maxHead - len(c.head); room > 0 {
		take := min(room, len(p))
		c.head = append(c.head, p[:take]...)
		p = p[take:]
	}
	if c.maxTail > 0 {
		c.tail = append(c.tail, p...)
		if cut := len(c.tail) - c.maxTail; cut > c.maxTail {
			c.tail = append(c.tail[:0], c.tail[cut:]...) // rarely, so that writing stays linear
		}
	}
	return n, nil
}

// full reports whether more was written than is allowed.
func (c *capture) full() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total > c.limit
}

// Bytes returns what was kept.
func (c *capture) Bytes() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	tail := c.tail
	if cut := len(tail) - c.maxTail; cut > 0 {
		tail = tail[cut:]
	}
	out := append([]byte(nil), c.head...)
	if c.total > int64(len(out)+len(tail)) && c.maxTail > 0 && len(out) > 0 {
		out = append(out, "\n…\n"...)
	}
	return append(out, tail...)
}

// Tail is a writer that keeps the last bytes written to it. It is safe for
// concurrent use and never fails.
type Tail struct{ capture }

// NewTail returns a Tail that keeps limit bytes.
func NewTail(limit int) *Tail {
	return &Tail{capture{maxTail: limit, limit: 1 << 62}}
}

// String returns the bytes kept.
func (t *Tail) String() string { return string(t.Bytes()) }
