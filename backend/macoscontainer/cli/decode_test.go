package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

const digest0 = "sha256:ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12"

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return t.UTC()
}

// sidecar is the container of the documented example.
func sidecar() Container {
	return Container{
		ID: "sbx-7f3a-sidecar", State: "running", Image: "docker.io/library/sidecar:1.4",
		Labels:  map[string]string{"dev.example.role": "sidecar", "dev.example.sandbox": "7f3a"},
		Created: at("2026-08-06T07:06:40Z"), Started: at("2026-08-06T07:06:43Z"),
		Attachments: []Attachment{
			{Network: "default", IPv4: "192.168.64.5", Prefix: 24, Gateway: "192.168.64.1", IPv6: "fd5c:1d2e:3f40:1::5"},
			{Network: "sbx-7f3a-int", IPv4: "192.168.65.2", Prefix: 24, Gateway: "192.168.65.1", IPv6: "fd5c:1d2e:3f40:2::2"},
		},
		Networks: []string{"default", "sbx-7f3a-int"}, Nameservers: []string{}, CapDrop: []string{"ALL"}, UseInit: true,
	}
}

func TestDecodeContainers(t *testing.T) {
	tests := []struct {
		fixture string
		want    []Container
	}{
		{"container-list-1.2.2", []Container{sidecar()}},
		{"container-inspect-1.2.2", []Container{sidecar()}},
		{"container-list-other-1.2.2", []Container{{
			ID: "ab", State: "stopped", Image: "docker.io/library/sidecar:1.4", Labels: map[string]string{},
			Created: at("2026-08-06T07:06:40Z"), CapDrop: []string{},
		}}},
		{"empty", []Container{}},
		{"container-list-1.3.1", []Container{{
			ID: "next", State: "running", Image: "docker.io/library/alpine:latest", Labels: map[string]string{},
			Created: at("2026-09-01T00:00:00Z"), Started: at("2026-09-01T00:00:01Z"), CapDrop: []string{"ALL"},
			Attachments: []Attachment{{Network: "default", IPv4: "192.168.64.7", Prefix: 24, Gateway: "192.168.64.1"}},
			Networks:    []string{"default"},
		}}},
		{"container-list-0.7.1", []Container{{
			ID: "old", State: "running", Image: "docker.io/library/alpine:latest", Labels: map[string]string{"dev.example.sandbox": "7f3a"},
			Attachments: []Attachment{{Network: "default", IPv4: "192.168.64.3", Prefix: 24, Gateway: "192.168.64.1"}},
			Networks:    []string{"default"},
		}}},
		{"container-list-0.11.0", []Container{
			{
				ID: "newer", State: "running", Image: "docker.io/library/alpine:latest", Labels: map[string]string{},
				Started:     at("2026-08-06T07:06:40.5Z"),
				Attachments: []Attachment{{Network: "default", IPv4: "192.168.64.4", Prefix: 24, Gateway: "192.168.64.1", IPv6: "fd00::4"}},
				Networks:    []string{"default"}, Nameservers: []string{"9.9.9.9"}, UseInit: true,
			},
			{ID: "gone", State: "stopped", Image: "x", Labels: map[string]string{}},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.fixture, func(t *testing.T) {
			got, err := decodeList(fixture(t, tt.fixture), decodeContainer)
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, tt.want)
			}
		})
	}
}

func TestDecodeNetworks(t *testing.T) {
	inner := Network{
		Name: "sbx-7f3a-int", Labels: map[string]string{"dev.example.sandbox": "7f3a"}, Created: at("2026-08-06T07:06:40Z"),
		Internal: true, Subnet: "192.168.65.0/24", Gateway: "192.168.65.1",
	}
	outer := Network{
		Name: "default", Labels: map[string]string{"com.apple.container.resource.role": "builtin"}, Created: at("2026-08-06T07:06:40Z"),
		Subnet: "192.168.64.0/24", Gateway: "192.168.64.1",
	}
	tests := []struct {
		fixture string
		want    []Network
	}{
		{"network-list-1.2.2", []Network{outer, inner}},
		{"network-inspect-1.2.2", []Network{inner}},
		{"network-list-0.7.1", []Network{{Name: "default", Subnet: "192.168.64.0/24", Gateway: "192.168.64.1"}}},
		{"network-list-0.11.0", []Network{
			{
				Name: "inner", Labels: map[string]string{"a.b": "c"}, Created: at("2026-08-06T07:06:40Z"), Internal: true,
				Subnet: "192.168.65.0/24", Gateway: "192.168.65.1",
			},
			{Name: "made"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.fixture, func(t *testing.T) {
			got, err := decodeList(fixture(t, tt.fixture), decodeNetwork)
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, tt.want)
			}
		})
	}
}

func TestDecodeImages(t *testing.T) {
	now := Image{
		Reference: "docker.io/library/sidecar:1.4", Digest: digest0, Created: at("2026-05-01T10:00:00Z"),
		Variants: []Variant{{
			OS: "linux", Architecture: "arm64", Digest: "sha256:" + strings.Repeat("ef56", 16), User: "1000",
			Env: []string{"PATH=/usr/bin:/bin"}, Labels: map[string]string{"org.opencontainers.image.title": "sidecar"},
		}},
	}
	tests := []struct {
		fixture string
		want    []Image
	}{
		{"image-list-1.2.2", []Image{now}},
		{"image-inspect-1.2.2", []Image{now}},
		{"image-list-0.11.0", []Image{{Reference: "docker.io/library/alpine:latest", Digest: digest0}}},
		{"image-inspect-0.11.0", []Image{{
			Reference: "docker.io/library/alpine:latest", Digest: digest0,
			Variants: []Variant{{OS: "linux", Architecture: "arm64", User: "app", Env: []string{"PATH=/bin"}}},
		}}},
	}
	for _, tt := range tests {
		t.Run(tt.fixture, func(t *testing.T) {
			got, err := decodeList(fixture(t, tt.fixture), decodeImage)
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, tt.want)
			}
		})
	}
}

func TestDecodeSystem(t *testing.T) {
	for name, want := range map[string]Status{
		"system-status-1.2.2":      {Running: true, State: "running"},
		"system-status-down-1.2.2": {State: "unregistered"},
		"system-status-1.3.1":      {Running: true, State: "running"},
		"system-status-down-1.3.1": {State: "unregistered"},
	} {
		if got, err := decodeStatus(fixture(t, name)); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, want)
		}
	}
	for name, want := range map[string]Versions{
		"system-version-1.2.2":      {CLI: "1.2.2", Daemon: "1.2.2"},
		"system-version-down-1.2.2": {CLI: "1.2.2"},
	} {
		if got, err := decodeVersions(fixture(t, name)); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, want)
		}
	}
}

// decoders are those of lists, as one type.
var decoders = map[string]func([]byte) (int, error){
	"container": func(b []byte) (int, error) { l, err := decodeList(b, decodeContainer); return len(l), err },
	"network":   func(b []byte) (int, error) { l, err := decodeList(b, decodeNetwork); return len(l), err },
	"image":     func(b []byte) (int, error) { l, err := decodeList(b, decodeImage); return len(l), err },
	"system-status": func(b []byte) (int, error) {
		_, err := decodeStatus(b)
		return 1, err
	},
	"system-version": func(b []byte) (int, error) {
		_, err := decodeVersions(b)
		return 1, err
	},
}

// decoderOf is the decoder for a fixture's name.
func decoderOf(name string) func([]byte) (int, error) {
	if strings.HasPrefix(name, "builder") {
		return decoders["container"]
	}
	for prefix, d := range decoders {
		if strings.HasPrefix(name, prefix) {
			return d
		}
	}
	return nil
}

func fixtures(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d fixtures, %v", len(files), err)
	}
	out := map[string][]byte{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out[strings.TrimSuffix(filepath.Base(f), ".json")] = data
	}
	return out
}

// TestCutOutputIsNeverUnderstood: no prefix of a document is a document.
func TestCutOutputIsNeverUnderstood(t *testing.T) {
	for name, data := range fixtures(t) {
		decode := decoderOf(name)
		if decode == nil {
			continue
		}
		whole := strings.TrimSpace(string(data))
		for cut := range len(whole) {
			if n, err := decode([]byte(whole[:cut])); err == nil {
				t.Errorf("%s cut to %d of %d bytes: %d objects and no error", name, cut, len(whole), n)
			}
		}
		if _, err := decode([]byte(whole + " x")); err == nil {
			t.Errorf("%s with something behind it: no error", name)
		}
	}
}

func TestAlienOutputIsNeverUnderstood(t *testing.T) {
	many := "[" + strings.Repeat(`{"id":"a","configuration":{"mode":"nat"},"status":{"state":"running"}},`, maxElements) +
		`{"id":"a","configuration":{"mode":"nat"},"status":{"state":"running"}}]`
	deep := strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)
	tests := []struct{ name, text string }{
		{"nothing", ""}, {"null", "null"}, {"a word", "running"}, {"a table", "ID IMAGE OS\n"}, {"a number", "7"},
		{"TOML", "items = []\n"}, {"HTML", "<html></html>"}, {"nothing in it", "[{}]"}, {"null in it", "[null]"},
		{"a list in it", "[[]]"}, {"a word in it", `["a"]`}, {"an id alone", `[{"id":"a"}]`},
		{"an id that is a number", `[{"id":7,"configuration":{},"status":{}}]`},
		{"labels that are numbers", `[{"id":"a","configuration":{"mode":"nat","labels":{"k":1},"name":"a"},"status":{"state":"running"}}]`},
		{"a date that is none", `[{"id":"a","configuration":{"mode":"nat","creationDate":"yesterday","descriptor":{"digest":"x"}},"status":{"state":"running"}}]`},
		{"a date beyond time", `[{"id":"a","configuration":{"mode":"nat","creationDate":1e300,"descriptor":{"digest":"x"}},"status":{"state":"running"}}]`},
		{"too many", many}, {"too deep", deep}, {"control bytes", "\x00\x01\x02"},
	}
	for kind, decode := range decoders {
		for _, tt := range tests {
			t.Run(kind+"/"+tt.name, func(t *testing.T) {
				if n, err := decode([]byte(tt.text)); err == nil {
					t.Errorf("%d objects and no error", n)
				}
			})
		}
	}
	if _, err := decodeList([]byte(many[:len(many)/2]), decodeContainer); err == nil {
		t.Error("half of many: no error")
	}
}

// TestOddValuesAreLeftOut: what a caller must not take for an address is "".
func TestOddValuesAreLeftOut(t *testing.T) {
	raw := `{"id":"a","configuration":{"image":{"reference":"x"}},"status":{"state":"dancing","networks":[
		{"network":"n","ipv4Address":"fe80::1/64","ipv4Gateway":"not an address","ipv6Address":"::1%eth0"},
		{"network":"m","ipv4Address":"192.168.64.2"}]}}`
	c, err := decodeContainer(json.RawMessage(raw))
	if err != nil {
		t.Fatal(err)
	}
	want := []Attachment{{Network: "n"}, {Network: "m", IPv4: "192.168.64.2"}}
	if c.State != "unknown" || !reflect.DeepEqual(c.Attachments, want) {
		t.Errorf("state %q, attachments %+v", c.State, c.Attachments)
	}
	n, err := decodeNetwork(json.RawMessage(`{"id":"n","configuration":{"mode":"bridged"},"status":{"ipv4Subnet":"fd00::/64","ipv4Gateway":"x"}}`))
	if err != nil || n.Internal || n.Subnet != "" || n.Gateway != "" {
		t.Errorf("network %+v, %v", n, err)
	}
}

func TestDates(t *testing.T) {
	tests := []struct {
		raw  string
		want time.Time
		ok   bool
	}{
		{`"2026-08-06T07:06:40Z"`, at("2026-08-06T07:06:40Z"), true},
		{`"2026-08-06T07:06:40.25Z"`, at("2026-08-06T07:06:40.25Z"), true},
		{`"2026-08-06T09:06:40+02:00"`, at("2026-08-06T07:06:40Z"), true},
		{`0`, at("2001-01-01T00:00:00Z"), true},
		{`807692800.5`, at("2026-08-06T07:06:40.5Z"), true},
		{`null`, time.Time{}, true},
		{`"yesterday"`, time.Time{}, false},
		{`-1`, time.Time{}, false},
		{`1e13`, time.Time{}, false},
		{`{}`, time.Time{}, false},
	}
	for _, tt := range tests {
		var d date
		if err := json.Unmarshal([]byte(tt.raw), &d); (err == nil) != tt.ok || tt.ok && !d.Equal(tt.want) {
			t.Errorf("%s = %v, %v; want %v", tt.raw, d.Time, err, tt.want)
		}
	}
}

func TestDecodedOne(t *testing.T) {
	v := subcommand("sbx-7f3a-sidecar", "inspect")
	is := func(id string) func(Container) bool { return func(c Container) bool { return c.ID == id } }
	if c, err := decodedOne(v, fixture(t, "container-inspect-1.2.2"), decodeContainer, is("sbx-7f3a-sidecar")); err != nil || c.ID != "sbx-7f3a-sidecar" {
		t.Errorf("got %+v, %v", c, err)
	}
	_, err := decodedOne(v, []byte("[\n\n]\n"), decodeContainer, is("x"))
	wantKind(t, err, KindNotFound)
	_, err = decodedOne(v, fixture(t, "container-inspect-1.2.2"), decodeContainer, is("x"))
	wantKind(t, err, KindOutput)
	_, err = decodedOne(v, []byte("{}"), decodeContainer, is("x"))
	if e := wantKind(t, err, KindOutput); !errors.Is(e, errAlien) {
		t.Errorf("cause = %v", e.Err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, data := range fixtures(f) {
		f.Add(data)
	}
	f.Add([]byte(`[{"id":"a","status":"running","startedDate":1e99,"configuration":{"networks":[null,"",{}]}}]`))
	f.Add([]byte(`[{"status":{},"configuration":null}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if list, err := decodeList(data, decodeContainer); err == nil {
			for _, c := range list {
				mustHold(t, c.ID != "" && known(c.State) == c.State, "container %+v", c)
				for _, a := range c.Attachments {
					bare, _ := ipv4(a.IPv4)
					gw, _ := ipv4(a.Gateway)
					mustHold(t, bare == a.IPv4 && gw == a.Gateway && a.Prefix >= 0 && a.Prefix <= 32, "attachment %+v", a)
				}
			}
		}
		if list, err := decodeList(data, decodeNetwork); err == nil {
			for _, n := range list {
				mustHold(t, n.Name != "" && subnet(n.Subnet) == n.Subnet, "network %+v", n)
			}
		}
		if list, err := decodeList(data, decodeImage); err == nil {
			for _, i := range list {
				mustHold(t, i.Reference != "" && digest(i.Digest) == i.Digest && i.Digest != "", "image %+v", i)
			}
		}
		if s, err := decodeStatus(data); err == nil {
			mustHold(t, s.State != "" && s.Running == (s.State == "running"), "status %+v", s)
		}
		if v, err := decodeVersions(data); err == nil {
			mustHold(t, !strings.Contains(v.CLI, " version "), "versions %+v", v)
		}
	})
}

func mustHold(t *testing.T, ok bool, format string, args ...any) {
	t.Helper()
	if !ok {
		t.Error("does not hold: " + fmt.Sprintf(format, args...))
	}
}
