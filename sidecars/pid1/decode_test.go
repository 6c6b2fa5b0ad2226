package pid1

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

func TestDecodeConfig(t *testing.T) {
	cfg := sidecars.Config{Bottle: "otter", Routes: []sidecars.Route{
		{Host: "a.test", Ports: []int{443}, Auth: &sidecars.Auth{Scheme: "Bearer", Slot: "T"}, Private: []string{"10.0.0.1"}},
	}}
	data, err := encodeConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeConfig(data)
	if err != nil || !reflect.DeepEqual(got, cfg) {
		t.Errorf("decodeConfig = %+v, %v; want what was encoded", got, err)
	}

	tests := []struct{ name, text, want string }{
		{"empty", ``, "EOF"},
		{"not JSON", `bottle: otter`, "not JSON"},
		{"cut off", `{"bottle": "x", "routes": [`, "not JSON"},
		{"unknown key", `{"bottle": "x", "routes": [], "route": []}`, "unknown field"},
		{"unknown key below", `{"bottle": "x", "routes": [{"host": "a.test", "port": 1}]}`, "unknown field"},
		{"the CA's place is elsewhere", `{"bottle": "x", "routes": [], "ca_cert": "x"}`, "unknown field"},
		{"key in capitals", `{"Bottle": "x", "routes": []}`, "lower case"},
		{"key that folds", `{"bottle": "x", "routeſ": []}`, "lower case"},
		{"key twice", `{"bottle": "x", "routes": [], "routes": [{"host": "a.test"}]}`, "comes twice"},
		{"key twice below", `{"bottle": "x", "routes": [{"host": "a.test", "host": "b.test"}]}`, "comes twice"},
		{"two objects", `{"bottle": "x", "routes": []} {}`, "follows"},
		{"no bottle", `{"routes": []}`, "set bottle"},
		{"no routes", `{"bottle": "x"}`, "no routes"},
		{"null routes", `{"bottle": "x", "routes": null}`, "no routes"},
		{"a list", `[]`, "cannot unmarshal"},
		{"wrong type", `{"bottle": 7, "routes": []}`, "cannot unmarshal"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := decodeConfig([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("decodeConfig = %+v, %v; want an error with %q", got, err, tt.want)
			}
		})
	}
	// A key may come again in another object.
	if _, err := decodeConfig([]byte(`{"bottle": "host", "routes": [{"host": "a.test"}, {"host": "b.test"}]}`)); err != nil {
		t.Errorf("two routes: %v", err)
	}
}

// FuzzDecodeConfig looks for a policy that is read otherwise than it stands
// there: what is taken, written again and read again is the same, and holds no
// key that a plain reading of the text does not.
func FuzzDecodeConfig(f *testing.F) {
	for _, seed := range []string{
		`{"bottle": "x", "routes": []}`,
		`{"bottle": "x", "routes": [{"host": "*.a.test", "ports": [1], "auth": {"scheme": "token", "slot": "S"}, "private": ["::1"]}]}`,
		`{"bottle": "x", "routes": [], "routes": [{"host": "a.test"}]}`, `{"bottle": "x", "ROUTES": []}`, `{"bottle": "x", "routes": [{"ports": []}]}`, `{"bottle": "x", "routes": [], "placeholders": ["P"], "ledger": {"on_full": "drop"}}`,
		`[[[`, `{"a":{"a":`, "{\"routes\xff\":[]}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := decodeConfig(data)
		if err != nil {
			return
		}
		again, err := encodeConfig(cfg)
		if err != nil {
			t.Fatalf("cannot be written again: %v", err)
		}
		second, err := decodeConfig(again)
		if err != nil {
			t.Fatalf("read again: %v", err)
		}
		// As text: an empty list and none are the same policy.
		if text, err := encodeConfig(second); err != nil || !bytes.Equal(text, again) {
			t.Fatalf("read and written again: %s, %v; want %s", text, err, again)
		}
		var plain map[string]json.RawMessage
		if err := json.Unmarshal(data, &plain); err != nil {
			t.Fatalf("taken, but no JSON object: %v", err)
		}
		for key := range plain {
			if !slices.Contains([]string{"bottle", "routes", "placeholders", "ledger"}, key) {
				t.Fatalf("the key %q was taken", key)
			}
		}
		var list []json.RawMessage
		if err := json.Unmarshal(plain["routes"], &list); err != nil || len(list) != len(cfg.Routes) {
			t.Fatalf("%d routes were read of %d, %v", len(cfg.Routes), len(list), err)
		}
	})
}

func TestSelectDaemons(t *testing.T) {
	tests := []struct {
		name, list string
		unset      bool
		want       string // the daemons, or a part of the error
		bad        bool
	}{
		{name: "unset means all that there are secrets of", unset: true, want: ""},
		{name: "both", list: "bottles,egress", want: "bottles, egress"},
		{name: "one", list: "egress", want: "egress"},
		{name: "blanks and repetitions", list: " egress ,, egress", want: "egress"},
		{name: "empty", list: "", want: "names no daemon", bad: true},
		{name: "only commas", list: " , ", want: "names no daemon", bad: true},
		{name: "not built yet", list: "egress,supervise", want: "cannot serve supervise yet; allowed: egress", bad: true},
		{name: "not built yet either", list: "git-gate", want: "cannot serve git-gate yet", bad: true},
		{name: "unknown", list: "egress,pipelock", want: `"pipelock" is no daemon; allowed: egress`, bad: true},
		{name: "case matters", list: "Egress", want: "is no daemon", bad: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := selectDaemons(tt.list, !tt.unset)
			if tt.bad {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("= %v, %v; want an error with %q", got, err, tt.want)
				}
				return
			}
			if err != nil || names(got) != tt.want {
				t.Errorf("= %v, %v; want %s", got, err, tt.want)
			}
		})
	}
}

func TestParsePlace(t *testing.T) {
	for text, want := range map[string]place{
		"interface:eth1": {device: "eth1"}, "unix:/run/bottle-sockets": {dir: "/run/bottle-sockets"},
	} {
		if got, err := parsePlace(text); err != nil || got != want {
			t.Errorf("%s = %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "interface:", "interface:lo", "interface:a/b", "interface:0123456789abcdef", "interface:..", "interface:a b",
		"unix:", "unix:run", "unix:/run/../etc", "unix:/run/", "unix:/" + strings.Repeat("x", 100), "tcp:0.0.0.0:9099", "eth1",
	} {
		if got, err := parsePlace(text); err == nil || !strings.Contains(err.Error(), "use interface:NAME") {
			t.Errorf("%q = %+v, %v; want it refused", text, got, err)
		}
	}
}
