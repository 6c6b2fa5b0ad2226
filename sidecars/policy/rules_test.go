package policy

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

func TestCompileRefusesRules(t *testing.T) {
	scan := func(d sidecars.DLP) sidecars.Route { return sidecars.Route{DLP: &d} }
	spend := func(b sidecars.Budget) sidecars.Route { return sidecars.Route{Budget: &b} }
	answer := func(most int64, types ...string) sidecars.Route {
		return sidecars.Route{Response: &sidecars.ResponseRules{MaxBytes: most, Types: types}}
	}
	tests := []struct {
		name string
		in   sidecars.Route
		want string // "" is right
	}{
		{"no rules", sidecars.Route{}, ""},
		{"default scan", scan(sidecars.DLP{}), ""},
		{"unknown detector", scan(sidecars.DLP{Outbound: []string{"magic"}}), `"magic" is no outbound detector`},
		{"the other way's detector", scan(sidecars.DLP{Inbound: []string{sidecars.DetectEntropy}}), "no inbound detector"},
		{"detector twice", scan(sidecars.DLP{Outbound: []string{sidecars.DetectEntropy, sidecars.DetectEntropy}}), "stands twice"},
		{"unknown answer to a match", scan(sidecars.DLP{OnMatch: "allow"}), `nobody can "allow"`},
		{"answers blocked", scan(sidecars.DLP{InboundOnMatch: sidecars.InboundBlock}), ""},
		{"unknown answer to an answer", scan(sidecars.DLP{InboundOnMatch: "redact"}), `nobody can "redact"`},
		{"answers blocked unread", scan(sidecars.DLP{Inbound: []string{}, InboundOnMatch: sidecars.InboundBlock}), "no detector reads them"},
		{"empty budget", spend(sidecars.Budget{}), "at least one"},
		{"negative budget", spend(sidecars.Budget{Requests: 1, BytesOut: -1}), "positive"},
		{"budget that sums overflow", spend(sidecars.Budget{BytesIn: MaxBudget + 1}), "absurd"},
		{"fast budget", spend(sidecars.Budget{PerMinute: MaxPerMinute + 1}), "absurd"},
		{"largest budget", spend(sidecars.Budget{BytesIn: MaxBudget, PerMinute: MaxPerMinute}), ""},
		{"no rule for answers", answer(0), "needs a positive max_bytes"},
		{"negative answers", answer(-1, "text/html"), "needs a positive max_bytes"},
		{"many types", answer(0, make([]string, MaxTypes+1)...), "1 to 32 types"},
		{"every type", answer(0, "*/*"), "no media type"},
		{"upper case", answer(0, "Text/html"), "lower case"},
		{"parameters", answer(0, "text/html;q=1"), "no media type"},
		{"half a wildcard", answer(0, "text/h*"), "no media type"},
		{"long type", answer(0, "text/"+strings.Repeat("a", 128)), "127"},
		{"type beyond ASCII", answer(0, "text/hťml"), "no media type"},
		{"type twice", answer(1, "text/*", "text/*"), "twice"},
		{"types", answer(1, "text/*", "application/vnd.api+json"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.in.Host = "a.test"
			_, err := Compile([]sidecars.Route{tt.in})
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error = %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestCheckAuthHeader(t *testing.T) {
	for _, name := range []string{"X-Api-Key", "Private-Token", "Authorization", "X-Goog-Api-Key", "Apikey"} {
		if err := CheckAuthHeader(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, want := range map[string]string{
		"": "1 to 128", strings.Repeat("A", 129): "1 to 128", "X Key": "letters", "X-Key:": "letters", "X-Key\r\nA": "letters", "Schlüssel": "letters",
		"x-api-key": `"X-Api-Key"`, "Cookie": "cookie", "Host": "something else", "Content-Type": "something else", "Content_length": "something else",
		"Transfer-Encoding": "does not travel", "Proxy-Authorization": "does not travel", "Connection": "does not travel", "X_http_method": "something else", "X-Original-Url": "something else",
	} {
		if err := CheckAuthHeader(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error = %v, want one with %q", name, err, want)
		}
	}
}

func TestRuleWords(t *testing.T) {
	tests := []struct {
		in   sidecars.Route
		want string
	}{
		{sidecars.Route{Host: "a.test", DLP: &sidecars.DLP{}}, "a.test"},
		{sidecars.Route{Host: "a.test", Budget: &sidecars.Budget{Requests: 5, BytesOut: 3 << 20, BytesIn: 1025, PerMinute: 2}}, "a.test (at most 5 requests, 2 a minute, 3 MiB out, 1025 bytes in)"},
		{sidecars.Route{Host: "a.test", Response: &sidecars.ResponseRules{MaxBytes: 2 << 40, Types: []string{"text/*", "image/png"}}}, "a.test (answers of text/* or image/png up to 2 TiB)"},
		{sidecars.Route{Host: "a.test", DLP: &sidecars.DLP{Outbound: []string{}, Inbound: sidecars.DefaultInbound(), OnMatch: "block"}},
			"a.test (requests not scanned; answers scanned for naive_injection_detection; on a match block)"},
	}
	for _, tt := range tests {
		if got := Words(tt.in); got != tt.want {
			t.Errorf("Words = %q, want %q", got, tt.want)
		}
	}
}

// A list that is empty switches scanning off, and one that is missing does not:
// the way to the proxy keeps them apart.
func TestRulesTravel(t *testing.T) {
	in := []sidecars.Route{
		{Host: "a.test", DLP: &sidecars.DLP{Outbound: []string{}}},
		{Host: "b.test", DLP: &sidecars.DLP{Inbound: []string{}, OnMatch: sidecars.OnMatchBlock}, Budget: &sidecars.Budget{PerMinute: 1},
			Response: &sidecars.ResponseRules{Types: []string{"text/*"}}, Auth: &sidecars.Auth{Scheme: sidecars.SchemeHeader, Header: "X-Key", Slot: "A"}},
	}
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out []sidecars.Route
	if err := json.Unmarshal(raw, &out); err != nil || !reflect.DeepEqual(in, out) {
		t.Errorf("%s came out as %+v, %v", raw, out, err)
	}
	p := compile(t, in...)
	if got := p.Routes(); !reflect.DeepEqual(got, in) {
		t.Errorf("the policy has %+v", got)
	}
	p.Routes()[1].Response.Types[0] = "changed"
	if p.Routes()[1].Response.Types[0] == "changed" {
		t.Error("who reads a policy can change it")
	}
}
