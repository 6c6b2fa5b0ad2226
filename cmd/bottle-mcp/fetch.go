package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

// Bounds of one fetch.
const (
	fetchTimeout = 10 * time.Second
	fetchLimit   = 1 << 20
)

func newFetch(c *cli) *cobra.Command {
	var direct bool
	cmd := &cobra.Command{
		Use:   "fetch URL",
		Short: "GET a URL as this bottle's environment says",
		Long: `fetch is the smallest HTTP client: the program is in every bottle, curl is not.
It goes through HTTP_PROXY and HTTPS_PROXY, prints the body, and fails when the
answer is not a success.`,
		Hidden: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("fetch", "fetch takes one URL")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return c.fetch(cmd.Context(), args[0], direct) },
	}
	cmd.Flags().BoolVar(&direct, "direct", false, "ignore the proxy")
	return cmd
}

// fetch is the verb. Redirects are not followed: each answer speaks for itself.
func (c *cli) fetch(ctx context.Context, address string, direct bool) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	if u, err := url.Parse(address); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return usagef("fetch", "%q is not an http or https URL", address)
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	if direct {
		transport.Proxy = nil
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(c.con.out, io.LimitReader(response.Body, fetchLimit)); err != nil {
		return fmt.Errorf("fetch: %s: %w", address, err)
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("fetch: %s answered %s", address, response.Status)
	}
	return nil
}
