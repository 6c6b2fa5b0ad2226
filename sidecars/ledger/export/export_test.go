package export

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/ledger"
)

// book is a ledger with decisions, an exchange that ended and one that did not.
func book(t *testing.T) *ledger.Reader {
	t.Helper()
	path := filepath.Join(t.TempDir(), "egress.jsonl")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	l, err := ledger.New(ledger.Options{Bottle: "otter", Files: []ledger.File{f}})
	if err == nil {
		err = l.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	d := sidecars.Decision{
		Time: time.Unix(1700000000, 0).UTC(), Bottle: "otter", Service: sidecars.Egress, Verdict: sidecars.Allow, Method: "POST",
		Scheme: "https", Host: "api.example.com", Port: 443, Path: "/v1/a%2Fb", Status: 201, BytesOut: 10, BytesIn: 20, Duration: 1500 * time.Microsecond,
	}
	l.Add(d)
	no := d
	no.Verdict, no.Layer, no.Reason, no.Message = sidecars.Deny, "host", "host_not_allowed", "No \"route\"."
	no.Host, no.Port, no.Path, no.Status, no.Method, no.Scheme = "=cmd()", 8443, "", 403, "CONNECT", ""
	l.Add(no)
	long := d
	long.Exchange = "x-1"
	l.Begin(long)
	l.Add(long)
	long.Exchange, long.Path = "x-2", "/stream"
	l.Begin(long)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := ledger.NewReader([]*os.File{f})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func render(t *testing.T, f Format) string {
	t.Helper()
	var out bytes.Buffer
	w, err := New(f, &out, "v1.2.3")
	if err == nil {
		err = Decisions(book(t), w.Write)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// What the format demands is there; nothing else is.
func TestHAR(t *testing.T) {
	text := render(t, HAR)
	var archive struct {
		Log map[string]json.RawMessage `json:"log"`
	}
	if err := json.Unmarshal([]byte(text), &archive); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var entries []map[string]any
	if err := json.Unmarshal(archive.Log["entries"], &entries); err != nil || len(entries) != 4 {
		t.Fatalf("%d entries, %v\n%s", len(entries), err, text)
	}
	if v := string(archive.Log["version"]); v != `"1.2"` || !strings.Contains(string(archive.Log["creator"]), "v1.2.3") {
		t.Errorf("version %s, creator %s", v, archive.Log["creator"])
	}
	var urls []string
	for _, e := range entries {
		request, _ := e["request"].(map[string]any)
		response, _ := e["response"].(map[string]any)
		for part, keys := range map[string][]string{
			"request":  {"method", "url", "httpVersion", "cookies", "headers", "queryString", "headersSize", "bodySize"},
			"response": {"status", "statusText", "httpVersion", "cookies", "headers", "content", "redirectURL", "headersSize", "bodySize"},
		} {
			object, _ := e[part].(map[string]any)
			for _, key := range keys {
				if v, ok := object[key]; !ok || v == nil {
					t.Errorf("%s has no %s", part, key)
				}
			}
		}
		if _, ok := e["cache"].(map[string]any); !ok || e["timings"] == nil || e["startedDateTime"] != "2023-11-14T22:13:20Z" {
			t.Errorf("entry %v", e)
		}
		urls = append(urls, fmt.Sprint(request["method"], " ", request["url"], " ", response["status"], " ", e["_verdict"]))
	}
	want := "POST https://api.example.com/v1/a%2Fb 201 allow|CONNECT https://=cmd():8443/ 403 deny|POST https://api.example.com/v1/a%2Fb 201 allow|POST https://api.example.com/stream 201 allow"
	if got := strings.Join(urls, "|"); got != want {
		t.Errorf("requests\n%s, want\n%s", got, want)
	}
}

func TestCSV(t *testing.T) {
	rows, err := csv.NewReader(strings.NewReader(render(t, CSV))).ReadAll()
	if err != nil || len(rows) != 5 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	if got := strings.Join(rows[1], "|"); got != "1|2023-11-14T22:13:20Z|otter|egress|allow||||POST|https|api.example.com|443|/v1/a%2Fb|201|10|20|1|" {
		t.Errorf("row %s", got)
	}
	if host := rows[2][10]; host != "'=cmd()" {
		t.Errorf("a spreadsheet takes %q for a formula", host)
	}
}

func TestJSON(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(render(t, JSON)), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines", len(lines))
	}
	for _, line := range lines {
		if e, err := ledger.Decode([]byte(line)); err != nil || e.Bottle != "otter" || e.Hash == "" {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestUnknownFormat(t *testing.T) {
	if _, err := New("xml", &bytes.Buffer{}, ""); err == nil || !strings.Contains(err.Error(), "har, csv or json") {
		t.Errorf("error %v", err)
	}
}
