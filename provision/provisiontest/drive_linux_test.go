package provisiontest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// driveTime bounds one line of a driver. A machine under load is slow.
const driveTime = 60 * time.Second

// drive is the driver of Go's net/http in a guest, as testdata/drive/README.md
// describes them.
func drive(stdin io.Reader, stdout io.Writer) int {
	in := bufio.NewScanner(stdin)
	for in.Scan() {
		f := strings.Fields(in.Text())
		if len(f) != 6 {
			return 2
		}
		ctx, cancel := context.WithTimeout(context.Background(), driveTime)
		answer, err := driveOne(ctx, f[0], asked{method: f[2], url: f[3], body: f[4], token: f[5]})
		cancel()
		if err != nil {
			answer = "error " + strings.ReplaceAll(err.Error(), "\n", " ")
		}
		if _, err := fmt.Fprintln(stdout, f[1], answer); err != nil {
			return 1
		}
	}
	return 0
}

// asked is one line's request.
type asked struct{ method, url, body, token string }

func (a asked) open(ctx context.Context) (*http.Response, error) {
	var body io.Reader
	if a.body != "-" {
		data, err := os.ReadFile(a.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, a.method, a.url, body)
	if err != nil {
		return nil, err
	}
	if a.token != "-" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	return http.DefaultClient.Do(req)
}

func driveOne(ctx context.Context, op string, a asked) (string, error) {
	if op == "ws" {
		return driveWebSocket(ctx, a)
	}
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	res, err := a.open(ctx)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	switch op {
	case "sse":
		return driveEvents(ctx, res.Body, a)
	case "cancel":
		_, err := res.Body.Read(make([]byte, 1))
		return fmt.Sprint(res.StatusCode), err
	}
	n, err := io.Copy(io.Discard, res.Body)
	switch op {
	case "download":
		return fmt.Sprint(res.StatusCode, " ", n), err
	case "trailers":
		return fmt.Sprint(res.StatusCode, " ", res.Trailer.Get("Grpc-Status")), err
	}
	return fmt.Sprint(res.StatusCode), err
}

// driveEvents reads an event stream and asks for more after the first event.
func driveEvents(ctx context.Context, body io.Reader, a asked) (string, error) {
	var seen []string
	in := bufio.NewScanner(body)
	for in.Scan() {
		event, ok := strings.CutPrefix(in.Text(), "data: ")
		if !ok {
			continue
		}
		if seen = append(seen, event); len(seen) > 1 {
			continue
		}
		ack := a
		ack.url += "-ack"
		res, err := ack.open(ctx)
		if err != nil {
			return "", err
		}
		_ = res.Body.Close()
	}
	return strings.Join(seen, ","), in.Err()
}

func driveWebSocket(ctx context.Context, a asked) (string, error) {
	c, res, err := websocket.Dial(ctx, a.url, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.CloseNow() }()
	if res.Body != nil {
		defer res.Body.Close()
	}
	if err := c.Write(ctx, websocket.MessageText, []byte(a.method)); err != nil {
		return "", err
	}
	_, data, err := c.Read(ctx)
	return string(data), err
}
