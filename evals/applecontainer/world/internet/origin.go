package internet

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
)

// origin is every web site. What it serves depends on the path alone:
//
//	/bytes/N         N bytes of zeros
//	/status/N        an empty answer with status N
//	/redirect/URL    302 to http(s)://…
//	/HOST's file     when there is one below the directory of sites
//	anything else    the body that was sent, or one line that says who answers
type origin struct {
	log   *Log
	sites string
}

func (o origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	to := ""
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		to = local.String()
	}
	o.log.Add(Event{
		Kind: KindHTTP, From: r.RemoteAddr, To: to, TLS: r.TLS != nil,
		Method: r.Method, Host: r.Host, Path: r.URL.RequestURI(), Header: r.Header,
	})
	w.Header().Set("X-Origin-Address", to)
	first, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch first {
	case "bytes":
		sendBytes(w, rest)
	case "status":
		sendStatus(w, rest)
	case "redirect":
		http.Redirect(w, r, rest, http.StatusFound)
	default:
		o.site(w, r, to)
	}
}

func sendBytes(w http.ResponseWriter, count string) {
	n, err := strconv.ParseInt(count, 10, 32)
	if err != nil || n < 0 {
		http.Error(w, "no such size", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	_, _ = io.CopyN(w, zeros{}, n)
}

func sendStatus(w http.ResponseWriter, code string) {
	n, err := strconv.Atoi(code)
	if err != nil || n < 200 || n > 599 {
		n = http.StatusBadRequest
	}
	w.WriteHeader(n)
}

// site serves a file of the named host, which lets a test publish a whole git
// repository, or echoes.
func (o origin) site(w http.ResponseWriter, r *http.Request, to string) {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if !strings.ContainsAny(host, "/\\") && host != "" && host != ".." && host != "." {
		if root, err := os.OpenRoot(path.Join(o.sites, host)); err == nil {
			defer func() { _ = root.Close() }()
			http.FileServerFS(root.FS()).ServeHTTP(w, r)
			return
		}
	}
	if r.Method == http.MethodPost || r.Method == http.MethodPut {
		_, _ = io.Copy(w, r.Body)
		return
	}
	_, _ = fmt.Fprintf(w, "origin %s at %s\n", r.Host, to)
}

// zeros is an endless reader.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
