package grammar

import (
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestNamesAndLabels(t *testing.T) {
	for _, c := range []struct {
		check      func(string) error
		good, bad  []string
		rule, what string
	}{
		{
			what: "container", check: CheckContainerID, rule: ruleName,
			good: []string{"ab", "A.b_c-d", "0x", strings.Repeat("a", 63)},
			bad:  []string{"", "a", "-a", "a b", "a/b", "ab\n", "é2", strings.Repeat("a", 64)},
		},
		{
			what: "network", check: CheckNetworkName, rule: ruleName,
			good: []string{"a", "a-b.c_d", strings.Repeat("a", 63)},
			bad:  []string{"", "A", "a-", "-a", "a\n", "none", "default", strings.Repeat("a", 64)},
		},
		{
			what: "volume", check: CheckVolumeName, rule: ruleName,
			good: []string{"a", "A_.-", strings.Repeat("a", 255)},
			bad:  []string{"", "-a", "a/b", strings.Repeat("a", 256)},
		},
		{
			what: "container label", check: CheckContainerLabel, rule: ruleLabel,
			good: []string{"a=b", "a", "a=", "A_b/c=d e", "=a", "a==b"},
			bad:  []string{"", "=", "a=b=c", "a=b=="},
		},
		{
			what: "network label", check: CheckNetworkLabel, rule: ruleLabel,
			good: []string{"a=b", "a", "dev.x-y.z/a.b=c=d", "a=b=c", "a=" + strings.Repeat("x", 4094), strings.Repeat("k", 128)},
			bad:  []string{"", "=", "A=b", "a_b=c", "a.=b", ".a=b", "a=", "-a=b", strings.Repeat("k", 129), "a=" + strings.Repeat("x", 4095)},
		},
	} {
		for _, name := range c.good {
			if err := c.check(name); err != nil {
				t.Errorf("%s %.70q: %v", c.what, name, err)
			}
		}
		for _, name := range c.bad {
			if err := c.check(name); err == nil {
				t.Errorf("%s %.70q is accepted", c.what, name)
			} else {
				checkRefusal(t, err, c.rule, 1)
			}
		}
	}
}

func TestLabelsOfACommand(t *testing.T) {
	for line, want := range map[string]map[string]string{
		"run --label a=b --label c --label a=d IMG": {"a": "d", "c": ""},
		"create --label =a --label x==y IMG":        {"a": "", "x": "y"},
		"network create --label a=b=c n":            {"a": "b=c"},
		"volume create --label k= --label v=a=b v":  {"k=": "", "v": "a=b"},
		"run IMG": {},
	} {
		p, err := Parse(words(line))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Labels(p)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v (%v), want %v", line, got, err, want)
		}
	}
	p, err := Parse(words("network create --label k= n"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Labels(p)
	checkRefusal(t, err, ruleLabel, 1)
}

func TestParseMemory(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1024": 1024, "1b": 1, "1bb": 1, "1k": 1 << 10, "1KB": 1 << 10, "1KiB": 1 << 10, "1.5m": 3 << 19, "2g": 2 << 30,
		" 1 g ": 1 << 30, ".5k": 512, "5.": 5, "1t": 1 << 40, "1p": 1 << 50, "0.4": 0,
	} {
		if got, err := ParseMemory(text); err != nil || got != want {
			t.Errorf("%q: %d (%v), want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", " ", "g", "-1", "+1", "1.2.3", ".", "1e3", "1x", "1kk", "1gbi", "1 g b", "1\n", "9999p", "inf", "0x10", "1_0"} {
		if got, err := ParseMemory(text); err == nil {
			t.Errorf("%q is %d", text, got)
		} else {
			checkRefusal(t, err, ruleMemory, 1)
		}
	}
}

// specCase is a value of an option and what it is read as; nil = refused.
type specCase struct {
	spec string
	want any
}

func checkSpecs[T any](t *testing.T, read func(string) (T, error), rule string, cases []specCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.spec, func(t *testing.T) {
			got, err := read(c.spec)
			if c.want == nil {
				checkRefusal(t, err, rule, 1)
				return
			}
			if err != nil || !reflect.DeepEqual(any(got), c.want) {
				t.Errorf("got %+v (%v), want %+v", got, err, c.want)
			}
		})
	}
}

func TestParseMount(t *testing.T) {
	checkSpecs(t, ParseMount, ruleMount, []specCase{
		{"source=/a,target=/b", Mount{Type: MountVirtiofs, Source: "/a", Target: "/b"}},
		{"type=bind,src=/a,dst=/b,readonly", Mount{Type: MountVirtiofs, Source: "/a", Target: "/b", Options: []string{"ro"}}},
		{"type=bind,source=/a,destination=/b,readonly=false", Mount{Type: MountVirtiofs, Source: "/a", Target: "/b", Options: []string{"ro"}}},
		{"type=volume,source=v,target=/b,ro", Mount{Type: MountVolume, Source: "v", Target: "/b", Options: []string{"ro"}}},
		{"type=volume,target=/b", Mount{Type: MountVolume, Target: "/b"}},
		{"type=tmpfs,target=/b,size=1.5m,mode=1777", Mount{Type: MountTmpfs, Target: "/b", Options: []string{"size=1048576", "mode=1777"}}},
		{",,source=/a,,target=/b", Mount{Type: MountVirtiofs, Source: "/a", Target: "/b"}},
		{"", nil},
		{",", nil},
		{"type=nfs,source=/a,target=/b", nil},
		{"source=/a", nil},
		{"source=/a=b,target=/b", nil},
		{"source=,target=/b", nil},
		{"=,target=/b", nil},
		{"/a:/b", nil},
		{"type=tmpfs,source=/a,target=/b", nil},
		{"type=bind,source=/a,target=/b,size=1g", nil},
		{"type=volume,source=v,target=/b,mode=1", nil},
	})
	checkSpecs(t, ParseMount, ruleName, []specCase{{"type=volume,source=/v,target=/b", nil}})
	checkSpecs(t, ParseMount, ruleMemory, []specCase{{"type=tmpfs,target=/b,size=x", nil}})
}

func TestParseVolume(t *testing.T) {
	checkSpecs(t, ParseVolume, ruleMount, []specCase{
		{"/a:/b", Mount{Type: MountVirtiofs, Source: "/a", Target: "/b"}},
		{"./a:/b:ro,x", Mount{Type: MountVirtiofs, Source: "./a", Target: "/b", Options: []string{"ro", "x"}}},
		{".:/b", Mount{Type: MountVirtiofs, Source: ".", Target: "/b"}},
		{"..:/b", Mount{Type: MountVirtiofs, Source: "..", Target: "/b"}},
		{"v:/b:ro", Mount{Type: MountVolume, Source: "v", Target: "/b", Options: []string{"ro"}}},
		{"/b", Mount{Type: MountVolume, Target: "/b"}},
		{":/b", Mount{Type: MountVolume, Target: "/b"}},
		{"/a:/b:c:d", nil},
		{"", nil},
		{":", nil},
	})
	checkSpecs(t, ParseVolume, ruleName, []specCase{{"-v:/b", nil}, {"...:/b:/c", nil}})
	if !(Mount{Options: []string{"x", "ro"}}).ReadOnly() || (Mount{Options: []string{"rw"}}).ReadOnly() {
		t.Error("ro makes a mount read-only and rw does not")
	}
}

func TestParsePublish(t *testing.T) {
	any4, local := netip.IPv4Unspecified(), netip.MustParseAddr("127.0.0.1")
	checkSpecs(t, ParsePublish, rulePublish, []specCase{
		{"8080:80", Publish{any4, 8080, 80, 1, "tcp"}},
		{"127.0.0.1:8080:80/udp", Publish{local, 8080, 80, 1, "udp"}},
		{"127.0.0.1:8080-8082:80-82/TCP", Publish{local, 8080, 80, 3, "tcp"}},
		{"[::1]:8080:80", Publish{netip.IPv6Loopback(), 8080, 80, 1, "tcp"}},
		{"2:65535", Publish{any4, 2, 65535, 1, "tcp"}},
		{"", nil},
		{"80", nil},
		{":80", nil},
		{"80:", nil},
		{"0:80", nil},
		{"1:80", nil},
		{"8080:1", nil},
		{"65536:80", nil},
		{"8080:80/sctp", nil},
		{"8080:80/", nil},
		{"8080-8081:80", nil},
		{"8081-8080:81-80", nil},
		{"8080-8081-8082:80", nil},
		{"::1:8080:80", nil},
		{"[127.0.0.1]:8080:80", nil},
		{"[::1:8080:80", nil},
		{"[fe80::1%eth0]:8080:80", nil},
		{"localhost:8080:80", nil},
		{":8080:80", nil},
		{"x:80", nil},
	})
}

func TestParsePublishSocket(t *testing.T) {
	checkSpecs(t, ParsePublishSocket, rulePublish, []specCase{
		{"/a.sock:/b.sock", PublishSocket{"/a.sock", "/b.sock"}},
		{"a.sock:/b.sock", PublishSocket{"a.sock", "/b.sock"}},
		{"/a.sock", nil},
		{"", nil},
		{"/a:/b:/c", nil},
		{"/a:b", nil},
		{":/b", nil},
	})
}

func TestParseNetworkAttachment(t *testing.T) {
	checkSpecs(t, ParseNetworkAttachment, ruleNetwork, []specCase{
		{"n", Attachment{Network: "n", MTU: 1280}},
		{"none", Attachment{Network: "none", MTU: 1280}},
		{"n,mac=02:42:AC-11:00:02,mtu=1500", Attachment{Network: "n", MAC: "02:42:AC-11:00:02", MTU: 1500}},
		{"n,mtu=65535", Attachment{Network: "n", MTU: 65535}},
		{"", nil},
		{",mtu=1500", nil},
		{"n,", nil},
		{"n,mtu", nil},
		{"n,mtu=1279", nil},
		{"n,mtu=65536", nil},
		{"n,mtu=1500=", nil},
		{"n,ip=10.0.0.1", nil},
	})
	checkSpecs(t, ParseNetworkAttachment, ruleName, []specCase{{"n,mac=", nil}, {"n,mac=02:42", nil}})
}

func TestParseUlimit(t *testing.T) {
	checkSpecs(t, ParseUlimit, ruleUlimit, []specCase{
		{"nofile=1024", Ulimit{"nofile", 1024, 1024}},
		{"NOFILE=1024:2048", Ulimit{"nofile", 1024, 2048}},
		{"core=0:unlimited", Ulimit{"core", 0, math.MaxUint64}},
		{"stack=-1", Ulimit{"stack", math.MaxUint64, math.MaxUint64}},
		{"nofile=2048:1024", nil},
		{"nofile=unlimited:1", nil},
		{"nofile=-2", nil},
		{"nofile=", nil},
		{"nofile", nil},
		{"nofile=1:2:3", nil},
		{"nofile=:", nil},
		{"files=1", nil},
		{"", nil},
	})
}

func TestParseUser(t *testing.T) {
	for line, want := range map[string]User{
		"run IMG":                                 {Default: true},
		"run --user app:staff --uid 1 IMG":        {Name: "app:staff"},
		"run --uid 1000 --gid 1001 IMG":           {UID: 1000, GID: 1001},
		"run --uid 0 --gid 0 IMG":                 {},
		"run --uid 1000 IMG":                      {Name: "1000"},
		"run --gid 1001 IMG":                      {Default: true, Groups: []uint32{1001}},
		"exec --user '' --uid 5 --gid +6 -- ID x": {UID: 5, GID: 6},
	} {
		p, err := Parse(words(line))
		if err != nil {
			t.Fatal(err)
		}
		if got := ParseUser(p); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", line, got, want)
		}
	}
}
