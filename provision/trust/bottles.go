package trust

import (
	"context"
	"fmt"
	"net/http"
)

// bottles asks the MCP server of a bottle that may launch others, when it is one,
// to end a session that there is not: whoever answers that is the server itself.
func bottles(ctx context.Context, url string) []Finding {
	if url == "" {
		return nil
	}
	const again = "tell the operator, who launches the bottle again"
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, url, http.NoBody) //nolint:gosec // the guest asks itself, with its own address
	if err != nil {
		return []Finding{{fmt.Sprintf("%s is no address: %q", BottlesVariable, url), again}}
	}
	transport := &http.Transport{DisableKeepAlives: true} // without a proxy
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return []Finding{{fmt.Sprintf("the way to the MCP server for bottles, %s, does not answer: %v", url, err), "nothing in the bottle helps: " + again}}
	}
	_ = resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusNotFound:
		return nil
	case http.StatusServiceUnavailable:
		return []Finding{{"the server that launched this bottle is not running, so it can launch no others now", "tell the operator, who starts bottle-mcp serve"}}
	}
	return []Finding{{fmt.Sprintf("the MCP server for bottles, %s, answers %d", url, resp.StatusCode), again}}
}
