package egresstest

import (
	"strconv"
	"strings"
)

// request is a whole request, to be sent in every way there is.
type request struct {
	method, path string
	header       [][2]string
	body         string
}

func (r request) head(target, host string) string {
	var b strings.Builder
	b.WriteString(r.method + " " + target + " HTTP/1.1\r\nHost: " + host + "\r\n")
	for _, h := range r.header {
		b.WriteString(h[0] + ": " + h[1] + "\r\n")
	}
	if r.body != "" {
		b.WriteString("Content-Length: " + strconv.Itoa(len(r.body)) + "\r\n")
	}
	return b.String() + "Connection: close\r\n\r\n" + r.body
}

func (r request) stream(authority string) Stream {
	s := Stream{Fields: [][2]string{{":method", r.method}, {":scheme", "https"}, {":authority", authority}, {":path", r.path}}, Body: []byte(r.body)}
	for _, h := range r.header {
		s.Fields = append(s.Fields, [2]string{strings.ToLower(h[0]), h[1]})
	}
	if r.body != "" {
		s.Fields = append(s.Fields, [2]string{"content-length", strconv.Itoa(len(r.body))})
	}
	return s
}

// all sends a request to host in absolute form, in a tunnel, and over HTTP/2 in
// one. A host with a credential is not asked in the clear.
func (s Scene) all(a Attack, host string, r request) []Attack {
	in := a
	in.Name, in.Answers = a.Name+", CONNECT", 1
	in.Connect, in.SNI, in.Send = s.connect(host), host, []byte(r.head(r.path, s.at(host)))
	h2 := in
	h2.Name, h2.Send, h2.Streams = a.Name+", h2", nil, []Stream{r.stream(s.at(host))}
	out := []Attack{in, h2}
	if host != Allowed && host != Bucket {
		out = append(out, s.plainly(a, "http://"+s.at(host)+r.path, s.at(host), r))
	}
	return out
}

// plainly sends a request in absolute form.
func (s Scene) plainly(a Attack, target, host string, r request) Attack {
	a.Name, a.Answers, a.Send = a.Name+", absolute", 1, []byte(r.head(target, host))
	return a
}

// tunnelled sends bytes in an honest tunnel to host.
func (s Scene) tunnelled(a Attack, host, send string) Attack {
	a.Connect, a.SNI, a.Send = s.connect(host), host, []byte(send)
	a.Answers = max(a.Answers, 1)
	return a
}

// opened asks for a tunnel with a target as it stands, and uses it honestly
// when it gets one.
func opened(a Attack, target, host string) Attack {
	a.Connect, a.SNI = []byte("CONNECT "+target+" HTTP/1.1\r\nHost: "+host+"\r\n\r\n"), Evil
	a.Send, a.Answers = []byte("GET / HTTP/1.1\r\nHost: "+Evil+"\r\nConnection: close\r\n\r\n"), 1
	return a
}
