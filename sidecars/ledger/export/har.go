package export

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
)

// The parts of HAR 1.2 that a ledger can fill in. Lists that the format demands
// are empty, sizes that are not known -1.
type (
	harEntry struct {
		Pageref  string      `json:"pageref,omitempty"`
		Started  time.Time   `json:"startedDateTime"`
		Time     float64     `json:"time"` // milliseconds
		Request  harRequest  `json:"request"`
		Response harResponse `json:"response"`
		Cache    struct{}    `json:"cache"`
		Timings  harTimings  `json:"timings"`
		Comment  string      `json:"comment,omitempty"`

		Seq     uint64           `json:"_seq"`
		Service sidecars.Service `json:"_service"`
		Verdict string           `json:"_verdict"`
		Layer   string           `json:"_layer,omitempty"`
		Reason  string           `json:"_reason,omitempty"`
		Rule    string           `json:"_rule,omitempty"`
	}
	harRequest struct {
		Method      string     `json:"method"`
		URL         string     `json:"url"`
		HTTPVersion string     `json:"httpVersion"`
		Cookies     []struct{} `json:"cookies"`
		Headers     []struct{} `json:"headers"`
		QueryString []struct{} `json:"queryString"`
		HeadersSize int        `json:"headersSize"`
		BodySize    int64      `json:"bodySize"`
	}
	harResponse struct {
		Status      int        `json:"status"`
		StatusText  string     `json:"statusText"`
		HTTPVersion string     `json:"httpVersion"`
		Cookies     []struct{} `json:"cookies"`
		Headers     []struct{} `json:"headers"`
		Content     harContent `json:"content"`
		RedirectURL string     `json:"redirectURL"`
		HeadersSize int        `json:"headersSize"`
		BodySize    int64      `json:"bodySize"`
	}
	harContent struct {
		Size     int64  `json:"size"`
		MIMEType string `json:"mimeType"`
	}
	harTimings struct {
		Send    float64 `json:"send"`
		Wait    float64 `json:"wait"`
		Receive float64 `json:"receive"`
	}
)

// harWriter writes one entry after the other: an archive may be large.
type harWriter struct {
	out   io.Writer
	begun bool
}

func newHAR(out io.Writer, program string) (Writer, error) {
	creator, err := json.Marshal(map[string]string{"name": "bottle-mcp", "version": program})
	if err != nil {
		return nil, err
	}
	_, err = io.WriteString(out, `{"log":{"version":"1.2","creator":`+string(creator)+`,"pages":[],"entries":[`)
	return &harWriter{out: out}, err
}

func (w *harWriter) Write(e *ledger.Entry) error {
	data, err := json.Marshal(archived(e))
	if err != nil {
		return err
	}
	comma := "\n"
	if w.begun {
		comma = ",\n"
	}
	w.begun = true
	_, err = io.WriteString(w.out, comma+string(data))
	return err
}

func (w *harWriter) Close() error {
	_, err := io.WriteString(w.out, "\n]}}\n")
	return err
}

func archived(e *ledger.Entry) harEntry {
	ms := float64(e.Duration) / float64(time.Millisecond)
	none := []struct{}{}
	h := harEntry{
		Started: e.Time, Time: ms, Timings: harTimings{Wait: ms}, Comment: e.Message,
		Seq: e.Seq, Service: e.Service, Verdict: e.Verdict, Layer: e.Layer, Reason: e.Reason, Rule: e.Rule,
		Request: harRequest{
			Method: e.Method, URL: address(e), HTTPVersion: "HTTP/1.1", Cookies: none, Headers: none, QueryString: none,
			HeadersSize: -1, BodySize: e.BytesOut,
		},
		Response: harResponse{
			Status: e.Status, StatusText: http.StatusText(e.Status), HTTPVersion: "HTTP/1.1", Cookies: none, Headers: none,
			Content: harContent{Size: e.BytesIn, MIMEType: "x-unknown"}, HeadersSize: -1, BodySize: e.BytesIn,
		},
	}
	if e.Type == ledger.TypeBegin {
		h.Comment = "It goes on, or its end could not be recorded."
	}
	return h
}

// address is a decision's URL, without query.
func address(e *ledger.Entry) string {
	u := url.URL{Scheme: e.Scheme, Host: e.Host}
	if u.Scheme == "" {
		u.Scheme = "https" // a CONNECT, which has none
	}
	if e.Port != 0 && !(u.Scheme == "https" && e.Port == 443) && !(u.Scheme == "http" && e.Port == 80) {
		u.Host = net.JoinHostPort(e.Host, strconv.Itoa(e.Port))
	}
	path, err := url.PathUnescape(e.Path)
	if err != nil || e.Path == "" || e.Path[0] != '/' {
		u.Path = "/"
		return u.String()
	}
	u.Path, u.RawPath = path, e.Path
	return u.String()
}
