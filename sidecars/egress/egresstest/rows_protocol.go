package egresstest

import (
	"bytes"
	"compress/gzip"
	"strconv"
	"strings"
)

// protocol are P1 to P4: requests that two parsers would cut or read in two ways.
func (s Scene) protocol() []Attack {
	var all []Attack
	for _, f := range framings() {
		a := Attack{Row: "P1", Name: f.name, Reasons: []string{"length_ambiguous", "head_malformed", "body_malformed"}, Forbidden: "/smuggled"}
		head := "POST /ok/front HTTP/1.1\r\nHost: " + s.at(Allowed) + "\r\n"
		inner := "GET /smuggled HTTP/1.1\r\nHost: " + s.at(Allowed) + "\r\nConnection: close\r\n\r\n"
		all = append(all, s.tunnelled(a, Allowed, head+strings.ReplaceAll(f.rest, "INNER", inner)))
		plain := strings.ReplaceAll(head, "POST /", "POST http://"+s.at(Open)+"/")
		a.Name, a.Answers, a.Send = f.name+", absolute", 1, []byte(strings.ReplaceAll(plain+strings.ReplaceAll(f.rest, "INNER", inner), s.at(Allowed), s.at(Open)))
		all = append(all, a)
	}
	for _, path := range []string{
		"/ok/../forbidden", "/ok/./../forbidden", "/ok//../forbidden", "/ok/%2e%2e/forbidden", "/ok/..%2fforbidden", "/ok/..%5cforbidden",
		"/ok/..;/forbidden", "/ok/%252e%252e/forbidden", "/ok/%c0%ae%c0%ae/forbidden", "/ok/x%00/forbidden", "/ok//forbidden", "/OK/forbidden",
	} {
		a := Attack{Row: "P2", Name: path, Reasons: []string{"path_ambiguous", "path_not_allowed"}, Forbidden: "forbidden"}
		all = append(all, s.all(a, Open, request{method: "GET", path: path})...)
	}
	for _, m := range []struct{ name, method, query, header string }{
		{"another method", "DELETE", "", ""},
		{"an unknown method", "PURGE", "", ""},
		{"TRACE", "TRACE", "", ""},
		{"X-HTTP-Method-Override", "POST", "", "X-HTTP-Method-Override"},
		{"X-Method-Override", "POST", "", "X-Method-Override"},
		{"X_HTTP_Method", "POST", "", "X_HTTP_Method"},
		{"_method", "POST", "?_method=DELETE", ""},
		{"_method escaped", "POST", "?%5Fmethod=DELETE", ""},
	} {
		r := request{method: m.method, path: "/ok/method" + m.query}
		if m.header != "" {
			r.header = [][2]string{{m.header, "DELETE"}}
		}
		a := Attack{Row: "P3", Name: m.name, Reasons: []string{"method_not_allowed", "method_refused"}, Forbidden: "/ok/method"}
		all = append(all, s.all(a, Open, r)...)
	}
	lower := Attack{Row: "P3", Name: "lower case", Reasons: []string{"head_malformed"}, Forbidden: "/ok/method"}
	inside := Attack{Row: "P3", Name: "CONNECT inside", Reasons: []string{"connect_in_tunnel"}}
	all = append(all, s.tunnelled(lower, Allowed, request{method: "get"}.head("/ok/method", s.at(Allowed))),
		s.tunnelled(inside, Allowed, "CONNECT "+s.at(Evil)+" HTTP/1.1\r\nHost: "+s.at(Evil)+"\r\n\r\n"))
	all[len(all)-1].Reasons = append(all[len(all)-1].Reasons, "host_mismatch")
	return append(all, s.upgrades()...)
}

type framing struct{ name, rest string }

// framings hide a second request, INNER, in a first one.
func framings() []framing {
	both := "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
	chunked := "Transfer-Encoding: chunked\r\n\r\n"
	return []framing{
		{"CL.TE", both + "0\r\n\r\nINNER"},
		{"TE.CL", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\nINNER"},
		{"TE.TE", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\nINNER"},
		{"an unknown coding", "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\nINNER"},
		{"blank before the colon", "Transfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\nINNER"},
		{"folded", "X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nINNER"},
		{"two lengths", "Content-Length: 0\r\nContent-Length: 4\r\n\r\nINNER"},
		{"a list of lengths", "Content-Length: 0, 4\r\n\r\nINNER"},
		{"a signed length", "Content-Length: +0\r\n\r\nINNER"},
		{"a negative length", "Content-Length: -1\r\n\r\nINNER"},
		{"a huge length", "Content-Length: 99999999999999999999\r\n\r\nINNER"},
		{"bare LF ends the head", "Content-Length: 0\n\nINNER"},
		{"bare LF behind a chunk's size", chunked + "5\nhello\r\n0\r\n\r\nINNER"},
		{"a chunk extension", chunked + "1;x=\"\r\n\"\r\nx\r\n0\r\n\r\nINNER"},
		{"a signed chunk", chunked + "+0\r\n\r\nINNER"},
		{"a negative chunk", chunked + "-1\r\n\r\nINNER"},
		{"a huge chunk", chunked + "FFFFFFFFFFFFFFFF\r\n\r\nINNER"},
	}
}

// upgrades are P4: a protocol in which requests could not be read any more.
func (s Scene) upgrades() []Attack {
	refused := []string{"upgrade_refused", "head_malformed", "length_ambiguous"}
	var all []Attack
	for _, u := range []struct{ name, header string }{
		{"h2c", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"},
		{"h2c behind websocket", "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n"},
		{"TLS", "Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n"},
		{"anything", "Connection: Upgrade\r\nUpgrade: x\r\n"},
	} {
		a := Attack{Row: "P4", Name: u.name, Reasons: refused, Forbidden: "/ok/plain"}
		all = append(all, s.tunnelled(a, Allowed, "GET /ok/plain HTTP/1.1\r\nHost: "+s.at(Allowed)+"\r\n"+u.header+"\r\n"))
		a.Name, a.Answers = u.name+", absolute", 1
		a.Send = []byte("GET http://" + s.at(Open) + "/ok/plain HTTP/1.1\r\nHost: " + s.at(Open) + "\r\n" + u.header + "\r\n")
		all = append(all, a)
	}
	prior := Attack{Row: "P4", Name: "h2 prior knowledge", Reasons: refused, Forbidden: "PRI * HTTP/2.0"}
	behind := Attack{Row: "P4", Name: "a request behind a handshake that fails", Forbidden: "/smuggled", NeedsOrigin: true}
	shake := "GET /ok/shaken HTTP/1.1\r\nHost: " + s.at(Allowed) + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	return append(all,
		s.tunnelled(prior, Allowed, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
		s.tunnelled(behind, Allowed, shake+"GET /smuggled HTTP/1.1\r\nHost: "+s.at(Allowed)+"\r\n\r\n"))
}

// sockets are P5: frames with a secret behind an allowed handshake. Their mask is
// zeros, so that a proxy which does not look passes them on as they are.
func (s Scene) sockets() []Attack {
	frame := func(first byte, text string) string {
		return string([]byte{first, 0x80 | byte(len(text)), 0, 0, 0, 0}) + text //nolint:gosec // it is short
	}
	half := len(s.Known) / 2
	shake := "GET /ok/socket HTTP/1.1\r\nHost: " + s.at(Open) + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	var all []Attack
	for _, f := range []struct{ name, frames, forbidden, reason string }{
		{"a text", frame(0x81, "it is "+s.Known), s.Known, "secret_in_message"},
		{"binary", frame(0x82, "\x00\xff"+s.Known), s.Known, "secret_in_message"},
		{"a ping", frame(0x89, s.Known), s.Known, "secret_in_message"},
		{"fragments", frame(0x01, s.Known[:half]) + frame(0x80, s.Known[half:]), s.Known[half:], "secret_in_message"},
		{"compressed", frame(0xc1, "compressed data"), "compressed data", "frame_malformed"},
		{"no frames", "SSH-2.0-OpenSSH_9.9\r\n", "SSH-2.0", "frame_malformed"},
	} {
		a := Attack{Row: "P5", Name: f.name, Reasons: []string{f.reason}, Forbidden: f.forbidden, NeedsOrigin: true}
		all = append(all, s.tunnelled(a, Open, shake+f.frames))
	}
	return all
}

// messages are P6 to P9: what is said in allowed requests.
func (s Scene) messages() []Attack {
	all := s.all(Attack{Row: "P6", Name: "a redirect to another host", NeedsOrigin: true}, Allowed, request{method: "GET", path: "/ok/redirect/" + s.at(Evil)})
	for _, h := range []string{"X-Data", "Cookie", "Referer", "User-Agent", "If-None-Match", "Accept-Language"} {
		a := Attack{Row: "P7", Name: h, Reasons: []string{"secret_in_header"}, Forbidden: s.Known}
		all = append(all, s.all(a, Open, request{method: "GET", path: "/ok/head", header: [][2]string{{h, s.Known}}})...)
	}
	name := Attack{Row: "P7", Name: "the name of a header", Reasons: []string{"secret_in_header"}, Forbidden: "x-canary-of-names"}
	all = append(all, s.all(name, Open, request{method: "GET", path: "/ok/head?x-canary-of-names", header: [][2]string{{s.Known, "1"}}})...)
	trailer := Attack{Row: "P7", Name: "a trailer", Reasons: []string{"secret_in_trailer"}, Forbidden: s.Known, NeedsOrigin: true}
	all = append(all, s.tunnelled(trailer, Open, "POST /ok/trailer HTTP/1.1\r\nHost: "+s.at(Open)+
		"\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n1\r\nx\r\n0\r\nX-Sum: "+s.Known+"\r\n\r\n"))
	for _, b := range []struct{ name, kind, body string }{
		{"gRPC", "application/grpc", "\x00\x00\x00" + string(sized([]byte(s.Known)))},
		{"GraphQL", "application/json", `{"query":"query($v:String!){a:node(id:$v){id}}","variables":{"v":"` + s.Known + `"}}`},
		{"JSON-RPC batch", "application/json", `[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","id":2,"method":"b","params":["` + s.Known + `"]}]`},
		{"MCP tools/call", "application/json", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"save","arguments":{"text":"` + s.Known + `"}}}`},
	} {
		a := Attack{Row: "P8", Name: b.name, Reasons: []string{"secret_in_body"}, Forbidden: s.Known}
		all = append(all, s.all(a, Allowed, request{method: "POST", path: "/ok/rpc", header: [][2]string{{"Content-Type", b.kind}}, body: b.body})...)
	}
	bomb := Attack{Row: "P9", Name: "a bomb as a body", Reasons: []string{"encoding_not_scannable"}, Forbidden: "/ok/bomb"}
	all = append(all, s.all(bomb, Open, request{method: "POST", path: "/ok/bomb", header: [][2]string{{"Content-Encoding", "gzip"}}, body: zeros()})...)
	return append(all, s.polling("P9", "polling as a channel"))
}

// zeros is 16 MiB, compressed a thousandfold.
func zeros() string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(make([]byte, 16<<20))
	_ = z.Close()
	return b.String()
}

// polling asks more often than a budget allows. Only the last request matters.
func (s Scene) polling(row, name string) Attack {
	var b strings.Builder
	for i := range BudgetRate {
		b.WriteString("GET /poll/" + strconv.Itoa(i) + " HTTP/1.1\r\nHost: " + s.at(Budgeted) + "\r\n\r\n")
	}
	b.WriteString(request{method: "GET"}.head("/poll/too-many", s.at(Budgeted)))
	a := Attack{Row: row, Name: name, Reasons: []string{"rate_limited"}, Forbidden: "/poll/too-many", Answers: BudgetRate + 1, NeedsOrigin: true}
	return s.tunnelled(a, Budgeted, b.String())
}

// transport is P10: TLS that proves nothing.
func (s Scene) transport() []Attack {
	get := request{method: "GET"}
	old := s.tunnelled(Attack{Row: "P10", Name: "an old TLS to the proxy", Reasons: []string{"client_tls_failed"}, Forbidden: "/ok/old"}, Allowed, get.head("/ok/old", s.at(Allowed)))
	old.OldTLS = true
	all := []Attack{old}
	for host, reason := range map[string]string{BadCertificate: "upstream_certificate_invalid", OldTLS: "upstream_tls_failed"} {
		a := Attack{Row: "P10", Name: "a server with " + host, Reasons: []string{reason}, Forbidden: "/ok/untrusted", NeedsOrigin: true}
		for _, one := range s.all(a, host, request{method: "GET", path: "/ok/untrusted"}) {
			if one.Connect != nil {
				all = append(all, one)
			}
		}
	}
	return all
}
