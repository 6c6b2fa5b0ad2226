package engine

import (
	"archive/tar"
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestFreeSubnet(t *testing.T) {
	prefix := netip.MustParsePrefix
	used := []netip.Prefix{prefix("192.168.64.0/24"), prefix("192.168.66.0/23")}
	if got, err := freeSubnet(used, netip.Prefix{}); err != nil || got != prefix("192.168.65.0/24") {
		t.Errorf("the first free one is %v, %v", got, err)
	}
	if got, err := freeSubnet(used, prefix("192.168.65.0/24")); err != nil || got != prefix("192.168.68.0/24") {
		t.Errorf("another one is %v, %v", got, err)
	}
	if got, err := freeSubnet([]netip.Prefix{prefix("192.168.0.0/16")}, netip.Prefix{}); err == nil {
		t.Errorf("all are used, but %v", got)
	}
	if six := subnet6(prefix("192.168.65.0/24")); six.String() != "fd5c:1d2e:3f40:4100::/64" || !six.Contains(address6(prefix("192.168.65.0/24"), netip.MustParseAddr("192.168.65.7"))) {
		t.Errorf("the IPv6 subnet is %s", six)
	}
}

func TestFreeAddress(t *testing.T) {
	subnet, addr := netip.MustParsePrefix("10.0.0.0/30"), netip.MustParseAddr
	if gatewayOf(subnet) != addr("10.0.0.1") {
		t.Errorf("the gateway is %s", gatewayOf(subnet))
	}
	if got, err := freeAddress(subnet, netip.Addr{}, nil); err != nil || got != addr("10.0.0.2") {
		t.Errorf("the first is %v, %v", got, err)
	}
	// Behind the last address stands the broadcast address: it begins anew.
	if got, err := freeAddress(subnet, addr("10.0.0.2"), nil); err != nil || got != addr("10.0.0.2") {
		t.Errorf("the next is %v, %v", got, err)
	}
	if got, err := freeAddress(subnet, netip.Addr{}, map[netip.Addr]bool{addr("10.0.0.2"): true}); err == nil {
		t.Errorf("none is free, but %v", got)
	}
	wide := netip.MustParsePrefix("10.0.0.0/24")
	if got, err := freeAddress(wide, addr("10.0.0.7"), map[netip.Addr]bool{addr("10.0.0.8"): true}); err != nil || got != addr("10.0.0.9") {
		t.Errorf("behind .7, with .8 used, comes %v, %v", got, err)
	}
}

func TestFirewall(t *testing.T) {
	rules := firewallRules("9.9.9.9")
	refused := func(chain string, kind int) bool {
		return strings.Contains(rules, "-A "+chain+" -i "+bridges(kind)+" -j REJECT")
	}
	resolves := func(kind int) bool {
		return strings.Contains(rules, "PREROUTING -i "+bridges(kind)+" -p udp --dport 53")
	}
	if refused("INPUT", natKind) || refused("FORWARD", natKind) || !resolves(natKind) {
		t.Error("a network with a way out has none")
	}
	for leaks := range leakAll + 1 {
		kind := internalKind(leaks)
		if refused("FORWARD", kind) != (leaks&leakRoutes == 0) || refused("INPUT", kind) != (leaks&leakHost == 0) || resolves(kind) != (leaks&leakResolver != 0) {
			t.Errorf("the leaks %b are not those of the rules", leaks)
		}
		if closed := strings.Contains(firewallRules6(), "INPUT -i "+bridges(kind)+" -j REJECT"); closed != (leaks&leakHost == 0) {
			t.Errorf("the leaks %b are not those of the rules for IPv6", leaks)
		}
	}
	if strings.Contains(firewallRules(""), "DNAT --to") {
		t.Error("without a resolver something goes to one")
	}
	// The kernel cuts names of interfaces.
	if name := bridgeName(internalKind(leakAll), strings.Repeat("n", 63)); len(name) > 15 || !strings.HasPrefix(name, "ap8") {
		t.Errorf("the bridge is called %s", name)
	}
}

func TestCapabilitySet(t *testing.T) {
	every := prefixed(capabilities)
	for name, test := range map[string]struct {
		add, drop []string
		want      []string
	}{
		"default":             {nil, nil, prefixed(defaultCapabilities)},
		"drop all":            {nil, []string{"ALL"}, nil},
		"drop all, add all":   {[]string{"ALL"}, []string{"ALL"}, every},
		"drop all, add one":   {[]string{"CAP_KILL"}, []string{"ALL"}, []string{"CAP_KILL"}},
		"a drop comes last":   {[]string{"CAP_KILL"}, []string{"ALL", "CAP_KILL"}, nil},
		"added twice is once": {[]string{"CAP_KILL", "CAP_KILL"}, []string{"ALL"}, []string{"CAP_KILL"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := capabilitySet(test.add, test.drop, every)
			slices.Sort(got)
			want := slices.Sorted(slices.Values(test.want))
			if !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		})
	}
	if got := capabilitySet([]string{"ALL"}, nil, []string{"CAP_KILL"}); !slices.Equal(got, []string{"CAP_KILL"}) {
		t.Errorf("a host that has one gives %v", got)
	}
	if got := capabilitiesOf(1<<5 | 1); !slices.Equal(got, []string{"CAP_CHOWN", "CAP_KILL"}) {
		t.Errorf("the mask is %v", got)
	}
	for word, want := range map[string]string{"kill": "CAP_KILL", "cap_Kill": "CAP_KILL", "all": "ALL", "": "", "KILLL": ""} {
		if got, err := CapabilityName(word); got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v", word, got, err)
		}
	}
}

const (
	passwd    = "root:x:0:0:root:/root:/bin/sh\nbroken\napp:x:1000:1001::/home/app:/bin/sh\n"
	groupFile = "root:x:0:\nstaff:x:20:app,other\nbad:x:none:app\n"
)

func TestLookup(t *testing.T) {
	for who, want := range map[string]struct {
		uid, gid uint32
		more     []uint32
	}{
		"root": {0, 0, nil}, "app": {1000, 1001, []uint32{20}}, "1000": {1000, 1001, []uint32{20}}, "7": {7, 0, nil},
		"app:staff": {1000, 20, nil}, "7:9": {7, 9, nil},
	} {
		uid, gid, more, err := lookup(who, passwd, groupFile)
		if err != nil || uid != want.uid || gid != want.gid || !slices.Equal(more, want.more) {
			t.Errorf("%s is %d:%d %v, %v", who, uid, gid, more, err)
		}
	}
	for _, who := range []string{"nobody", "app:nobody", "-1", "99999999999"} {
		if uid, gid, _, err := lookup(who, passwd, groupFile); err == nil {
			t.Errorf("%s is %d:%d", who, uid, gid)
		}
	}
}

func FuzzLookup(f *testing.F) {
	f.Add("app:staff", passwd, groupFile)
	f.Fuzz(func(t *testing.T, who, users, groups string) {
		if _, _, more, err := lookup(who, users, groups); err != nil && more != nil {
			t.Error("groups with an error")
		}
	})
}

func TestLogText(t *testing.T) {
	log := "2026-11-24T20:45:26.4+00:00 stdout F one\n2026-11-24T20:45:26.4+00:00 stdout P two \n2026-11-24T20:45:26.4+00:00 stderr F three\n" +
		"2026-11-24T20:45:26.4+00:00 stdout F \nbroken\n2026-11-24T20:45:26.4+00:00 stdout F four\n"
	text := string(unframe([]byte(log)))
	if text != "one\ntwo three\n\nfour\n" {
		t.Errorf("the text is %q", text)
	}
	if got := Tail(text, 2); got != "two three\nfour\n" {
		t.Errorf("the last two are %q", got)
	}
	if got := Tail(text, 9); strings.Count(got, "\n") != 3 {
		t.Errorf("all are %q", got)
	}
}

func FuzzUnframe(f *testing.F) {
	f.Add([]byte("t stdout F one\n"))
	f.Fuzz(func(t *testing.T, log []byte) {
		if text := unframe(log); len(text) > len(log) {
			t.Errorf("%d bytes of %d", len(text), len(log))
		}
	})
}

func TestNormalize(t *testing.T) {
	for in, want := range map[string]string{
		"a": "docker.io/library/a:latest", "a:1": "docker.io/library/a:1", "o/a": "docker.io/o/a:latest",
		"h.example/a": "h.example/a:latest", "h:5/a:2": "h:5/a:2", "localhost/a": "localhost/a:latest",
		"a@sha256:0": "docker.io/library/a@sha256:0",
	} {
		if got := Normalize(in); got != want {
			t.Errorf("%s is %s, not %s", in, got, want)
		}
	}
}

func archive(t *testing.T, headers ...tar.Header) *bytes.Buffer {
	t.Helper()
	var out bytes.Buffer
	writer := tar.NewWriter(&out)
	for _, h := range headers {
		h.Size = int64(len(h.Linkname))
		if h.Typeflag != tar.TypeReg {
			h.Size = 0
		}
		text := h.Linkname
		if h.Typeflag == tar.TypeReg {
			h.Linkname = ""
		}
		if err := writer.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := writer.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return &out
}

// file is a member whose text is in Linkname.
func file(name, text string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Linkname: text, Mode: 0o600}
}

func TestExtract(t *testing.T) {
	good := file("blobs/sha256/x", "text")
	bad := map[string]tar.Header{
		"a link":   {Typeflag: tar.TypeSymlink, Name: "link", Linkname: "/etc/passwd"},
		"outside":  file("../outside", "x"),
		"absolute": file("/etc/outside", "x"),
		"a device": {Typeflag: tar.TypeChar, Name: "dev"},
	}
	for name, header := range bad {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := extract(archive(t, good, header), dir, false); err == nil || !strings.Contains(err.Error(), header.Name) {
				t.Errorf("not refused: %v", err)
			}
			if err := extract(archive(t, good, header), dir, true); err != nil {
				t.Errorf("forced: %v", err)
			}
			if text, err := os.ReadFile(filepath.Join(dir, good.Name)); err != nil || string(text) != "text" {
				t.Errorf("the good member is %q, %v", text, err)
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
				t.Errorf("there are %v, %v", entries, err)
			}
		})
	}
	if err := extract(strings.NewReader("no archive at all"), t.TempDir(), true); err == nil {
		t.Error("what is no archive is extracted")
	}
}

func TestLayoutDocuments(t *testing.T) {
	const hash = "ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12"
	fill := func(members ...tar.Header) layout {
		dir := t.TempDir()
		if err := extract(archive(t, members...), dir, false); err != nil {
			t.Fatal(err)
		}
		return layout{dir}
	}
	if _, err := fill(file("manifest.json", "[]")).open(); !errors.Is(err, errNoLayout) {
		t.Errorf("an archive of another kind: %v", err)
	}
	mark := file("oci-layout", "{}")
	for _, index := range []string{"", "{", `{"manifests":[]}`} {
		if all, err := fill(mark, file("index.json", index)).open(); err == nil {
			t.Errorf("the index %q is %v", index, all)
		}
	}
	l := fill(mark,
		file("index.json", `{"manifests":[{"digest":"sha256:`+hash+`","annotations":{"org.opencontainers.image.ref.name":"a:1"}}]}`),
		file("blobs/sha256/"+hash, `{"config":{"digest":"sha256:`+hash+`","size":5},"layers":[{"size":7}],"architecture":"arm64","os":"linux"}`))
	all, err := l.open()
	if err != nil {
		t.Fatal(err)
	}
	if name, ok := all[0].reference(); name != "a:1" || !ok {
		t.Errorf("the name is %q", name)
	}
	v, err := l.variant(all[0])
	if err != nil || v.Platform.Architecture != "arm64" || v.Size != 12 {
		t.Errorf("the variant is %+v, %v", v, err)
	}
	for _, digest := range []string{"", "sha256:../../etc/passwd", "md5:" + hash, "sha256:" + strings.ToUpper(hash)} {
		if path, err := blobName(digest); err == nil {
			t.Errorf("%q is at %s", digest, path)
		}
	}
}

func TestParseSignal(t *testing.T) {
	for text, want := range map[string]int{"": 0, "TERM": 15, "sigkill": 9, "9": 9, "SIGUSR1": 10} {
		if got, err := ParseSignal(text); err != nil || int(got) != want {
			t.Errorf("%q is %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"NOPE", "0", "-1", "65"} {
		if got, err := ParseSignal(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}

func TestError(t *testing.T) {
	if got := because(errors.New("why"), "cannot %s", "do").Error(); got != `internalError: "cannot do" (cause: "why")` {
		t.Errorf("it reads %s", got)
	}
	if got := asError(errors.New("plain")); got.Code != "unknown" || got.Message != "plain" {
		t.Errorf("a plain error is %v", got)
	}
}
