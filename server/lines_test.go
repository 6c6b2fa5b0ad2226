package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/mark3labs/mcp-go/mcp"
)

func TestReadLines(t *testing.T) {
	const limit = 10
	long := strings.Repeat("x", 200_000)
	for name, c := range map[string]struct {
		in   string
		want []string // "!" = too long
	}{
		"empty":            {"", nil},
		"lines":            {"a\nb\n", []string{"a", "b"}},
		"no line break":    {"a\nb", []string{"a", "b"}},
		"blank lines":      {"\n \r\n\ta\n\n", []string{"\ta"}},
		"carriage returns": {"a\r\nb\r\n", []string{"a", "b"}},
		"at the limit":     {"0123456789\n0123456789\r\n0123456789", []string{"0123456789", "0123456789", "0123456789"}},
		"above the limit":  {"a\n01234567890\nb\n", []string{"a", "!", "b"}},
		"far above it":     {"a\n" + long + "\nb\n" + long, []string{"a", "!", "b", "!"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for l := range readLines(context.Background(), iotest.HalfReader(strings.NewReader(c.in)), limit) {
				text := strings.TrimRight(string(l.data), "\r\n")
				if l.tooLong {
					text = "!"
				}
				got = append(got, text)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestParseMessage(t *testing.T) {
	for _, c := range []struct {
		raw  string
		kind messageKind
		code int
	}{
		{`{"jsonrpc":"2.0","id":1,"method":"ping"}`, request, 0},
		{` {"jsonrpc": "2.0", "id": "x", "method": "ping", "params": {}, "more": 1} `, request, 0},
		{`{"jsonrpc":"2.0","method":"notifications/initialized"}`, notification, 0},
		{`{"jsonrpc":"2.0","id":1,"result":{}}`, response, 0},
		{`{"jsonrpc":"2.0","id":1,"error":{}}`, response, 0},
		{`{"jsonrpc":"2.0","id":null,"method":"ping"}`, 0, mcp.INVALID_REQUEST},
		{`{"jsonrpc":"2.0","id":{},"method":"ping"}`, 0, mcp.INVALID_REQUEST},
		{`{"jsonrpc":"2.0","id":true,"method":"ping"}`, 0, mcp.INVALID_REQUEST},
		{`{"jsonrpc":"1.0","id":1,"method":"ping"}`, 0, mcp.INVALID_REQUEST},
		{`{"JSONRPC":"2.0","ID":1,"METHOD":"ping"}`, 0, mcp.INVALID_REQUEST},
		{`{"jsonrpc":"2.0","id":1}`, 0, mcp.INVALID_REQUEST},
		{`{"jsonrpc":"2.0","id":1,"method":5}`, 0, mcp.INVALID_REQUEST},
		{`{"jsonrpc":"2.0","id":1,"method":""}`, 0, mcp.INVALID_REQUEST},
		{`[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, 0, mcp.INVALID_REQUEST},
		{`{"jsonrpc":"2.0","id":1,"method":"ping"} trailing`, 0, mcp.PARSE_ERROR},
		{`{"jsonrpc":`, 0, mcp.PARSE_ERROR},
		{`null`, 0, mcp.PARSE_ERROR},
		{`"text"`, 0, mcp.PARSE_ERROR},
		{``, 0, mcp.PARSE_ERROR},
		{strings.Repeat("[", 100_000), 0, mcp.INVALID_REQUEST},
		{strings.Repeat(`{"a":`, 100_000), 0, mcp.PARSE_ERROR},
	} {
		m, f := parseMessage([]byte(c.raw))
		code := 0
		if f != nil {
			code = f.code
		}
		if m.kind != c.kind || code != c.code {
			t.Errorf("%.60s: kind %d, code %d, want %d, %d", c.raw, m.kind, code, c.kind, c.code)
		}
	}
}

func TestFaultsNameTheRequestWhenTheyCan(t *testing.T) {
	_, f := parseMessage([]byte(`{"jsonrpc":"1.0","id":"me","method":"ping"}`))
	if f == nil || !bytes.Contains(f.encode(), []byte(`"id":"me"`)) {
		t.Errorf("fault: %v", f)
	}
	unencodable := &fault{code: 1, text: "t", data: func() {}}
	if got := string(unencodable.encode()); got != `{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"t"}}` {
		t.Errorf("encoded: %s", got)
	}
}

func TestRequestIDKeys(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{`1`, ` 1 `, true}, {`1`, `"1"`, false}, {`"a"`, `"\u0061"`, true}, {`9007199254740993`, `9007199254740992`, false},
	} {
		a, b := requestID{json.RawMessage(c.a)}, requestID{json.RawMessage(c.b)}
		if (a.key() == b.key()) != c.same {
			t.Errorf("%s and %s: same key is %t", c.a, c.b, !c.same)
		}
	}
}

// FuzzStdio sends hostile lines to a whole server: it must end, and write
// nothing but one JSON-RPC message a line, at most one for each line it got.
func FuzzStdio(f *testing.F) {
	for _, seed := range []string{
		initializeText + "\n" + callText("1", "quick", `{"note":"n"}`, `"p"`),
		callText("1", "quick", `{"note":5,"x":{}}`, "1") + "\n" + cancelText("1") + "\r\n\r\n" + pingText(`"\ud800"`),
		`[` + pingText("1") + `]`, `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"bottle://x/log"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"quick","_meta":{"progressToken":{}}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"!"}}`, "\x00\xff\n{}\n" + strings.Repeat("a", 5000),
	} {
		f.Add([]byte(seed))
	}
	s, err := New(Config{Name: "s", Version: "1", Limits: Limits{MaxMessage: 4096}, Tools: fuzzTools()})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var out bytes.Buffer
		if err := s.ServeStdio(t.Context(), bytes.NewReader(in), &out); err != nil {
			t.Fatal(err)
		}
		answers := 0
		scan := bufio.NewScanner(&out)
		scan.Buffer(nil, 8<<20)
		for scan.Scan() {
			var m struct {
				JSONRPC, Method string
				ID              json.RawMessage
			}
			if err := json.Unmarshal(scan.Bytes(), &m); err != nil || m.JSONRPC != "2.0" {
				t.Fatalf("not JSON-RPC: %q", scan.Bytes())
			}
			if m.Method == "" {
				answers++
			}
		}
		if lines := bytes.Count(in, []byte("\n")) + 1; answers > lines {
			t.Errorf("%d answers to %d lines", answers, lines)
		}
	})
}
