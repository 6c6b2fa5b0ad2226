package dlp

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars/encoded"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// sample is one labelled text of the corpus.
type sample struct {
	class string
	texts []Text
	// kinds says what must be found; empty: nothing that weighs.
	kinds []string
	// detector is what must find it, when no kind is demanded.
	detector string
}

// placement is a place in a request that a secret can stand in.
type placement struct {
	name  string
	place func(secret string) []Text
}

func placements() []placement {
	body := func(format string) func(string) []Text {
		return func(s string) []Text { return []Text{{Body, []byte(fmt.Sprintf(format, s))}} }
	}
	return []placement{
		{"body, plain", body("Here is what you asked for:\n\n%s\n\nThanks!")},
		{"body, JSON", func(s string) []Text {
			b, _ := json.Marshal(map[string]any{"model": "m", "messages": []map[string]string{{"role": "user", "content": "fix this:\n```\n" + s + "\n```\nplease"}}})
			return []Text{{Body, b}}
		}},
		{"body, form", func(s string) []Text {
			return []Text{{Body, []byte("title=hello&note=" + url.QueryEscape(s) + "&submit=1")}}
		}},
		{"body, multipart", body("--bnd\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\n%s\r\n--bnd--\r\n")},
		{"body, source code", body("package main\n\n// do not commit\nconst value = `%s`\n\nfunc main() {}\n")},
		{"query", func(s string) []Text { return []Text{{Query, []byte("page=2&q=" + url.QueryEscape(s))}} }},
		{"path", func(s string) []Text { return []Text{{Path, []byte("/v1/items/" + url.PathEscape(s) + "/comments")}} }},
		{"header", func(s string) []Text {
			return []Text{{HeaderField("X-Note"), []byte(strings.NewReplacer("\r\n", " ", "\n", " ").Replace(s))}}
		}},
		{"websocket message", func(s string) []Text {
			b, _ := json.Marshal(map[string]any{"type": "input", "text": s, "seq": 12})
			return []Text{{Message, b}}
		}},
	}
}

// tokens are samples of every kind in every placement, and of every kind in
// every encoding.
func (g generator) tokens(t testing.TB) []sample {
	var all []sample
	encs := encodings()
	for i, r := range tokenRules() {
		class := "tokens, structured"
		switch {
		case r.weak:
			class = "values by name (warnings)"
		case r.key != "":
			class = "tokens, by name and shape"
		}
		for _, p := range placements() {
			if multiline(r.kind) && (p.name == "path" || p.name == "header") {
				continue
			}
			all = append(all, sample{class: class, texts: p.place(g.credential(t, r)), kinds: []string{r.kind}})
		}
		if r.weak {
			continue
		}
		for k := range 4 {
			e := encs[(i*4+k)%len(encs)]
			if e.name == "zlib" || e.name == "brotli" { // nothing marks them inside a text
				e = encs[k]
			}
			text := g.credential(t, r)
			if r.key != "" {
				text = strings.NewReplacer(" ", "", `"`, "", "'", "", "`", "", `\`, "").Replace(text) // a word, which is what encoders of single characters leave
			}
			text = e.encode(text)
			if e.binary {
				text = base64.StdEncoding.EncodeToString([]byte(text))
			}
			all = append(all, sample{class: "tokens, encoded: " + e.name, texts: []Text{{Body, []byte(`{"data": "` + text + `", "n": 1}`)}}, kinds: []string{r.kind}})
		}
	}
	return all
}

func multiline(kind string) bool { return strings.HasSuffix(kind, "private_key") }

// knownDresses are the encodings in which a known secret must be found without
// fail.
func knownDresses() []encoding {
	separated := func(by string) func(string) string {
		return func(s string) string { return strings.Join(strings.Split(s, ""), by) }
	}
	return append(encodings(),
		encoding{"raw", func(s string) string { return s }, false},
		encoding{"reversed", encoded.Reversed, false},
		encoding{"rot13", func(s string) string { return strings.Map(rot13, s) }, false},
		encoding{"base58", base58, false},
		encoding{"spaced", separated(" "), false},
		encoding{"dashed", separated("-"), false},
		encoding{"dotted", separated("."), false},
		encoding{"in lines", separated("\n"), false},
		encoding{"underscored", separated("_"), false},
		encoding{"with zero-width spaces", separated("\u200b"), false},
		encoding{"with zero-width joiners", separated("\u200d"), false},
		encoding{"in string literals", func(s string) string { return s[:7] + `" + "` + s[7:] }, false},
		encoding{"base64, second alignment", func(s string) string { return base64.StdEncoding.EncodeToString([]byte("a" + s + "z")) }, false},
		encoding{"base64, third alignment", func(s string) string { return base64.StdEncoding.EncodeToString([]byte("ab" + s + "z")) }, false},
		encoding{"hex with colons", func(s string) string { return encoded.Each(s, "%02x:") }, false},
		encoding{"in capitals", strings.ToUpper, false},
		encoding{"cut over JSON", func(s string) string { return s[:9] + `", "second": "` + s[9:] }, false},
	)
}

// secrets are made of what providers hand out: letters and digits, prefixes,
// punctuation.
func (g generator) secrets() []Known {
	var all []Known
	for i := range 20 {
		value := g.alnum(20 + i)
		switch i % 4 {
		case 1:
			value = "sk-ant-api03-" + value
		case 2:
			value = value[:10] + "+/" + value[10:] + "=="
		case 3:
			value = value[:8] + "@$!" + value[8:]
		}
		all = append(all, Known{Name: fmt.Sprintf("SECRET_%d", i), Value: secret.New(value)})
	}
	return all
}

func (g generator) knownSamples(known []Known, detector string) []sample {
	var all []sample
	for _, k := range known {
		for _, e := range knownDresses() {
			if e.name == "zlib" || e.name == "brotli" {
				continue
			}
			for _, p := range placements() {
				if p.name == "body, JSON" || p.name == "websocket message" || p.name == "header" || p.name == "body, source code" {
					continue
				}
				text := e.encode(k.Value.Reveal())
				place := p.place
				if e.name == "cut over JSON" {
					place = func(s string) []Text { return []Text{{Body, []byte(`{"first": "` + s + `"}`)}} }
				}
				all = append(all, sample{class: detector + ": " + e.name, texts: place(text), detector: detector})
			}
		}
	}
	return all
}
