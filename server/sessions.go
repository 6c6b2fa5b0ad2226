package server

import (
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"github.com/bottle-mcp/bottle-mcp/provision"
)

// errTooManySessions means that every session is in use.
var errTooManySessions = errors.New("all sessions are in use; end one with DELETE, or retry later")

// session is one HTTP client between initialize and DELETE.
type session struct {
	peer *peer
	// users counts requests from their arrival until their handlers have
	// returned. A session in use neither expires nor makes room.
	users int
	idle  time.Time // since when, if users is 0
}

// sessions holds the HTTP sessions: a bounded number, under ids nobody can
// guess, that only initialize issues.
type sessions struct {
	max    int
	expiry time.Duration
	now    func() time.Time

	mu   sync.Mutex
	byID map[string]*session
}

func newSessions(limit int, expiry time.Duration) *sessions {
	return &sessions{max: limit, expiry: expiry, now: time.Now, byID: make(map[string]*session)}
}

// add makes a session for p. A full table drops the one that is idle longest:
// most are of clients that left without DELETE.
func (t *sessions) add(p *peer) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	oldest := ""
	for id, s := range t.byID {
		switch {
		case s.users > 0:
		case now.Sub(s.idle) > t.expiry:
			t.drop(id)
		case oldest == "" || s.idle.Before(t.byID[oldest].idle):
			oldest = id
		}
	}
	if len(t.byID) >= t.max {
		if oldest == "" {
			return errTooManySessions
		}
		t.drop(oldest)
	}
	t.byID[p.id] = &session{peer: p, idle: now}
	return nil
}

// use finds a session and holds it until release is called.
func (t *sessions) use(id string) (p *peer, release func(), ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.byID[id]
	if s == nil {
		return nil, nil, false
	}
	if s.users == 0 && t.now().Sub(s.idle) > t.expiry {
		t.drop(id)
		return nil, nil, false
	}
	s.users++
	return s.peer, sync.OnceFunc(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		s.users--
		s.idle = t.now()
	}), true
}

// remove ends a session and cancels its calls.
func (t *sessions) remove(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.byID[id]
	if ok {
		t.drop(id)
	}
	return ok
}

// drop is called under the lock.
func (t *sessions) drop(id string) {
	t.byID[id].peer.inflight.endAll(errSessionEnded)
	delete(t.byID, id)
}

// newSessionPeer is the peer of a new HTTP session. Its messages come on
// separate connections, so cancels may overtake calls.
func newSessionPeer(who provision.Principal) *peer {
	p := newPeerOf(who, rand.Text())
	p.inflight.early = make(map[string]time.Time)
	return p
}
