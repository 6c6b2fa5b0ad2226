package tools

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/bottle-mcp/bottle-mcp/provision"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// read reads a resource as a server does: by the one template that matches.
func read(t *testing.T, b *bench, who provision.Principal, uri string) (mcp.ResourceContents, error) {
	t.Helper()
	for _, r := range b.res {
		template := &mcp.URITemplate{}
		if err := json.Unmarshal([]byte(`"`+r.URITemplate+`"`), template); err != nil {
			t.Fatal(err)
		}
		if !template.Regexp().MatchString(uri) {
			continue
		}
		contents, err := r.Read(t.Context(), who, uri)
		if err != nil {
			return nil, err
		}
		if len(contents) != 1 {
			t.Fatalf("%d contents", len(contents))
		}
		return contents[0], nil
	}
	return nil, fmt.Errorf("%w: no template for %s", ErrNoResource, uri)
}

// part is one read of a log.
func part(t *testing.T, b *bench, uri string) (body []byte, meta map[string]any) {
	t.Helper()
	contents, err := read(t, b, operator, uri)
	if err != nil {
		t.Fatal(err)
	}
	switch c := contents.(type) {
	case mcp.TextResourceContents:
		return []byte(c.Text), c.Meta
	case mcp.BlobResourceContents:
		body, err := base64.StdEncoding.DecodeString(c.Blob)
		if err != nil {
			t.Fatal(err)
		}
		return body, c.Meta
	}
	t.Fatalf("contents %T", contents)
	return nil, nil
}

// readAll follows next_offset to the end.
func readAll(t *testing.T, b *bench, uri string) []byte {
	t.Helper()
	base, query, _ := strings.Cut(uri, "?")
	length := ""
	if query != "" {
		length = "&" + query
	}
	var all []byte
	for offset := int64(0); ; {
		body, meta := part(t, b, fmt.Sprintf("%s?offset=%d%s", base, offset, length))
		all = append(all, body...)
		next, more := meta["next_offset"].(int64)
		if !more {
			return all
		}
		if next <= offset {
			t.Fatalf("offset %d leads to %d", offset, next)
		}
		offset = next
	}
}

func TestLogResourceInParts(t *testing.T) {
	f := newFake("b")
	for name, body := range map[string]string{
		"text":   strings.Repeat("日本語 text\n", 50),
		"binary": "\x00\xff\xfe\x80" + strings.Repeat("\x80日", 40),
		"empty":  "",
		"cut":    "abc\xe2\x82",
	} {
		l := &fakeLog{}
		_, _ = l.Write([]byte(body))
		f.live["b"].logs[name] = l
		b := newBench(t, f)
		for _, length := range []int{1, 2, 3, 7, 100, 5000} {
			if got := readAll(t, b, fmt.Sprintf("bottle://b/log/%s?length=%d", name, length)); string(got) != body {
				t.Fatalf("%s in parts of %d: %q", name, length, got)
			}
		}
		_, meta := part(t, b, "bottle://b/log/"+name)
		if meta["size"] != int64(len(body)) {
			t.Errorf("%s: size %v, want %d", name, meta["size"], len(body))
		}
		if body, meta := part(t, b, "bottle://b/log/"+name+"?offset=99999"); len(body) != 0 || meta["next_offset"] != nil {
			t.Errorf("%s: beyond the end there is %q, %v", name, body, meta)
		}
	}
}

func TestLogResourceIsBounded(t *testing.T) {
	f := newFake("b")
	l := &fakeLog{}
	_, _ = l.Write([]byte(strings.Repeat("x", 3<<20)))
	f.live["b"].logs["big"] = l
	body, meta := part(t, newBench(t, f), "bottle://b/log/big?length=99999999")
	if len(body) != logPart || meta["next_offset"] != int64(logPart) {
		t.Fatalf("%d bytes, %v", len(body), meta)
	}
}

func TestOtherResources(t *testing.T) {
	f := newFake("b")
	bottle := f.live["b"]
	bottle.Routes = []provision.RouteSummary{{Host: "a.example", Ports: []int{443}}}
	bottle.log = []sidecars.Decision{deny("a.example", "host_not_allowed"), deny("b.example", "host_not_allowed")}
	b := newBench(t, f)
	for uri, words := range map[string][]string{
		"bottle://b/egress": {`"host":"a.example"`, "}\n{", `"host":"b.example"`},
		"bottle://b/policy": {`"policy": "Nothing may be reached."`, `"host": "a.example"`},
		"bottle://b/report": {`"tcp4-direct"`, `"passed": 1`, `"cgroup memory"`},
	} {
		contents, err := read(t, b, operator, uri)
		if err != nil {
			t.Fatal(err)
		}
		body, ok := contents.(mcp.TextResourceContents)
		if !ok {
			t.Fatalf("%s: contents %T", uri, contents)
		}
		contains(t, body.Text, words...)
	}
}

func TestNoSuchResource(t *testing.T) {
	f := newFake("b")
	b := newBench(t, f)
	stranger := provision.Principal{Kind: provision.Guest, Bottle: "z"}
	for name, tc := range map[string]struct {
		who provision.Principal
		uri string
	}{
		"unknown bottle":   {operator, "bottle://nope/egress"},
		"another's bottle": {stranger, "bottle://b/egress"},
		"another's policy": {stranger, "bottle://b/policy"},
		"unknown log":      {operator, "bottle://b/log/nope"},
		"dots":             {operator, "bottle://b/log/.."},
		"escaped dots":     {operator, "bottle://b/log/%2e%2e"},
		"escaped slash":    {operator, "bottle://b/log/a%2fb"},
		"NUL":              {operator, "bottle://b/log/a%00"},
		"bad id":           {operator, "bottle://B_/egress"},
		"user":             {operator, "bottle://x@b/egress"},
		"offset":           {operator, "bottle://b/log/x?offset=-1"},
		"query":            {operator, "bottle://b/log/x?path=/etc"},
		"scheme":           {operator, "file:///etc/passwd"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, r := range b.res {
				if _, err := r.Read(t.Context(), tc.who, tc.uri); !errors.Is(err, ErrNoResource) {
					t.Errorf("%s of %s: %v", r.Name, tc.uri, err)
				}
			}
		})
	}
}

func FuzzParseURI(f *testing.F) {
	f.Add("bottle://b/log/exec-1.log?offset=3&length=9")
	f.Add("bottle://b/egress")
	f.Fuzz(func(t *testing.T, uri string) {
		r, err := parseURI(uri)
		if err != nil {
			if !errors.Is(err, ErrNoResource) {
				t.Fatalf("%q: %v", uri, err)
			}
			return
		}
		if r.id.Validate() != nil || strings.ContainsAny(r.name, "/\x00\n") || strings.HasPrefix(r.name, ".") || strings.Contains(r.name, "..") || r.offset < 0 || r.length < 0 || r.length > logPart {
			t.Fatalf("%q gave %+v", uri, r)
		}
		if (r.kind == "log") != (r.name != "") {
			t.Fatalf("%q gave %+v", uri, r)
		}
	})
}
