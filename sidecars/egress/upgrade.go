package egress

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"time"
)

// upgrade carries out a WebSocket handshake and then copies frames both ways
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
	if ex.readsMessages() {
		delete(out.Header, extensionHeader) // they compress
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
	if ex.readsMessages() && len(resp.Header[extensionHeader]) > 0 {
		ex.refuse(upstreamRefusal(http.StatusBadGateway, reasonExtension, "The server insists on a WebSocket extension, and this bottle's messages have to be readable."))
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
	t := &splice{ex: ex, client: &side{conn: client}, upstream: &side{conn: upstream, server: true}}
	ex.watch = newWatchdog(ex.p.limits.Idle, func() { ex.ending.end(idle()) })
	ex.ending.onEnd(t.cut)
	t.run(io.MultiReader(bytes.NewReader(early), client), len(resp.Header[extensionHeader]) > 0)
	if why := ex.ending.reason(); why != nil {
		ex.d.Verdict, ex.d.Layer, ex.d.Reason, ex.d.Message = why.verdict(), why.Layer, why.Reason, why.Message
	}
}

// extensionHeader offers and accepts extensions of a WebSocket.
const extensionHeader = "Sec-Websocket-Extensions"

// readsMessages reports whether anybody looks at what a WebSocket carries.
func (ex *exchange) readsMessages() bool {
	return ex.reads() || ex.route.scans.requests() || len(ex.route.scans.answers()) > 0
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
