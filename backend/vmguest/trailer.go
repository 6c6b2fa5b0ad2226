package vmguest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// A trailer is separator, name, token, blank, JSON, newline. The separator can
// stand nowhere else in one: JSON escapes it. So whatever precedes a trailer,
// also half of another, cannot hide it.
const (
	separator   = 0x1e // ASCII record separator, which ordinary output rarely holds
	trailerName = "bottle-mcp-status "
	// maxTrailer is what a pipe takes at once (PIPE_BUF), so that no other
	// writer's bytes come between.
	maxTrailer = 4096
	// maxStartError leaves room for the rest of a trailer when JSON escapes
	// every byte.
	maxStartError = 512
	maxSignal     = 64
	shellSignal   = 128 // what shells add to a signal's number
)

// Trailer is a command's status as the guest tells it.
type Trailer struct {
	Code       int    `json:"code"`
	Signal     int    `json:"signal"`
	StartError string `json:"start_error"`
	UserTime   int64  `json:"utime_ns"`
	SystemTime int64  `json:"stime_ns"`
	MaxRSS     int64  `json:"maxrss"` // bytes
}

// NewTrailer is the trailer of a status.
func NewTrailer(s backend.ExitStatus) Trailer {
	why := strings.ToValidUTF8(s.StartError, "\uFFFD")
	for len(why) > maxStartError {
		_, size := utf8.DecodeLastRuneInString(why)
		why = why[:len(why)-size]
	}
	return Trailer{s.Code, s.Signal, why, int64(s.UserTime), int64(s.SystemTime), s.MaxRSSBytes}
}

// Status is the status that a trailer tells.
func (t Trailer) Status() backend.ExitStatus {
	return backend.ExitStatus{
		Code: t.Code, Signal: t.Signal, StartError: t.StartError,
		UserTime: time.Duration(t.UserTime), SystemTime: time.Duration(t.SystemTime), MaxRSSBytes: t.MaxRSS,
	}
}

// Encode returns the bytes of the trailer of the command with that token.
func (t Trailer) Encode(token string) ([]byte, error) {
	body, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	return append(append(trailerMark(token), body...), '\n'), nil
}

// trailerMark is how a trailer begins.
func trailerMark(token string) []byte {
	return append([]byte{separator}, trailerName+token+" "...)
}

var errTrailer = errors.New("not a trailer")

// parseTrailer reads what stands between mark and newline. The guest is
// hostile: a status that cannot be is none.
func parseTrailer(body []byte) (Trailer, error) {
	var t Trailer
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&t); err != nil {
		return Trailer{}, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Trailer{}, errTrailer
	}
	if !t.plausible() {
		return Trailer{}, errTrailer
	}
	return t, nil
}

func (t Trailer) plausible() bool {
	switch {
	case t.Code < 0 || t.Code > 255 || t.Signal < 0 || t.Signal > maxSignal:
		return false
	case t.Signal > 0 && t.Code != shellSignal+t.Signal:
		return false
	case len(t.StartError) > maxStartError || (t.StartError != "" && t.Code != codeNotFound && t.Code != codeCannotRun):
		return false
	}
	return t.UserTime >= 0 && t.SystemTime >= 0 && t.MaxRSS >= 0
}

// What shells say of a command that could not start.
const (
	codeCannotRun = 126
	codeNotFound  = 127
)
