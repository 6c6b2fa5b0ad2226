package egress

import (
	"encoding/base64"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

const attackersKey = "the-attackers-own-key"

// foreignCredentials are ways to bring an account of one's own to an allowed
// host.
func foreignCredentials() map[string]func(*http.Request) {
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header[name] = []string{value} }
	}
	query := func(q string) func(*http.Request) {
		return func(r *http.Request) { r.URL.RawQuery = q }
	}
	basic := base64.StdEncoding.EncodeToString([]byte(attackersKey + ":"))
	return map[string]func(*http.Request){
		"Bearer":                  header("Authorization", "Bearer "+attackersKey),
		"a bare token":            header("Authorization", attackersKey),
		"another scheme":          header("Authorization", "AWS4-HMAC-SHA256 Credential="+attackersKey),
		"Basic":                   header("Authorization", "Basic "+basic),
		"Basic that is no base64": header("Authorization", "Basic %%%"),
		"a second value": func(r *http.Request) {
			r.Header["Authorization"] = []string{"Bearer " + testPlaceholder, "Bearer " + attackersKey}
		},
		"behind a placeholder": header("Authorization", "Bearer "+testPlaceholder+" "+attackersKey),
		"X-Api-Key":            header("X-Api-Key", attackersKey),
		"x_api_key":            header("X_api_key", attackersKey),
		"X-Goog-Api-Key":       header("X-Goog-Api-Key", attackersKey),
		"Api-Key":              header("Api-Key", attackersKey),
		"Private-Token":        header("Private-Token", attackersKey),
		"X-Amz-Security-Token": header("X-Amz-Security-Token", attackersKey),
		"Proxy-Authorization":  header("Proxy-Authorization", "Bearer "+attackersKey),
		"named in Connection": func(r *http.Request) {
			r.Header["X-Api-Key"], r.Header["Connection"] = []string{attackersKey}, []string{"X-Api-Key"}
		},
		"access_token":            query("access_token=" + attackersKey),
		"apiKey":                  query("q=1&apiKey=" + attackersKey),
		"key":                     query("key=" + attackersKey),
		"an escaped name":         query("%61ccess%5Ftoken=" + attackersKey),
		"a name escaped twice":    query("%2561ccess_token=" + attackersKey),
		"an array":                query("token[]=" + attackersKey),
		"behind a semicolon":      query("q=1;token=" + attackersKey),
		"a presigned URL":         query("X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20260101&X-Amz-Signature=" + attackersKey),
		"a SAS token":             query("sv=2024-01-01&sig=" + attackersKey),
		"Bearer in the query":     query("authorization=Bearer+" + attackersKey),
		"a WebSocket subprotocol": header("Sec-Websocket-Protocol", "realtime, openai-insecure-api-key."+attackersKey),
	}
}

// TestForeignCredentials brings the attacker's account to a host for which the proxy has
// a credential.
func TestForeignCredentials(t *testing.T) {
	b := newBed(t, nil)
	for name, put := range foreignCredentials() {
		t.Run(name, func(t *testing.T) {
			send := func(host string) (*http.Response, string) {
				c := b.tunnel(host, host)
				req := get(t, b.secureURL(host, "/v1/files"))
				put(req)
				var raw strings.Builder
				raw.WriteString("GET " + req.URL.RequestURI() + " HTTP/1.1\r\nHost: " + req.URL.Host + "\r\n")
				check(t, req.Header.Write(&raw))
				c.send(raw.String() + "\r\n")
				resp := c.response("GET")
				return resp, body(t, resp)
			}
			resp, text := send("auth.test")
			if resp.StatusCode != http.StatusForbidden || resp.Header.Get(headerRefused) != reasonForeign {
				t.Errorf("%s %.300s", resp.Status, text)
			}
			if strings.Contains(text, attackersKey) {
				t.Error("the refusal repeats the credential")
			}
			// The control: where nothing is pinned, the same request passes, and
			// what brings the key to the server is there.
			resp, text = send("allowed.test")
			if resp.StatusCode != http.StatusOK {
				t.Errorf("control: %s %.300s", resp.Status, text)
			}
		})
	}
	d := b.loggedReason(reasonForeign)
	if d.Layer != layerPin || d.Verdict != sidecars.Deny || d.Rule != "auth.test" || d.Path != "/v1/files" {
		t.Errorf("decision = %+v", d)
	}
	if strings.Contains(b.log.String(), attackersKey) {
		t.Error("the log holds the credential")
	}
	t.Run("a cookie", func(t *testing.T) {
		for host, want := range map[string]string{"auth.test": "", "allowed.test": "session=" + attackersKey} {
			req := get(t, b.secureURL(host, "/"))
			req.Header.Set("Cookie", "session="+attackersKey)
			if _, s := fetch(t, b.client(false), req); s.Header.Get("Cookie") != want {
				t.Errorf("%s saw the cookie %q, want %q", host, s.Header.Get("Cookie"), want)
			}
		}
	})
	t.Run("userinfo", func(t *testing.T) {
		c := b.raw()
		at := hostPort(schemeHTTP, authority{Host: "allowed.test", Port: b.plainPort})
		c.send("GET http://user:" + attackersKey + "@" + at + "/ HTTP/1.1\r\nHost: " + at + "\r\n\r\n")
		if resp := c.response("GET"); resp.StatusCode != http.StatusBadRequest || strings.Contains(body(t, resp), attackersKey) {
			t.Errorf("%s", resp.Status)
		}
	})
}

// TestPin changes what counts as a credential.
func TestPin(t *testing.T) {
	b := newBed(t, nil)
	try := func(pin *sidecars.Pin, change func(*http.Request)) (refusedFor string, s seen) {
		b.reload(altered("auth.test", func(r *sidecars.Route) {
			r.Auth = &sidecars.Auth{Scheme: sidecars.SchemeBearer, Slot: "T0", Pin: pin}
		}))
		req := get(t, b.secureURL("auth.test", "/"))
		change(req)
		resp, err := b.client(false).Do(req)
		check(t, err)
		_ = body(t, resp)
		return resp.Header.Get(headerRefused), b.arrived()
	}
	query := func(q string) func(*http.Request) { return func(r *http.Request) { r.URL.RawQuery = q } }
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for _, tt := range []struct {
		name   string
		pin    sidecars.Pin
		change func(*http.Request)
		with   string // reason of the refusal, without the pin the other one
		other  string
	}{
		{"a parameter", sidecars.Pin{Query: []string{"my_ticket"}}, query("myTicket=" + attackersKey), reasonForeign, ""},
		{"a parameter that is none", sidecars.Pin{AllowQuery: []string{"key"}}, query("key=" + attackersKey), "", reasonForeign},
		{"not the others", sidecars.Pin{AllowQuery: []string{"key"}}, query("token=" + attackersKey), reasonForeign, reasonForeign},
		{"a header", sidecars.Pin{Headers: []string{"X-Ticket"}}, header("X-Ticket", attackersKey), reasonForeign, ""},
		{"the header with a placeholder", sidecars.Pin{Headers: []string{"X-Ticket"}}, header("X-Ticket", testPlaceholder), "", ""},
		{"cookies", sidecars.Pin{Cookies: sidecars.CookiesRefuse}, header("Cookie", "a="+attackersKey), reasonForeign, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, _ := try(&tt.pin, tt.change); got != tt.with {
				t.Errorf("with the pin: %q, want %q", got, tt.with)
			}
			if got, _ := try(nil, tt.change); got != tt.other {
				t.Errorf("without it: %q, want %q", got, tt.other)
			}
		})
	}
	if _, s := try(&sidecars.Pin{Cookies: sidecars.CookiesAllow}, header("Cookie", "a=b")); s.Header.Get("Cookie") != "a=b" {
		t.Errorf("allowed cookies: the server saw %q", s.Header.Get("Cookie"))
	}
	if _, s := try(nil, header("Cookie", "a=b")); s.Header.Get("Cookie") != "" {
		t.Errorf("cookies: the server saw %q", s.Header.Get("Cookie"))
	}
}

// TestSchemes puts credentials on in every way there is.
func TestSchemes(t *testing.T) {
	b := newBed(t, nil)
	for _, tt := range []struct {
		name, token  string
		auth         sidecars.Auth
		header, want string
	}{
		{"Bearer", "abc-def-ghi", sidecars.Auth{Scheme: sidecars.SchemeBearer}, "Authorization", "Bearer abc-def-ghi"},
		{"token", "abc-def-ghi", sidecars.Auth{Scheme: sidecars.SchemeToken}, "Authorization", "token abc-def-ghi"},
		{"Basic", "me:pa:ss", sidecars.Auth{Scheme: sidecars.SchemeBasic}, "Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("me:pa:ss"))},
		{"Basic, password alone", "abc-def-ghi", sidecars.Auth{Scheme: sidecars.SchemeBasic}, "Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("x-access-token:abc-def-ghi"))},
		{"header", "abc-def-ghi", sidecars.Auth{Scheme: sidecars.SchemeHeader, Header: "X-My-Key"}, "X-My-Key", "abc-def-ghi"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			next := b.cfg
			next.Routes = altered("auth.test", func(r *sidecars.Route) {
				auth := tt.auth
				auth.Slot = "NEW"
				r.Auth = &auth
			})(slices.Clone(b.cfg.Routes))
			check(t, b.proxy.Reload(next, sidecars.Secrets{Tokens: map[string]secret.Value{"NEW": secret.New(tt.token)}}))
			for _, h2 := range []bool{false, true} {
				req := get(t, b.secureURL("auth.test", "/"))
				req.Header.Set(tt.header, testPlaceholder)
				resp, err := b.client(h2).Do(req)
				check(t, err)
				_ = body(t, resp)
				s := b.arrived()
				if got := s.Header[tt.header]; resp.StatusCode != http.StatusOK || len(got) != 1 || got[0] != tt.want {
					t.Errorf("%s: the server saw %q, want %q", resp.Status, got, tt.want)
				}
				if tt.header != "Authorization" && s.Header.Get("Authorization") != "" {
					t.Errorf("Authorization is %q", s.Header.Get("Authorization"))
				}
			}
		})
	}
	for name, auth := range map[string]sidecars.Auth{
		"no header":       {Scheme: sidecars.SchemeHeader},
		"a bad header":    {Scheme: sidecars.SchemeHeader, Header: "Host"},
		"one too many":    {Scheme: sidecars.SchemeBearer, Header: "X-My-Key"},
		"another scheme":  {Scheme: "Digest"},
		"a bad parameter": {Scheme: sidecars.SchemeBearer, Pin: &sidecars.Pin{Query: []string{"a&b"}}},
	} {
		auth.Slot = "T0"
		if _, err := newTable([]sidecars.Route{{Host: "a.test", Auth: &auth}}, map[string]secret.Value{"T0": secret.New(testToken)}); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// TestPlaceholders are accepted wherever a program may put them, and never
// reach a server that gets the real one.
func TestPlaceholders(t *testing.T) {
	b := newBed(t, nil)
	basic := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	for name, put := range map[string]func(*http.Request){
		"none":               func(*http.Request) {},
		"empty":              func(r *http.Request) { r.Header.Set("Authorization", "") },
		"Bearer and nothing": func(r *http.Request) { r.Header.Set("Authorization", "Bearer") },
		"Bearer":             func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+testPlaceholder) },
		"another scheme":     func(r *http.Request) { r.Header.Set("Authorization", "token "+testPlaceholder) },
		"bare":               func(r *http.Request) { r.Header.Set("Authorization", testPlaceholder) },
		"Basic, as password": func(r *http.Request) { r.Header.Set("Authorization", basic("me:"+testPlaceholder)) },
		"Basic, as user":     func(r *http.Request) { r.Header.Set("Authorization", basic(testPlaceholder+":x-oauth-basic")) },
		"X-Api-Key":          func(r *http.Request) { r.Header.Set("X-Api-Key", testPlaceholder) },
		"two of them": func(r *http.Request) {
			r.Header.Set("X-Api-Key", testPlaceholder)
			r.Header.Set("Authorization", "Bearer "+testPlaceholder)
		},
		"query":       func(r *http.Request) { r.URL.RawQuery = "a=1&key=" + testPlaceholder + "&b=2" },
		"empty query": func(r *http.Request) { r.URL.RawQuery = "key=" },
	} {
		t.Run(name, func(t *testing.T) {
			req := get(t, b.secureURL("auth.test", "/"))
			put(req)
			resp, _ := fetch(t, b.client(true), req)
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("%s %.300s", resp.Status, body(t, resp))
			}
			s := b.arrived()
			if got := s.Header["Authorization"]; len(got) != 1 || got[0] != "Bearer "+testToken {
				t.Errorf("the server saw Authorization %q", got)
			}
			if strings.Contains(strings.Join(s.Header["X-Api-Key"], "")+s.URI, testPlaceholder) {
				t.Errorf("the server saw the placeholder: %+v", s)
			}
		})
	}
	t.Run("a subprotocol", func(t *testing.T) {
		req := get(t, b.secureURL("auth.test", "/"))
		h := http.Header{"Sec-Websocket-Protocol": {"realtime, openai-insecure-api-key." + testPlaceholder + ", beta.v1"}}
		if _, no := b.proxy.current.Load().pins.check(ask{header: h}, b.proxy.current.Load().table.lookup("auth.test")); no != nil {
			t.Error(no)
		}
		b.proxy.current.Load().pins.withoutPlaceholders(h)
		if got := h.Get("Sec-Websocket-Protocol"); got != "realtime, beta.v1" {
			t.Errorf("%s: subprotocols %q", req.URL, got)
		}
		lines := http.Header{"Sec-Websocket-Protocol": {"a, chat", "token." + testPlaceholder, "b"}}
		b.proxy.current.Load().pins.withoutPlaceholders(lines)
		if got := lines["Sec-Websocket-Protocol"]; len(got) != 1 || got[0] != "a, chat, b" {
			t.Errorf("of several lines are left %q", got)
		}
	})
}

// TestPlaceholderElsewhere sends the placeholder where it does not belong: nothing but the
// bound host's own header ever turns it into the secret.
func TestPlaceholderElsewhere(t *testing.T) {
	b := newBed(t, nil)
	places := map[string]func(*http.Request){
		"Authorization": func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+testPlaceholder) },
		"X-Api-Key":     func(r *http.Request) { r.Header.Set("X-Api-Key", testPlaceholder) },
		"another header": func(r *http.Request) {
			r.Header.Set("X-Custom", testPlaceholder)
			r.Header.Set("Referer", "https://auth.test/"+testPlaceholder)
		},
		"path": func(r *http.Request) { r.URL.Path = "/" + testPlaceholder },
		"body": func(r *http.Request) {
			r.Method, r.ContentLength = http.MethodPost, int64(len(testPlaceholder))
			r.Body = io.NopCloser(strings.NewReader(testPlaceholder))
		},
		"query": func(r *http.Request) { r.URL.RawQuery = "q=" + testPlaceholder },
	}
	for name, put := range places {
		t.Run(name, func(t *testing.T) {
			for _, url := range []string{b.secureURL("allowed.test", "/"), b.plainURL("allowed.test", "/"), b.secureURL("x.wild.test", "/")} {
				req := get(t, url)
				put(req)
				resp, err := b.client(false).Do(req)
				check(t, err)
				if text := body(t, resp); strings.Contains(text, testToken) || resp.StatusCode != http.StatusOK {
					t.Errorf("%s: %s %.300s", url, resp.Status, text)
				}
			}
			// On the bound host the secret is in its one place only.
			req := get(t, b.secureURL("auth.test", "/"))
			put(req)
			fetch(t, b.client(false), req)
			s := b.arrived()
			if s.Header.Get("Authorization") != "Bearer "+testToken {
				t.Errorf("control: the bound host saw %q", s.Header.Get("Authorization"))
			}
			delete(s.Header, "Authorization")
			if rest := s.URI; strings.Contains(rest, testToken) || strings.Contains(strings.Join(s.Header["X-Custom"], ""), testToken) {
				t.Errorf("the secret stands in for the placeholder elsewhere: %+v", s)
			}
		})
	}
}

// TestCredentialsInTrailers puts credentials where servers may look and proxies may not:
// into trailers, and cookies.
func TestCredentialsInTrailers(t *testing.T) {
	b := withHandler(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for name, values := range r.Trailer {
			w.Header()["Saw-"+name] = values
		}
		w.Header()["Saw-Cookie"] = r.Header["Cookie"]
	})
	names := []string{"Authorization", "X-Api-Key", "Private-Token", "X-Sum", "Cookie"}
	send := func(host string) http.Header {
		c := b.tunnel(host, host)
		c.send("POST / HTTP/1.1\r\nHost: " + b.target(host) + "\r\nTransfer-Encoding: chunked\r\nTrailer: " + strings.Join(names, ", ") +
			"\r\nCookie: id=" + attackersKey + "\r\nConnection: close\r\n\r\n1\r\nx\r\n0\r\n")
		for _, name := range names {
			c.send(name + ": " + attackersKey + "\r\n")
		}
		c.send("\r\n")
		return c.response("POST").Header
	}
	pinned, open := send("auth.test"), send("allowed.test")
	for _, name := range []string{"Authorization", "X-Api-Key", "Private-Token"} {
		if got := pinned.Get("Saw-" + name); got != "" {
			t.Errorf("the trailer %s reached a pinned host: %q", name, got)
		}
		if open.Get("Saw-"+name) != attackersKey {
			t.Errorf("control: the trailer %s did not reach the other host", name)
		}
	}
	if pinned.Get("Saw-X-Sum") != attackersKey {
		t.Error("a trailer that is no credential is lost")
	}
	if got := pinned.Get("Saw-Cookie"); got != "" {
		t.Errorf("the cookie %q reached a pinned host", got)
	}
	if open.Get("Saw-Cookie") != "id="+attackersKey {
		t.Errorf("control: cookie %q", open.Get("Saw-Cookie"))
	}
}

// body reads a response's body to its end.
func body(t testing.TB, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	check(t, err)
	return string(raw)
}
