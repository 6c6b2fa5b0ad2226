package egress

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// upgrade carries out a WebSocket handshake and then copies bytes both ways
// until both sides are done. It does not use ReverseProxy: in Go 1.26 that
// leaks connections when one side ignores a half-close (golang/go#80875) and
// drops bytes buffered before the takeover.
func (ex *exchange) upgrade(a ask, to *route) {
	if ex.s.guard == nil {
		ex.refuse(protocolRefusal(reasonUpgrade, "A connection can be upgraded over HTTP/1.1 only.", "Use HTTP/1.1 for the WebSocket."))
		return
	}
	ctx, cancel := context.WithCancel(ex.r.Context())
	defer cancel()
	ex.watch = newWatchdog(ex.p.limits.Idle, func() { ex.ending.end(idle()) })
	ex.ending.onEnd(cancel)
	out := ex.outgoing(a, to)
	out.Header["Connection"] = []string{"Upgrade"}
	out.Header["Upgrade"] = []string{"websocket"}
	if to.auth != nil {
		ex.gen.pins.withoutPlaceholders(out.Header)
	}
	ex.track()
	resp, err := ex.roundTrip(ctx, out)
	if err != nil {
		ex.failed(err)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		ex.respond(resp)
		return
	}
	if no := ex.judgeAnswer(resp); no != nil {
		ex.refuse(no)
		return
	}
	upstream, ok := resp.Body.(io.ReadWriteCloser)
	if !ok || !strings.EqualFold(resp.Header.Get("Upgrade"), "websocket") {
		ex.refuse(upstreamRefusal(http.StatusBadGateway, reasonUpstreamFailed, "The server switched to another protocol than websocket."))
		return
	}
	ex.watch.stop()
	ex.tracked.opened()
	ex.runTunnel(resp, upstream)
}

// runTunnel answers 101 and joins the two connections.
func (ex *exchange) runTunnel(resp *http.Response, upstream io.ReadWriteCloser) {
	ex.d.Status = http.StatusSwitchingProtocols
	_, early, err := ex.hijack()
	if err != nil {
		ex.broken(err)
	}
	client := ex.s.guard.Conn
	defer client.Close()
	_ = client.SetDeadline(time.Time{})
	if err := writeSwitch(client, resp.Header); err != nil {
		ex.d.Layer, ex.d.Reason = layerProxy, reasonClientGone
		return
	}
	t := &splice{ex: ex, client: client, upstream: upstream}
	ex.watch = newWatchdog(ex.p.limits.Idle, func() { ex.ending.end(idle()) })
	ex.ending.onEnd(t.closeBoth)
	t.run(io.MultiReader(bytes.NewReader(early), client))
	if why := ex.ending.reason(); why != nil {
		ex.d.Verdict, ex.d.Layer, ex.d.Reason, ex.d.Message = why.verdict(), why.Layer, why.Reason, why.Message
	}
}

func writeSwitch(w io.Writer, header http.Header) error {
	h := http.Header{}
	copyResponseHeader(h, header)
	h.Set("Connection", "Upgrade")
	h.Set("Upgrade", "websocket")
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	if err := h.Write(&b); err != nil {
		return err
	}
	b.WriteString("\r\n")
	_, err := w.Write(b.Bytes())
	return err
}

// splice is a running WebSocket tunnel.
type splice struct {
	ex       *exchange
	client   io.ReadWriteCloser
	upstream io.ReadWriteCloser
	once     sync.Once
	halfOnce sync.Once
	half     *time.Timer
}

// run copies until both directions have ended; both copiers are joined.
func (s *splice) run(fromClient io.Reader) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.copy(s.client, s.staged(s.upstream, s.ex.inbound()), &s.ex.got)
	}()
	s.copy(s.upstream, s.staged(fromClient, s.ex.outbound()), &s.ex.sent)
	<-done
	s.closeBoth()
	if s.half != nil {
		s.half.Stop()
	}
}

func (s *splice) staged(from io.Reader, through stages) io.Reader {
	return &staged{from: from, stages: through, refuse: s.ex.ending.end}
}

type counter interface{ Add(int64) int64 }

// copy passes one direction on. A clean end is forwarded as a half-close, and
// the other direction gets a while to finish; any error ends both.
func (s *splice) copy(dst io.Writer, src io.Reader, n counter) {
	buf := s.ex.p.buffers.get()
	defer s.ex.p.buffers.put(buf)
	for {
		got, err := src.Read(*buf)
		if got > 0 {
			s.ex.watch.touch()
			n.Add(int64(got))
			if _, werr := dst.Write((*buf)[:got]); werr != nil {
				s.closeBoth()
				return
			}
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, io.EOF) || closeWrite(dst) != nil {
			s.closeBoth()
			return
		}
		s.halfOnce.Do(func() { s.half = time.AfterFunc(s.ex.p.limits.HalfClosed, s.closeBoth) })
		return
	}
}

func (s *splice) closeBoth() {
	s.once.Do(func() {
		_ = s.client.Close()
		_ = s.upstream.Close()
	})
}
