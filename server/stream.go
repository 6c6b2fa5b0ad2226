package server

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// writeTimeout bounds one write to a client that does not read.
const writeTimeout = 30 * time.Second

// stream writes the frames of one request as its HTTP response: plain JSON when
// the answer is the first frame, else server-sent events.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	events  bool            // the client takes an event stream
	quiet   time.Duration   // longest silence
	begun   bool            // the event stream has begun
	client  context.Context // of the HTTP request: ends when the client leaves
}

// serve writes until the answer is out, the client is gone or has cancelled.
func (s *stream) serve(ctx context.Context, from *outbox) {
	// A deadline would stay with the connection and hit its next response.
	defer func() { _ = s.control.SetWriteDeadline(time.Time{}) }()
	for {
		f, why := from.take(ctx, s.quiet)
		switch {
		case why == gone:
			s.ended(ctx, from)
			return
		case why == silent:
			// Headers and then a sign of life: clients give up on silence.
			if s.events && s.write([]byte(": still running\n\n")) != nil {
				return
			}
		case why == took && f.last:
			s.answer(f.data)
			return
		case why == took && s.events:
			if s.write(event(f.data)) != nil {
				return
			}
		}
	}
}

// ended finishes a response whose request's context has ended: by the client's
// cancel, by the client's leaving, by the server, or because its answer comes
// this moment.
func (s *stream) ended(ctx context.Context, from *outbox) {
	switch {
	case errors.Is(context.Cause(ctx), errCancelledByClient):
		s.withoutAnswer()
		return
	case s.client.Err() != nil && !errors.Is(context.Cause(s.client), errStopping):
		return
	}
	wait, done := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
	defer done()
	for {
		f, why := from.take(wait, 0)
		switch {
		case why != took:
			if !s.begun {
				http.Error(s.w, "the call did not end in time", http.StatusServiceUnavailable)
			}
			return
		case f.last:
			s.answer(f.data)
			return
		}
	}
}

// withoutAnswer ends the response to a cancelled request: the protocol wants no
// answer then.
func (s *stream) withoutAnswer() {
	if !s.events {
		s.w.WriteHeader(http.StatusAccepted)
		return
	}
	_ = s.write([]byte(": cancelled\n\n"))
}

// answerTimeout bounds the wait for the answer of a call that was cancelled by
// the server or ended this moment.
const answerTimeout = 5 * time.Second

func (s *stream) answer(data []byte) {
	if s.begun {
		_ = s.write(event(data))
		return
	}
	_ = s.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	writeJSON(s.w, http.StatusOK, data)
	_ = s.control.Flush() // still under the deadline
}

// write sends part of the event stream, beginning it if need be.
func (s *stream) write(data []byte) error {
	if !s.begun {
		s.begun = true
		s.w.Header().Set("Content-Type", "text/event-stream")
		s.w.Header().Set("X-Accel-Buffering", "no") // for nginx in between
		s.w.WriteHeader(http.StatusOK)
	}
	_ = s.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := s.w.Write(data); err != nil {
		return err
	}
	return s.control.Flush()
}

// event is a frame as a server-sent event. Encoded JSON holds no line break.
func event(data []byte) []byte {
	return append(append([]byte("event: message\ndata: "), data...), '\n', '\n')
}
