package dlp

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

func TestSecretsCutOverValues(t *testing.T) {
	g := newGenerator(30)
	known := g.alnum(32)
	s := newScanner(t, Options{Known: []Known{{Name: "DEPLOY", Value: secret.New(known)}}})
	a, b, c := known[:7], known[7:19], known[19:]
	multipart := "--xYz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n%s\r\n--xYz\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\n%s\r\n--xYz\r\n\r\n%s\r\n--xYz--\r\n"
	for _, k := range []struct {
		name, text string
		field      Field
		want       bool
	}{
		{"values of JSON", fmt.Sprintf(`{"first": "%s", "second": "%s", "third": {"x": "%s"}}`, a, b, c), Body, true},
		{"after other text", fmt.Sprintf(`[{"first": "look: %s"}, {"second": "%s"}, {"third": "%s and more"}]`, a, b, c), Body, true},
		{"with escaped quotes", fmt.Sprintf(`{"first": "\"%s", "second": "%s\"", "third": "\\%s"}`, a, b, c), Body, true},
		{"single characters", `{"k":"` + strings.Join(strings.Split(known, ""), `","k":"`) + `"}`, Body, true},
		{"in pretty JSON", fmt.Sprintf("{\n  \"first\" : \"%s\",\n  \"second\" :\n\"%s\", \"third\": \"%s\"\n}", a, b, c), Body, true},
		{"in names and values", fmt.Sprintf(`{"%s": "%s%s"}`, a, b, c), Body, true},
		{"in the wrong order", fmt.Sprintf(`{"first": "%s", "second": "%s", "third": "%s"}`, b, a, c), Body, false},
		{"with another value between", fmt.Sprintf(`{"first": "%s", "x": "other", "second": "%s%s"}`, a, b, c), Body, false},
		{"a form", fmt.Sprintf("first=%s&second=%s&third=%s", a, b, c), Body, true},
		{"a query", fmt.Sprintf("first=%s&second=%s&third=%s", a, b, c), Query, true},
		{"multipart", fmt.Sprintf(multipart, a, b, c), Body, true},
		{"multipart, in the wrong order", fmt.Sprintf(multipart, b, a, c), Body, false},
		{"base64 in values", func() string {
			e := encodings()[0].encode(known)
			return fmt.Sprintf(`{"a": "%s", "b": "%s"}`, e[:20], e[20:])
		}(), Body, true},
	} {
		t.Run(k.name, func(t *testing.T) {
			found := s.Scan(k.field, []byte(k.text))
			if hasDetector(found, KnownSecrets) != k.want {
				t.Errorf("%v in %s", found, k.text)
			}
			for _, size := range []int{1, 3, 20} {
				st := s.Stream(StreamOptions{Field: k.field})
				var got []Finding
				for text := k.text; text != ""; text = text[min(size, len(text)):] {
					got = append(got, st.Write([]byte(text[:min(size, len(text))]))...)
				}
				if got = append(got, st.Close()...); !sameFindings(got, found) {
					t.Errorf("in chunks of %d: %v, whole: %v", size, got, found)
				}
			}
		})
	}
}
