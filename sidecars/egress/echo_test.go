package egress

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/scrub"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// reflector is an origin that hands the credential it was sent back: in the
// coding, the dress and the pieces that the query asks for.
func reflector(t testing.TB) http.HandlerFunc {
	dress := map[string]func(string) string{
		"raw":    func(s string) string { return s },
		"base64": func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		"hex":    func(s string) string { return hex.EncodeToString([]byte(s)) },
		"query":  url.QueryEscape,
		"json":   strconv.QuoteToASCII,
	}
	return func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		credential := r.Header.Get("Authorization")
		text := "before " + dress[q.Get("dress")](credential) + " after"
		rc := http.NewResponseController(w)
		if q.Has("early") {
			w.Header().Set("X-Early", credential)
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Del("X-Early")
		}
		if q.Has("headers") {
			w.Header().Set("X-Echo", credential)
			w.Header().Set("Location", "/?token="+url.QueryEscape(credential))
			_, token, _ := strings.Cut(credential, " ")
			w.Header()[textproto.CanonicalMIMEHeaderKey("X-"+token)] = []string{"1"}
			w.Header().Set("Trailer", "X-Sum")
			defer func() {
				w.Header().Set("X-Sum", credential)
				w.Header().Set(http.TrailerPrefix+"X-Late", credential)
			}()
		}
		coding := q.Get("coding")
		if coding != "identity" {
			w.Header().Set("Content-Encoding", strings.TrimPrefix(coding, "raw "))
			w.Header().Set("Etag", `"strong"`)
		}
		var body bytes.Buffer
		enc := encoders()[coding](&body)
		step, _ := strconv.Atoi(q.Get("step"))
		if step == 0 {
			_, _ = enc.Write([]byte(text))
			check(t, enc.Close())
			w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
			_, _ = w.Write(body.Bytes())
			return
		}
		for len(text) > 0 {
			n := min(step, len(text))
			_, _ = enc.Write([]byte(text[:n]))
			text = text[n:]
			check(t, enc.Flush())
			_, _ = w.Write(body.Bytes())
			_ = rc.Flush()
			body.Reset()
		}
		check(t, enc.Close())
		_, _ = w.Write(body.Bytes())
	}
}

// TestEchoInBodies has an allowed endpoint hand the injected credential back.
func TestEchoInBodies(t *testing.T) {
	b := newBed(t, func(b *bed, c *bedConfig) { c.handler = reflector(b.t) })
	// A beginning of less than four bytes may have gone before.
	filled := func(text string) bool {
		begin, rest, ok := strings.Cut(text, "before Bearer ")
		return ok && begin == "" && len(rest) == len(testToken)+len(" after") && rest[3:] == strings.Repeat("*", len(testToken)-3)+" after"
	}
	leaks := func(text string) bool {
		for _, needle := range []string{testToken, hex.EncodeToString([]byte(testToken)), base64.RawStdEncoding.EncodeToString([]byte("Bearer " + testToken))[10:40]} {
			if strings.Contains(text, needle) {
				return true
			}
		}
		return false
	}
	for coding := range encoders() {
		for _, dress := range []string{"raw", "base64", "hex", "query", "json"} {
			for _, step := range []int{0, 1, 5, 40} {
				name := fmt.Sprintf("%s %s step %d", coding, dress, step)
				t.Run(name, func(t *testing.T) {
					ask := func() (*http.Response, string) {
						req := get(t, b.secureURL("auth.test", "/?"+url.Values{"coding": {coding}, "dress": {dress}, "step": {strconv.Itoa(step)}}.Encode()))
						req.Header.Set("Accept-Encoding", "gzip, deflate, br, zstd, exotic")
						resp, err := b.client(step%2 == 0).Do(req)
						check(t, err)
						return resp, body(t, resp)
					}
					resp, text := ask()
					if leaks(text) || !strings.HasPrefix(text, "before ") || !strings.HasSuffix(text, " after") {
						t.Errorf("%s: %q", resp.Status, text)
					}
					if dress == "raw" && !filled(text) {
						t.Errorf("%q", text)
					}
					if resp.Header.Get("Content-Encoding") != "" || coding != "identity" && resp.Header.Get("Etag") != `W/"strong"` {
						t.Errorf("header %v", resp.Header)
					}
					if coding == "identity" && step == 0 && resp.ContentLength != int64(len(text)) {
						t.Errorf("length %d of %d bytes", resp.ContentLength, len(text))
					}
				})
			}
		}
	}
	d := b.logged("an echo", func(d sidecars.Decision) bool { return d.Reason == reasonEchoed })
	if d.Layer != layerResponse || d.Verdict != sidecars.Allow || d.Rule != "auth.test" || d.Status != http.StatusOK {
		t.Errorf("decision = %+v", d)
	}
	if strings.Contains(b.log.String(), testToken) {
		t.Error("the log holds the credential")
	}
	if got := b.arrived().Header.Get("Accept-Encoding"); got != "gzip, deflate, br, zstd" {
		t.Errorf("the server was offered %q", got)
	}
	t.Run("control", func(t *testing.T) {
		off := newBed(t, func(b *bed, c *bedConfig) { c.handler = reflector(b.t) })
		none, err := scrub.New(nil)
		check(t, err)
		off.proxy.current.Load().scrubber = none
		resp, err := off.client(false).Get(off.secureURL("auth.test", "/?coding=gzip&dress=raw&step=3&headers"))
		check(t, err)
		if text := body(t, resp); !leaks(text) || !leaks(resp.Header.Get("X-Echo")) || !leaks(resp.Trailer.Get("X-Sum")) {
			t.Error("without the scrubber nothing comes back: this test proves nothing")
		}
	})
}

func TestEchoInHeaders(t *testing.T) {
	b := newBed(t, func(b *bed, c *bedConfig) { c.handler = reflector(b.t) })
	for _, h2 := range []bool{false, true} {
		for _, coding := range []string{"identity", "gzip"} {
			t.Run(fmt.Sprintf("h2=%v %s", h2, coding), func(t *testing.T) {
				early := http.Header{}
				ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
					for name, values := range h {
						early[name] = values
					}
					return nil
				}})
				resp, err := b.client(h2).Do(get(t, b.secureURL("auth.test", "/?coding="+coding+"&dress=raw&step=7&headers&early")).WithContext(ctx))
				check(t, err)
				text := body(t, resp)
				filled := "Bearer " + strings.Repeat("*", len(testToken))
				for name, got := range map[string]string{
					"X-Echo": resp.Header.Get("X-Echo"), "X-Sum": resp.Trailer.Get("X-Sum"), "X-Late": resp.Trailer.Get("X-Late"), "X-Early": early.Get("X-Early"),
				} {
					if got != filled {
						t.Errorf("%s is %q, want %q", name, got, filled)
					}
				}
				for where, h := range map[string]http.Header{"head": resp.Header, "trailer": resp.Trailer, "early": early} {
					for name, values := range h {
						if all := name + strings.Join(values, " "); strings.Contains(strings.ToLower(all), strings.ToLower(testToken)) {
							t.Errorf("the %s holds %q", where, all)
						}
					}
				}
				if strings.Contains(text, testToken) {
					t.Errorf("body %q", text)
				}
			})
		}
	}
}

// Frames of a WebSocket go through the same search.
func TestEchoInWebSocket(t *testing.T) {
	b := withHandler(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Sec-Websocket-Extensions") != "" {
			http.Error(w, "compressed", http.StatusTeapot)
			return
		}
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer c.CloseNow()
		_ = c.Write(r.Context(), websocket.MessageText, []byte("it is "+r.Header.Get("Authorization")+" there"))
		_, _, _ = c.Read(r.Context())
	})
	ctx, cancel := context.WithTimeout(t.Context(), testWait)
	defer cancel()
	c, _, err := websocket.Dial(ctx, b.secureURL("auth.test", "/"), &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: b.client(false).Transport}, CompressionMode: websocket.CompressionContextTakeover,
	})
	check(t, err)
	defer c.CloseNow()
	_, got, err := c.Read(ctx)
	check(t, err)
	if want := "it is Bearer " + strings.Repeat("*", len(testToken)) + " there"; string(got) != want {
		t.Errorf("%q, want %q", got, want)
	}
	check(t, c.Write(ctx, websocket.MessageText, []byte("bye")))
	_ = c.CloseNow()
	b.logged("an echo", func(d sidecars.Decision) bool { return d.Reason == reasonEchoed })
}

// Events do not wait for each other, compressed or not, whatever they end in.
func TestEchoFilterStreams(t *testing.T) {
	texts := []string{"data: one\n\n", "data: ends in s3c", "\n\ndata: two\n\n", "binary\x00\xffs3"}
	for coding, encode := range encoders() {
		t.Run(coding, func(t *testing.T) {
			next := make(chan struct{})
			b := withHandler(t, func(w http.ResponseWriter, r *http.Request) {
				if coding != "identity" {
					w.Header().Set("Content-Encoding", strings.TrimPrefix(coding, "raw "))
				}
				rc := http.NewResponseController(w)
				_ = rc.Flush()
				enc := encode(w)
				for _, text := range texts {
					select {
					case <-next:
					case <-r.Context().Done():
						return
					}
					_, _ = io.WriteString(enc, text)
					_ = enc.Flush()
					_ = rc.Flush()
				}
				_ = enc.Close()
			})
			resp, err := b.client(false).Get(b.secureURL("auth.test", "/"))
			check(t, err)
			defer resp.Body.Close()
			in := bufio.NewReader(resp.Body)
			for _, text := range texts {
				next <- struct{}{} // the origin writes only after the last event arrived
				got := make([]byte, len(text))
				begun := time.Now()
				if _, err := io.ReadFull(in, got); err != nil || string(got) != text {
					t.Fatalf("%q, %v", got, err)
				}
				t.Logf("%q took %s", text, time.Since(begun))
			}
		})
	}
}

// What one route puts on is kept out of another one's answers, and a token that
// was replaced is still looked for.
func TestEchoOfOthers(t *testing.T) {
	const second, third = "the-second-token-of-all", "me:third-and-last-secret"
	var mu sync.Mutex
	answer := ""
	b := newBed(t, func(_ *bed, c *bedConfig) {
		c.handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			_, _ = io.WriteString(w, answer)
		})
	})
	next := b.cfg
	other := next.Routes[1]
	other.Auth = &sidecars.Auth{Scheme: sidecars.SchemeBasic, Slot: "T1"}
	next.Routes = append([]sidecars.Route{next.Routes[0], other}, next.Routes[2:]...)
	check(t, b.proxy.Reload(next, sidecars.Secrets{Tokens: map[string]secret.Value{"T0": secret.New(second), "T1": secret.New(third)}}))
	for _, text := range []string{second, third, "third-and-last-secret", base64.StdEncoding.EncodeToString([]byte(third))} {
		mu.Lock()
		answer = "<" + text + ">"
		mu.Unlock()
		for _, host := range []string{"auth.test", "other.test"} {
			resp, err := b.client(false).Get(b.secureURL(host, "/"))
			check(t, err)
			if got := body(t, resp); len(got) != len(text)+2 || strings.Contains(got, text[4:len(text)-4]) {
				t.Errorf("%s answers %q", host, got)
			}
		}
	}
}

// TestEchoAnySplit cuts the answer anywhere on the wire.
func TestEchoAnySplit(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	var mu sync.Mutex
	b := withHandler(t, func(w http.ResponseWriter, r *http.Request) {
		_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		text := strings.Repeat("-", 20) + token + strings.Repeat("=", 20) + token + "."
		for len(text) > 0 {
			mu.Lock()
			n := 1 + random.IntN(min(30, len(text)))
			mu.Unlock()
			_, _ = io.WriteString(w, text[:n])
			_ = http.NewResponseController(w).Flush()
			text = text[n:]
		}
	})
	c := b.client(false)
	fill := strings.Repeat("*", len(testToken))
	want := strings.Repeat("-", 20) + fill + strings.Repeat("=", 20) + fill + "."
	for range 100 {
		resp, err := c.Get(b.secureURL("auth.test", "/"))
		check(t, err)
		got := body(t, resp)
		differ := 0
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				differ++
			}
		}
		// A beginning of less than four bytes may have gone before.
		if len(got) != len(want) || differ > 6 || strings.Contains(got, testToken[3:]) {
			t.Fatalf("%q, want %q", got, want)
		}
	}
}
