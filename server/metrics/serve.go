package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/bottle-mcp/bottle-mcp/server"
)

// CheckBind refuses an address that other machines, or guests, may reach,
// unless the operator says so: whoever reads metrics learns what the bottles do.
func CheckBind(addr string, remote bool) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is not an address to listen on; give HOST:PORT, such as 127.0.0.1:9464: %w", addr, err)
	}
	if remote || server.IsLoopback(host) {
		return nil
	}
	return fmt.Errorf("refusing to show metrics on %s without --metrics-remote: other machines reach it; use 127.0.0.1:%s", addr, port)
}

// local accepts the Host headers of scrapers: an address, or this machine.
func local(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	_, err = netip.ParseAddr(host)
	return err == nil || strings.EqualFold(host, "localhost")
}

const stopTime = time.Second

// Serve answers on l until ctx ends. remote means that scrapers may call this
// machine by any name.
func (m *Metrics) Serve(ctx context.Context, l net.Listener, remote bool) error {
	var handler http.Handler = m
	if remote {
		handler = http.HandlerFunc(m.show)
	}
	srv := &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: log.New(io.Discard, "", 0),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		end, cancel := context.WithTimeout(context.Background(), stopTime)
		defer cancel()
		if srv.Shutdown(end) != nil {
			_ = srv.Close()
		}
	})
	err := srv.Serve(l)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("show metrics: %w", err)
}
