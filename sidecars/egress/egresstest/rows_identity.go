package egresstest

// parsing are H14 and H15: requests that name two servers, and plain HTTP
// against every rule that holds in a tunnel.
func (s Scene) parsing() []Attack {
	at, evil := s.at(Open), s.at(Evil)
	get := request{method: "GET"}
	mismatch := []string{"host_mismatch", "length_ambiguous", "host_not_allowed", "host_invalid"}
	row := func(name string) Attack { return Attack{Row: "H14", Name: name, Reasons: mismatch, Answers: 1} }
	twice := "GET http://" + at + "/ok HTTP/1.1\r\nHost: " + at + "\r\nHost: " + evil + "\r\nConnection: close\r\n\r\n"
	all := []Attack{
		s.plainly(row("Host of another"), "http://"+at+"/ok", evil, get),
		s.plainly(row("URI of another"), "http://"+evil+"/", at, get),
		{Row: "H14", Name: "two Hosts, absolute", Reasons: mismatch, Send: []byte(twice), Answers: 1},
		s.tunnelled(row("two Hosts, CONNECT"), Allowed, "GET /ok HTTP/1.1\r\nHost: "+s.at(Allowed)+"\r\nHost: "+evil+"\r\nConnection: close\r\n\r\n"),
		s.tunnelled(row("URI of another in a tunnel"), Allowed, get.head("https://"+evil+"/", s.at(Allowed))),
		s.tunnelled(row("Host after a tab, CONNECT"), Allowed, "GET /ok HTTP/1.1\r\nHost: "+s.at(Allowed)+"\r\n\tHost: "+evil+"\r\nConnection: close\r\n\r\n"),
	}
	all[5].Reasons = malformed()
	forwarded := request{method: "GET", path: "/ok/forwarded", header: [][2]string{{"X-Forwarded-Host", evil}, {"Forwarded", "host=" + evil}}}
	all = append(all, s.all(Attack{Row: "H14", Name: "X-Forwarded-Host", NeedsOrigin: true}, Open, forwarded)...)
	return append(all, s.plain()...)
}

// plain is H15, and H16: the same policy, whatever the way.
func (s Scene) plain() []Attack {
	row := func(name, forbidden string, reasons ...string) Attack {
		return Attack{Row: "H15", Name: name, Reasons: reasons, Forbidden: forbidden}
	}
	at := s.at(Open)
	all := []Attack{
		s.plainly(row("another path", "/forbidden", "path_not_allowed"), "http://"+at+"/forbidden", at, request{method: "GET"}),
		s.plainly(row("another method", "DELETE", "method_not_allowed"), "http://"+at+"/ok", at, request{method: "DELETE"}),
		s.plainly(row("a secret", s.Known, "secret_in_query"), "http://"+at+"/ok?q="+s.Known, at, request{method: "GET"}),
		s.plainly(row("a host with a credential", "/ok/in-the-clear", "plain_http_refused"), "http://"+s.at(Allowed)+"/ok/in-the-clear", s.at(Allowed), request{method: "GET"}),
		s.plainly(row("https in the clear", "/ok/in-the-clear", "scheme_not_supported"), "https://"+at+"/ok/in-the-clear", at, request{method: "GET"}),
	}
	naked := s.tunnelled(row("plain HTTP in a tunnel", "/ok/in-the-clear", "plaintext_in_tunnel"), Allowed, request{method: "GET"}.head("/ok/in-the-clear", s.at(Allowed)))
	naked.SNI = ""
	all = append(all, naked)
	return append(all, s.all(Attack{Row: "H16", Name: "a host in no route", Reasons: []string{"host_not_allowed"}}, Evil, request{method: "GET", path: "/"})...)
}

// identity are H9 to H13: a tunnel to an allowed host that is used for another.
func (s Scene) identity() []Attack {
	get := request{method: "GET"}
	allowed, evil := s.at(Allowed), s.at(Evil)
	sni := s.tunnelled(Attack{Row: "H9", Name: "SNI of another", Reasons: []string{"sni_mismatch"}}, Allowed, get.head("/ok", allowed))
	sni.SNI = Evil
	other := s.tunnelled(Attack{Row: "H9", Name: "SNI of another allowed host", Reasons: []string{"sni_mismatch"}, Forbidden: "/ok/other-name"}, Allowed, get.head("/ok/other-name", allowed))
	other.SNI = Open
	fronted := Attack{Row: "H10", Name: "Host of another", Reasons: []string{"host_mismatch"}}
	h2 := s.tunnelled(Attack{Row: "H10", Name: ":authority of another", Reasons: []string{"host_mismatch"}}, Allowed, "")
	h2.Send, h2.Streams = nil, []Stream{request{method: "GET", path: "/"}.stream(evil)}

	ip := s.at(s.EvilIP.String())
	all := []Attack{
		sni, other, h2,
		s.tunnelled(fronted, Allowed, get.head("/", evil)),
		s.collect("address and SNI of an allowed host", ip, ip, Allowed),
		s.collect("address and Host of an allowed host", ip, allowed, Allowed),
		s.collect("name and Host of an allowed host", evil, allowed, Allowed),
		s.plainly(Attack{Row: "H11", Name: "address with an allowed Host", Reasons: []string{"host_mismatch"}}, "http://"+ip+"/ok", s.at(Open), get),
	}
	return append(append(all, s.hellos()...), s.reuse()...)
}

// collect sends the credential's request to the attacker's own server.
func (s Scene) collect(name, target, host, sni string) Attack {
	return Attack{
		Row: "H11", Name: name, Reasons: []string{"host_mismatch", "ip_literal_refused", "host_not_allowed"},
		Connect: []byte("CONNECT " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n"), SNI: sni,
		Send: []byte(request{method: "GET"}.head("/ok/credential", s.at(Allowed))), Answers: 1,
	}
}

// hellos are H12. Their mark is passed on where nobody reads handshakes.
func (s Scene) hellos() []Attack {
	var all []Attack
	for name, hello := range map[string][]byte{
		"no SNI":                        clientHello(),
		"an empty SNI":                  clientHello(serverNames("")),
		"two names":                     clientHello(serverNames(Allowed, Evil)),
		"two SNI extensions":            clientHello(serverNames(Allowed), serverNames(Evil)),
		"an address as SNI":             clientHello(serverNames(s.EvilIP.String())),
		"NUL in the SNI":                clientHello(serverNames(Allowed + "\x00." + Evil)),
		"ECH under another public name": clientHello(serverNames("public."+Evil), extension{echExtension, make([]byte, 64)}),
	} {
		all = append(all, Attack{
			Row: "H12", Name: name, Connect: s.connect(Allowed), Hello: hello, Forbidden: helloMark,
			Reasons: []string{"sni_missing", "sni_mismatch", "client_tls_failed"},
		})
	}
	return all
}

// reuse is H13: what was good for one request is no licence for the next.
func (s Scene) reuse() []Attack {
	keep := func(path, host string) string { return "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n" }
	last := request{method: "GET"}
	row := func(name string, reasons ...string) Attack {
		return Attack{Row: "H13", Name: name, Reasons: reasons, Answers: 2, NeedsOrigin: true}
	}
	h2 := s.tunnelled(row("coalesced h2", "host_mismatch"), Allowed, "")
	h2.Send, h2.Forbidden = nil, "/ok/coalesced"
	h2.Streams = []Stream{request{method: "GET", path: "/ok/first"}.stream(s.at(Allowed)), request{method: "GET", path: "/ok/coalesced"}.stream(s.at(Open))}
	plain := row("absolute keep-alive", "host_not_allowed")
	plain.Send = []byte("GET http://" + s.at(Open) + "/ok HTTP/1.1\r\nHost: " + s.at(Open) + "\r\n\r\n" + last.head("http://"+s.at(Evil)+"/", s.at(Evil)))
	return []Attack{
		h2, plain,
		s.tunnelled(row("keep-alive", "host_mismatch"), Allowed, keep("/ok/first", s.at(Allowed))+last.head("/", s.at(Evil))),
	}
}
