package egress

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars/dlp"
)

// screen looks for secrets in what the agent sends, before anything of the
// proxy's own is put on it: the head at once, and of the body what it says it is.
func (ex *exchange) screen(a *ask) *refusal {
	ex.kept = agentHeader(ex.r.Header, ex.route.auth)
	if no := injectedLine(a, ex.kept); no != nil {
		return no
	}
	if !ex.route.scans.requests() {
		ex.p.hide(&ex.d)
		return nil
	}
	if no := ex.screenEncoding(); no != nil {
		return no
	}
	all := ex.scanHead(a)
	return ex.weigh(all, func() error { return ex.redactHead(a) })
}

// injectedLine refuses line ends that could begin a header or a request at a
// server behind this one. It is no matter of a route's rules.
func injectedLine(a *ask, kept http.Header) *refusal {
	holds := dlp.CRLF(dlp.Path, []byte(a.path)) || dlp.CRLF(dlp.Query, []byte(a.query))
	for name, values := range kept {
		for _, v := range values {
			holds = holds || dlp.CRLF(dlp.HeaderField(name), []byte(v))
		}
	}
	if !holds {
		return nil
	}
	return &refusal{Status: http.StatusForbidden, Layer: layerDLP, Reason: reasonLineEnd,
		Message: "The URL or a header holds an encoded line end, with which a header or a request could be forged.", Ask: askNone}
}

// headTexts are the parts of a request's head, in the order in which they go out.
func headTexts(a *ask, kept http.Header) []dlp.Text {
	texts := []dlp.Text{{Field: dlp.Host, Value: []byte(a.to.Host)}, {Field: dlp.Path, Value: []byte(a.path)}}
	if a.query != "" {
		texts = append(texts, dlp.Text{Field: dlp.Query, Value: []byte(a.query)})
	}
	names := slices.Sorted(maps.Keys(kept))
	for _, name := range names {
		if commonNames[name] == 0 {
			texts = append(texts, dlp.Text{Field: dlp.HeaderName, Value: []byte(name)})
		}
	}
	// Values follow each other, so that what is cut over two of them is seen.
	for _, name := range names {
		for _, v := range kept[name] {
			if v != "" {
				texts = append(texts, dlp.Text{Field: dlp.HeaderField(name), Value: []byte(v)})
			}
		}
	}
	return texts
}

// commonNames are headers whose names say nothing.
var commonNames = map[string]int{
	"Accept": 1, "Accept-Encoding": 1, "Accept-Language": 1, "Authorization": 1, "Cache-Control": 1, "Content-Encoding": 1,
	"Content-Length": 1, "Content-Type": 1, "Cookie": 1, "If-None-Match": 1, "Origin": 1, "Range": 1, "Referer": 1, "Te": 1, "User-Agent": 1,
}

func (ex *exchange) scanHead(a *ask) []dlp.Finding {
	return ex.gen.scanner.ScanAll(dlp.StreamOptions{Detectors: ex.route.scans.outbound}, headTexts(a, ex.kept))
}

// errKeepsSecret is a head that cannot be redacted.
var errKeepsSecret = errors.New("the secret cannot be taken out")

// redactHead overwrites what was found in the query and in headers' values. The
// path and the host decide what a request is, and a signed request is not the
// same any more: those are refused.
func (ex *exchange) redactHead(a *ask) error {
	if signed(a, ex.kept) {
		return errKeepsSecret
	}
	clean := func(field dlp.Field, text string) (string, error) {
		out, _, err := ex.gen.scanner.Redact(dlp.StreamOptions{Detectors: ex.route.scans.outbound, Field: field}, []byte(text))
		return string(out), err
	}
	query, err := clean(dlp.Query, a.query)
	if err != nil {
		return err
	}
	next := http.Header{}
	for name, values := range ex.kept {
		for _, v := range values {
			if v, err = clean(dlp.HeaderField(name), v); err != nil {
				return err
			}
			next[name] = append(next[name], v)
		}
	}
	before, old := ex.kept, a.query
	ex.kept, a.query = next, query
	if dlp.Decide(ex.scanHead(a), dlp.OnMatchBlock) != dlp.Pass {
		ex.kept, a.query = before, old
		return errKeepsSecret
	}
	return nil
}

// signed reports whether a signature covers the request, as far as that shows.
func signed(a *ask, h http.Header) bool {
	auth := h.Get("Authorization")
	if strings.HasPrefix(auth, "AWS4-") || strings.HasPrefix(strings.ToLower(auth), "signature ") {
		return true
	}
	for name := range h {
		if strings.Contains(strings.ToLower(name), "signature") {
			return true
		}
	}
	return strings.Contains(strings.ToLower(a.query), "signature=")
}

// screenTrailer scans what comes behind a body.
func (ex *exchange) screenTrailer(trailer http.Header) *refusal {
	if !ex.route.scans.requests() {
		return nil
	}
	var texts []dlp.Text
	for _, name := range slices.Sorted(maps.Keys(trailer)) {
		texts = append(texts, dlp.Text{Field: dlp.Trailer, Value: []byte(name)})
		for _, v := range trailer[name] {
			if dlp.CRLF(dlp.Trailer, []byte(v)) {
				return injectedLine(&ask{}, http.Header{name: {"\n"}})
			}
			texts = append(texts, dlp.Text{Field: dlp.Trailer, Value: []byte(v)})
		}
	}
	return ex.judgePiece(ex.gen.scanner.ScanAll(dlp.StreamOptions{Detectors: ex.route.scans.outbound}, texts))
}
