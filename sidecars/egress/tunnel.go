package egress

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// splice is a running WebSocket tunnel.
type splice struct {
	ex               *exchange
	client, upstream *side
	cutting          atomic.Bool
	once, halfOnce   sync.Once
	closers          sync.WaitGroup

	mu     sync.Mutex
	timers []*time.Timer
}

// errSideOver is returned for what comes after the last word to a side.
var errSideOver = errors.New("nothing more is sent to this side")

// side is an end of a tunnel as the other one's bytes are written to it.
type side struct {
	conn   io.ReadWriteCloser
	server bool

	mu   sync.Mutex
	mid  bool // the last byte was within a frame
	over bool
}

// write sends what a direction let go; mid says whether that ends within a frame.
func (s *side) write(b []byte, mid bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return errSideOver
	}
	s.mid = mid
	_, err := s.conn.Write(b)
	return err
}

// sayGoodbye sends why the tunnel ends as the last frame. Within a frame that
// would be taken for its payload: then the end of the connection has to do.
func (s *side) sayGoodbye(no *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.over = true
	if !s.mid {
		_, _ = s.conn.Write(closeFrame(no, s.server))
	}
	_ = closeWrite(s.conn)
}

// direction is one way through a tunnel.
type direction struct {
	from   io.Reader
	to     *side
	frames *frames
	stages stages
	count  counter
}

type counter interface{ Add(int64) int64 }

// run copies until both directions have ended; both copiers are joined.
func (t *splice) run(fromClient io.Reader, extended bool) {
	ex := t.ex
	out := &frames{reader: frameReader{fromClient: true, extended: extended}}
	if ex.route.scans.requests() {
		out.look = ex.newOutboundMessages()
	}
	in := &frames{reader: frameReader{extended: extended}}
	if ex.reads() || len(ex.route.scans.answers()) > 0 {
		in.look = ex.newInboundMessages(in)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.copy(&direction{t.upstream.conn, t.client, in, append(ex.boundsOfAnswer(), in), &ex.got})
	}()
	t.copy(&direction{fromClient, t.upstream, out, append(stages{out}, ex.outbound()...), &ex.sent})
	<-done
	ex.ending.over()
	t.closers.Wait() // the last words are said before the sides are closed; a timer bounds them
	t.closeBoth()
	t.stopTimers()
}

// copy passes one direction on. A clean end is forwarded as a half-close, and
// the other direction gets a while to finish; any error ends both.
func (t *splice) copy(d *direction) {
	buf := t.ex.p.buffers.get()
	defer t.ex.p.buffers.put(buf)
	for {
		n, err := d.from.Read(*buf)
		if n > 0 {
			t.ex.watch.touch()
			if !t.forward(d, (*buf)[:n], d.stages.pass) {
				return
			}
		}
		if err == nil {
			continue
		}
		t.ended(d, err)
		return
	}
}

// ended is the end of what a direction reads.
func (t *splice) ended(d *direction, err error) {
	switch {
	case !errors.Is(err, io.EOF):
		t.giveUp()
	case t.forward(d, nil, func([]byte) ([]byte, *refusal) { return d.stages.end() }):
		if closeWrite(d.to.conn) != nil {
			t.giveUp()
			return
		}
		t.halfOnce.Do(func() { t.after(t.ex.p.limits.HalfClosed, t.closeBoth) })
	}
}

// forward sends a piece through the stages and on. Where that cannot go on, it
// reads the rest away, so that the other side can read the last word.
func (t *splice) forward(d *direction, piece []byte, through func([]byte) ([]byte, *refusal)) bool {
	b, no := through(piece)
	if no != nil {
		t.ex.ending.end(no)
	} else if len(b) > 0 {
		d.count.Add(int64(len(b)))
		err := d.to.write(b, d.frames.mid())
		if err == nil {
			return true
		}
		if !errors.Is(err, errSideOver) {
			t.giveUp()
			return false
		}
	} else if !t.cutting.Load() {
		return true
	}
	_, _ = io.CopyN(io.Discard, d.from, lingerBytes)
	return false
}

// cut ends the tunnel with a word to both sides, and a moment for them to read
// it. It does not wait.
func (t *splice) cut() {
	if t.cutting.Swap(true) {
		return
	}
	why := t.ex.ending.why // the caller holds its lock
	t.after(lingerTime, t.closeBoth)
	for _, s := range []*side{t.client, t.upstream} {
		t.closers.Go(func() { s.sayGoodbye(why) })
	}
}

// giveUp closes both sides at once, unless they are being told why.
func (t *splice) giveUp() {
	if !t.cutting.Load() {
		t.closeBoth()
	}
}

func (t *splice) closeBoth() {
	t.once.Do(func() {
		_ = t.client.conn.Close()
		_ = t.upstream.conn.Close()
	})
}

func (t *splice) after(d time.Duration, do func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timers = append(t.timers, time.AfterFunc(d, do))
}

func (t *splice) stopTimers() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, timer := range t.timers {
		timer.Stop()
	}
}
