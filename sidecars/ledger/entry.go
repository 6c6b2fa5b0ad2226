package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// Format is the version of the lines, which the first of them names.
const Format = 1

// MaxLine bounds one line. What is longer was not written here.
const MaxLine = 64 << 10

// Type says what a line is.
type Type string

// The types of lines.
const (
	// TypeDecision is a decision: a request that is over, or a refusal.
	TypeDecision Type = ""
	// TypeGenesis begins a ledger.
	TypeGenesis Type = "genesis"
	// TypeStart begins what one process wrote.
	TypeStart Type = "start"
	// TypeBegin tells of an allowed exchange that goes on, so that it is known
	// when its process dies; its end is a decision with the same exchange.
	TypeBegin Type = "begin"
	// TypeProgress has the bytes that such an exchange has moved.
	TypeProgress Type = "progress"
	// TypePolicy says that another policy is in force from here on.
	TypePolicy Type = "policy"
	// TypeCheckpoint repeats the counts so far.
	TypeCheckpoint Type = "checkpoint"
	// TypeRotate is the last line of a file that is full.
	TypeRotate Type = "rotate"
	// TypeSegment is the first line of the file after it.
	TypeSegment Type = "segment"
	// TypeNote tells of the ledger itself, such as a repair.
	TypeNote Type = "note"
	// TypeStop ends what one process wrote, in good order.
	TypeStop Type = "stop"
)

// Counts are what a ledger holds since its genesis.
type Counts struct {
	Allowed  int64 `json:"allowed"`
	Denied   int64 `json:"denied"`
	BytesOut int64 `json:"bytes_out"`
	BytesIn  int64 `json:"bytes_in"`
}

func (c *Counts) add(d *sidecars.Decision) {
	if d.Verdict == sidecars.Deny {
		c.Denied++
	} else {
		c.Allowed++
	}
	c.BytesOut += d.BytesOut
	c.BytesIn += d.BytesIn
}

// Entry is one line, read.
type Entry struct {
	Seq  uint64 `json:"seq"`
	Prev string `json:"prev"`
	Type Type   `json:"type,omitempty"`
	sidecars.Decision
	Format  int     `json:"format,omitempty"`
	Program string  `json:"program,omitempty"`
	Policy  string  `json:"policy,omitempty"`
	Base    int64   `json:"base,omitempty"`
	Counts  *Counts `json:"counts,omitempty"`
	Hash    string  `json:"hash"`
}

// event is what a line holds that is no decision.
type event struct {
	Type    Type      `json:"type"`
	Time    time.Time `json:"time"`
	Bottle  string    `json:"bottle"`
	Format  int       `json:"format,omitempty"`
	Program string    `json:"program,omitempty"`
	Policy  string    `json:"policy,omitempty"` // SHA-256 of the routes
	Base    int64     `json:"base,omitempty"`   // bytes in the files before this one
	Counts  *Counts   `json:"counts,omitempty"`
	Message string    `json:"message,omitempty"`
}

// ongoing is a decision about an exchange that is not over.
type ongoing struct {
	Type Type `json:"type"`
	sidecars.Decision
}

const (
	seqMark  = `{"seq":`
	prevMark = `,"prev":"`
	hashMark = `,"hash":"`
	lineEnd  = "\"}\n"
	hashLen  = 2 * sha256.Size
	tailLen  = len(hashMark) + hashLen + len(lineEnd)
)

// origin stands for the hash of the line before the first.
const origin = "0000000000000000000000000000000000000000000000000000000000000000"

// seal appends a line to out: body, a JSON object, with its place in the chain.
// What is hashed are the bytes of the line up to the hash itself.
func seal(out *bytes.Buffer, seq uint64, prev string, body []byte) (hash string) {
	from := out.Len()
	out.WriteString(seqMark)
	out.Write(strconv.AppendUint(out.AvailableBuffer(), seq, 10))
	out.WriteString(prevMark)
	out.WriteString(prev)
	out.WriteString(`",`)
	out.Write(body[1 : len(body)-1])
	hash = hashOf(out.Bytes()[from:])
	out.WriteString(hashMark)
	out.WriteString(hash)
	out.WriteString(lineEnd)
	return hash
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// place is where in the chain a line says it is.
type place struct {
	seq        uint64
	prev, hash string
}

// unseal takes a whole line apart and compares its hash. Every byte of a line
// is either hashed, the hash, or compared here.
func unseal(line []byte) (place, error) {
	var p place
	if len(line) > MaxLine {
		return p, fmt.Errorf("it has more than %d bytes", MaxLine)
	}
	if len(line) < tailLen || !bytes.HasSuffix(line, []byte(lineEnd)) {
		return p, errors.New("it does not end as a line of a ledger does")
	}
	body, tail := line[:len(line)-tailLen], line[len(line)-tailLen:]
	if !bytes.HasPrefix(tail, []byte(hashMark)) {
		return p, errors.New("its hash is not where it belongs")
	}
	rest, ok := bytes.CutPrefix(body, []byte(seqMark))
	number, rest, ok2 := bytes.Cut(rest, []byte(prevMark))
	if !ok || !ok2 || len(rest) < hashLen {
		return p, errors.New("its number and the hash before it are not where they belong")
	}
	var err error
	if p.seq, err = strconv.ParseUint(string(number), 10, 64); err != nil {
		return p, errors.New("its number is none")
	}
	p.prev, p.hash = string(rest[:hashLen]), string(tail[len(hashMark):len(hashMark)+hashLen])
	if hashOf(body) != p.hash {
		return p, errors.New("its hash is not that of its content")
	}
	return p, nil
}

// Decode reads a line without checking its place in the chain. Bytes that are
// no entry, and decisions that are neither allowed nor denied, are an error.
func Decode(line []byte) (Entry, error) {
	var e Entry
	if len(line) > MaxLine {
		return e, fmt.Errorf("a line of more than %d bytes", MaxLine)
	}
	if err := json.Unmarshal(line, &e); err != nil {
		return Entry{}, err
	}
	if e.Type == TypeDecision && e.Verdict != sidecars.Allow && e.Verdict != sidecars.Deny {
		return Entry{}, fmt.Errorf("a decision with the verdict %.20q", e.Verdict)
	}
	return e, nil
}

// maxText bounds any one string that a guest chose.
const maxText = 512

// Clean bounds s and replaces what is not printable ASCII, so that no terminal
// or log viewer acts on what a guest wrote.
func Clean(s string) string {
	plain := true
	for _, c := range []byte(s) {
		plain = plain && c >= ' ' && c <= '~'
	}
	if plain && len(s) <= maxText {
		return s
	}
	cut := s[:min(len(s), maxText-3)]
	out := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, cut)
	if len(cut) < len(s) {
		out += "..."
	}
	return out
}

func cleanDecision(d *sidecars.Decision) {
	for _, s := range []*string{&d.Host, &d.Path, &d.Method, &d.Message, &d.Rule} {
		*s = Clean(*s)
	}
}
