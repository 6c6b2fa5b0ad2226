package internet

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

// Config says where the Internet keeps its things.
type Config struct {
	Events string // log of events
	Names  string // table of names, JSON, read for every question
	Sites  string // directory with a directory of files for each host
	CACert string // see WriteCA
	CAKey  string
}

// Ports on which the Internet listens beside DNS (53), HTTP and HTTPS.
func bannerPorts() []int { return []int{22, 25, 853, 5432, 9418} }
func httpPorts() []int   { return []int{80, 8080} }
func httpsPorts() []int  { return []int{443, 8443} }
func udpPorts() []int    { return []int{123, 443, 5353} }

// Serve opens every listener in the network namespace of the caller and
// returns; they serve until the process ends.
func Serve(ctx context.Context, c Config) error {
	events, err := OpenLog(c.Events, PlaceInternet)
	if err != nil {
		return err
	}
	if err := serveDNS(ctx, resolver{events, c.Names}); err != nil {
		return err
	}
	if err := serveWeb(ctx, c, events); err != nil {
		return err
	}
	if err := ServeUDP(ctx, udpPorts(), events.Echo); err != nil {
		return err
	}
	return ServeBanner(ctx, bannerPorts(), "the fake Internet", events)
}

// Echo notes a datagram and sends it back.
func (l *Log) Echo(packet []byte, from, to string) []byte {
	l.Add(Event{Kind: KindUDP, From: from, To: to})
	return packet
}

func serveDNS(ctx context.Context, r resolver) error {
	l, err := listen(ctx, 53, r.log)
	if err != nil {
		return err
	}
	go accept(l, r.serveTCP)
	return ServeUDP(ctx, []int{53}, r.answer)
}

func serveWeb(ctx context.Context, c Config, events *Log) error {
	ca, err := readCA(c.CACert, c.CAKey)
	if err != nil {
		return err
	}
	serve := func(port int, secure bool) error {
		l, err := listen(ctx, port, events)
		if err != nil {
			return err
		}
		server := &http.Server{
			Handler:           origin{events, c.Sites},
			ReadHeaderTimeout: 10 * time.Second,
			TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: ca.certificate},
			BaseContext:       func(net.Listener) context.Context { return ctx },
			ErrorLog:          log.New(io.Discard, "", 0), // a client that hangs up is an event already
		}
		go func() {
			if secure {
				_ = server.ServeTLS(l, "", "")
			} else {
				_ = server.Serve(l)
			}
		}()
		return nil
	}
	for _, port := range httpPorts() {
		if err := serve(port, false); err != nil {
			return err
		}
	}
	for _, port := range httpsPorts() {
		if err := serve(port, true); err != nil {
			return err
		}
	}
	return nil
}
