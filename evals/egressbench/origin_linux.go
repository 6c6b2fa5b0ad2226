package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/coder/websocket"

	"github.com/bottle-mcp/bottle-mcp/sidecars/ca"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

const (
	megabyte  = 1 << 20
	bulkBytes = 100 * megabyte
	// events are what a stream has, at a distance.
	events     = 10
	eventPause = 50 * time.Millisecond
)

// originVerb makes this program the origin: a process of its own, as a server
// is, since within one process a message needs no switch of it.
const originVerb = "origin"

// origin is the server behind every proxy. It speaks for all names.
type origin struct {
	process

	pem   []byte // of its authority
	roots string // the file with it
	trust *x509.CertPool
}

func startOrigin(ctx context.Context, dir string) (*origin, error) {
	pool, cert, key, err := authority(dir, originVerb)
	if err != nil {
		return nil, err
	}
	o := &origin{roots: cert, trust: pool}
	if o.pem, err = os.ReadFile(cert); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if err := o.start(exec.CommandContext(ctx, self, originVerb, cert, key)); err != nil {
		return nil, err
	}
	direct := &target{name: nameDirect, trust: pool, process: &o.process}
	return o, direct.ready(ctx)
}

// originMain serves as the authority whose files are named.
func originMain(certFile, keyFile string) error {
	cert, err := os.ReadFile(certFile)
	if err != nil {
		return err
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return err
	}
	minter, err := ca.NewMinter(cert, secret.New(string(key)))
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:443")
	if err != nil {
		return err
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	server := &http.Server{
		Handler: handler(), Protocols: protocols, ReadHeaderTimeout: time.Minute,
		TLSConfig: &tls.Config{GetCertificate: minter.GetCertificate},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	return server.ServeTLS(l, "", "")
}

func handler() http.Handler {
	mux := http.NewServeMux()
	kilobyte, block := chatJSON(1024), make([]byte, 64<<10)
	mux.HandleFunc("/v1/kb", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(kilobyte)
	})
	mux.HandleFunc("/v1/sink", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			return
		}
		_, _ = io.WriteString(w, strconv.FormatInt(n, 10))
	})
	mux.HandleFunc("/v1/bulk", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.Itoa(bulkBytes))
		for range bulkBytes / len(block) {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/v1/sse", stream("text/event-stream", "data: %d\n\n"))
	mux.HandleFunc("/v1/ndjson", stream("application/x-ndjson", "%d\n"))
	mux.HandleFunc("/v1/grpc", grpc)
	mux.HandleFunc("/v1/ws", echoSocket)
	mux.HandleFunc("/v1/hang", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(time.Minute):
		}
	})
	return mux
}

// stream sends the time in nanoseconds, again and again.
func stream(mediaType, format string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		rc := http.NewResponseController(w)
		for range events {
			time.Sleep(eventPause)
			if _, err := fmt.Fprintf(w, format, time.Now().UnixNano()); err != nil {
				return
			}
			_ = rc.Flush()
		}
	}
}

// grpc is stream with length-prefixed messages and trailers.
func grpc(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	rc := http.NewResponseController(w)
	_ = rc.Flush()
	for range events {
		time.Sleep(eventPause)
		message := make([]byte, 13)
		message[4] = 8
		binary.BigEndian.PutUint64(message[5:], uint64(time.Now().UnixNano()))
		if _, err := w.Write(message); err != nil {
			return
		}
		_ = rc.Flush()
	}
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Grpc-Status", "0")
}

func echoSocket(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = c.CloseNow() }()
	for {
		kind, data, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if err := c.Write(r.Context(), kind, data); err != nil {
			return
		}
	}
}
