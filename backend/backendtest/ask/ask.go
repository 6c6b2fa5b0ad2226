// Package ask is a guest's HTTP client for the conformance suite, since images
// need have none: it sends one request and prints the status and the body.
//
// Lives here: the client, which a backend's test program serves as the verb
// "guest ask"; the program in program serves the guests of engines that cannot
// run that one. Does not live here: what is asked and what the answer means
// (backendtest).
package ask

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// timeout bounds the whole exchange.
const timeout = 20 * time.Second

// Streams are those of the process.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Main takes "METHOD URL [NAME=VALUE …]": the request's headers at the end, its
// body on standard input. It returns the exit code.
func Main(ctx context.Context, args []string, s Streams) int {
	if err := ask(ctx, args, s); err != nil {
		_, _ = fmt.Fprintln(s.Err, err)
		return 1
	}
	return 0
}

func ask(ctx context.Context, args []string, s Streams) error {
	if len(args) < 2 {
		return errors.New("usage: ask METHOD URL [NAME=VALUE …]")
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, args[0], args[1], s.In)
	if err != nil {
		return err
	}
	for _, h := range args[2:] {
		name, value, _ := strings.Cut(h, "=")
		req.Header.Set(name, value)
	}
	resp, err := (&http.Transport{Proxy: nil}).RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := fmt.Fprintln(s.Out, resp.StatusCode); err != nil {
		return err
	}
	_, err = io.Copy(s.Out, resp.Body)
	return err
}
