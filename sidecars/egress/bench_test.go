package egress

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"
)

// The benchmarks compare with the same request sent straight to the origin, in
// one run: only the ratio says anything on a shared machine.

func kilobyte(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write(make([]byte, 1024))
}

// directClient reaches the bed's origin without the proxy.
func (b *bed) directClient() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: b.proxy.roots, ServerName: "allowed.test"},
		Protocols:       protocols,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", b.secure.Listener.Addr().String())
		},
	}
	b.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: testWait}
}

// medianOf times n requests after a few to warm up.
func medianOf(tb testing.TB, c *http.Client, url string, n int, after func()) time.Duration {
	tb.Helper()
	const warm = 20
	var all []time.Duration
	for i := range n + warm {
		start := time.Now()
		resp, err := c.Get(url)
		check(tb, err)
		_, err = io.Copy(io.Discard, resp.Body)
		check(tb, err)
		_ = resp.Body.Close()
		if i >= warm {
			all = append(all, time.Since(start))
		}
		after()
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func compare(b *testing.B, newConnections bool) {
	bed := newBed(b, func(_ *bed, c *bedConfig) { c.handler = http.HandlerFunc(kilobyte) })
	url := bed.secureURL("allowed.test", "/")
	direct, proxied := bed.directClient(), bed.client(false)
	renew := func(c *http.Client) func() {
		if !newConnections {
			return func() {}
		}
		return c.CloseIdleConnections
	}
	n := max(b.N, 50)
	b.ResetTimer()
	straight := medianOf(b, direct, url, n, renew(direct))
	through := medianOf(b, proxied, url, n, renew(proxied))
	b.StopTimer()
	b.ReportMetric(float64(straight.Microseconds()), "direct-p50-µs")
	b.ReportMetric(float64(through.Microseconds()), "proxy-p50-µs")
	b.ReportMetric(float64((through - straight).Microseconds()), "added-p50-µs")
	b.ReportMetric(float64(through)/float64(straight), "ratio")
}

// BenchmarkKeepAlive is a 1 KB GET over a kept connection.
func BenchmarkKeepAlive(b *testing.B) { compare(b, false) }

// BenchmarkNewConnection is a CONNECT and TLS handshake per request.
func BenchmarkNewConnection(b *testing.B) { compare(b, true) }

// BenchmarkDownload is 100 MB in one response.
func BenchmarkDownload(b *testing.B) {
	const size = 100 << 20
	chunk := make([]byte, 64<<10)
	bed := newBed(b, func(_ *bed, c *bedConfig) {
		c.handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for range size / len(chunk) {
				_, _ = w.Write(chunk)
			}
		})
	})
	c := bed.client(false)
	c.Timeout = time.Minute
	b.SetBytes(size)
	for b.Loop() {
		resp, err := c.Get(bed.secureURL("allowed.test", "/"))
		check(b, err)
		_, err = io.Copy(io.Discard, resp.Body)
		check(b, err)
		_ = resp.Body.Close()
	}
}

// BenchmarkDecide is the policy alone.
func BenchmarkDecide(b *testing.B) {
	table := policyTable(b)
	q := ask{method: "GET", scheme: "https", to: authority{Host: "a.b.wild.test", Port: 443}, path: "/v1/messages", query: "beta=true"}
	b.ReportAllocs()
	for b.Loop() {
		if _, no := table.decide(q); no != nil {
			b.Fatal(no)
		}
	}
}

// BenchmarkInspectHead is the guard's reading of one head.
func BenchmarkInspectHead(b *testing.B) {
	raw := []byte("POST /v1/messages?beta=true HTTP/1.1\r\nHost: api.example.com\r\nAccept: application/json\r\nContent-Type: application/json\r\n" +
		"User-Agent: client/1.0\r\nContent-Length: 1234\r\nAccept-Encoding: gzip, br\r\nConnection: keep-alive\r\n\r\n")
	b.ReportAllocs()
	for b.Loop() {
		if _, no := inspectHead(raw, portHTTPS); no != nil {
			b.Fatal(no)
		}
	}
}
