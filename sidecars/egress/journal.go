package egress

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
)

// journal is the proxy's end of the ledger. When that cannot be written, the
// proxy refuses requests until it can: what is not recorded must not happen.
type journal struct {
	ledger *ledger.Ledger
	own    bool   // started and closed here
	prefix string // of the names of exchanges
	count  atomic.Int64
}

func newJournal(cfg sidecars.Config, opts Options) (*journal, error) {
	var raw [4]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return nil, err
	}
	j := &journal{ledger: opts.Ledger, prefix: hex.EncodeToString(raw[:])}
	if j.ledger != nil {
		return j, nil
	}
	if opts.Log == nil {
		return nil, errors.New("no log given; pass one, decisions must be recorded")
	}
	lo, err := LedgerOptions(cfg)
	if err != nil {
		return nil, err
	}
	lo.Out = opts.Log
	j.own = true
	j.ledger, err = ledger.New(lo)
	return j, err
}

// LedgerOptions are those of the ledger of a bottle with this configuration,
// but for its files.
func LedgerOptions(cfg sidecars.Config) (ledger.Options, error) {
	policy, err := policyDigest(cfg.Routes)
	if err != nil {
		return ledger.Options{}, err
	}
	o := ledger.Options{Bottle: cfg.Bottle, Policy: policy, LedgerPolicy: cfg.Ledger}
	if info, ok := debug.ReadBuildInfo(); ok {
		o.Program = info.Main.Version
	}
	return o, nil
}

// policyDigest names a policy.
func policyDigest(routes []sidecars.Route) (string, error) {
	data, err := json.Marshal(routes)
	if err != nil {
		return "", fmt.Errorf("encode the policy: %w", err)
	}
	digest := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(digest[:]), nil
}

func (j *journal) start() error {
	if !j.own {
		return nil
	}
	return j.ledger.Start()
}

func (j *journal) close() error {
	if !j.own {
		return nil
	}
	return j.ledger.Close()
}

// clean bounds s and replaces what is not printable ASCII.
func clean(s string) string { return ledger.Clean(s) }

// Times of what is recorded of an exchange before its end.
const (
	// beginAfter is when an exchange without a request body counts as long.
	beginAfter = time.Second
	// progressEvery is between two lines about one that moves bytes.
	progressEvery = time.Minute
)

// tracked is an exchange that may take long. Its begin is recorded, so that a
// proxy which dies has not let it out unseen.
type tracked struct {
	ex    *exchange
	timer *time.Timer

	mu    sync.Mutex
	d     sidecars.Decision // as it was when the exchange was allowed
	begun bool
	over  bool
	moved int64
}

// track watches an exchange from the moment it is allowed. What carries a body
// out is recorded at once.
func (ex *exchange) track() {
	t := &tracked{ex: ex, d: ex.d}
	t.d.Exchange = ex.p.journal.prefix + "-" + strconv.FormatInt(ex.p.journal.count.Add(1), 10)
	ex.tracked = t
	if ex.body != nil {
		t.begun = true
		ex.p.journal.ledger.Begin(t.d)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer = time.AfterFunc(beginAfter, t.tick)
}

// opened records the begin of a tunnel, before its first byte.
func (t *tracked) opened() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.begun && !t.over {
		t.begun = true
		t.ex.p.journal.ledger.BeginNow(t.d)
	}
}

func (t *tracked) tick() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return
	}
	t.timer.Reset(progressEvery)
	if !t.begun {
		t.begun = true
		t.ex.p.journal.ledger.Begin(t.d)
		return
	}
	d := t.d
	d.BytesOut, d.BytesIn, d.Duration = t.ex.sent.Load(), t.ex.got.Load(), time.Since(d.Time)
	if moved := d.BytesOut + d.BytesIn; moved != t.moved {
		t.moved = moved
		t.ex.p.journal.ledger.Progress(d)
	}
}

// end stops watching; the name it returns is "" when no begin was recorded.
func (t *tracked) end() string {
	if t == nil {
		return ""
	}
	t.timer.Stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	if !t.begun {
		return ""
	}
	return t.d.Exchange
}
