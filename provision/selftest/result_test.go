package selftest

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

func proxySpec() Spec {
	s := Default()
	s.ProxyURL, s.AllowedHost, s.BottleID = "http://127.0.0.1:9099", "allowed.test", "otter"
	return s
}

// apple is a guest that is a machine with a network, seccomp left to others.
func apple() Spec {
	s := For(backend.GuestFacts{OwnKernel: true, Network: true, NoNewPrivs: true, Interfaces: []string{"lo", "eth0"}})
	s.ProxyURL, s.AllowedHost, s.BottleID, s.Canary = "http://192.168.64.3:9099", "allowed.test", "otter", "1.1.1.1"
	return s
}

// changed is a spec with one thing different.
func changed(s Spec, change func(*Spec)) Spec {
	change(&s)
	return s
}

func TestNames(t *testing.T) {
	tests := map[string]struct {
		spec  Spec
		count int
		has   []string
		lacks []string
	}{
		"everything": {proxySpec(), 28, []string{nameRoutes, nameUserNS, nameTrace, nameSeccomp}, []string{nameGateway, nameNetConfig, nameVsock}},
		"no policy":  {changed(proxySpec(), func(s *Spec) { s.AllowedHost = "" }), 27, nil, []string{nameAllowed}},
		"no proxy":   {Default(), 25, nil, []string{nameProxy}},
		"a canary alone is no network": {
			changed(proxySpec(), func(s *Spec) { s.Canary = "1.1.1.1" }), 28, []string{nameRoutes}, []string{nameGateway},
		},
		"network": {
			changed(proxySpec(), func(s *Spec) { s.Network = true }), 31,
			[]string{nameGateway, nameResolver, namePeers, nameIPv6, nameUserNS}, []string{nameRoutes, nameSidecar},
		},
		"machine with a network": {
			apple(), 31, []string{nameSidecar, nameNetConfig, nameVsock, nameNNP}, []string{nameRoutes, nameUserNS, nameTrace, nameSeccomp},
		},
		"machine with no walls of the kernel's": {
			changed(apple(), func(s *Spec) { s.Require = Require{} }), 30, nil, []string{nameNNP, nameSeccomp},
		},
		"machine with all": {changed(apple(), func(s *Spec) { s.Require.Seccomp = 2 }), 32, []string{nameSeccomp}, nil},
		"machine without a network": {
			changed(apple(), func(s *Spec) { s.Network, s.ProxyURL = false, "http://127.0.0.1:9099" }), 27,
			[]string{nameRoutes, nameNetConfig}, []string{nameGateway, nameSidecar},
		},
		"nested": {Spec{Nested: true}, 1, []string{nameNetConfig}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			names := Names(tt.spec)
			sorted := slices.Compact(slices.Sorted(slices.Values(names)))
			if len(names) != tt.count || len(sorted) != len(names) {
				t.Errorf("%d names, %d distinct: %q", len(names), len(sorted), names)
			}
			for _, name := range tt.has {
				if !slices.Contains(names, name) {
					t.Errorf("%s is missing", name)
				}
			}
			for _, name := range tt.lacks {
				if slices.Contains(names, name) {
					t.Errorf("%s is there", name)
				}
			}
		})
	}
}

func TestEveryNameHasAProbe(t *testing.T) {
	used := map[string]bool{}
	for _, spec := range []Spec{proxySpec(), apple(), changed(apple(), func(s *Spec) { s.Require.Seccomp = 2 })} {
		all := probes(spec)
		for _, name := range Names(spec) {
			used[name] = true
			if all[name] == nil {
				t.Errorf("%s has no probe", name)
			}
		}
	}
	for name := range probes(apple()) {
		if !used[name] {
			t.Errorf("the probe %s is never made", name)
		}
	}
}

func TestFor(t *testing.T) {
	linux := For(backend.GuestFacts{Interfaces: []string{"lo"}, Seccomp: true, NoNewPrivs: true, InitName: "bottle-mcp"})
	if !reflect.DeepEqual(linux, Default()) {
		t.Errorf("a guest without a network is probed with %+v, want %+v", linux, Default())
	}
	s := apple()
	if !s.Network || !s.OwnKernel || s.Require.Seccomp != 0 || !s.Require.NoNewPrivs || s.InitName != "" || s.Timeout != 2*time.Second || len(s.SecretPaths) != 0 {
		t.Errorf("a machine with a network is probed with %+v", s)
	}
}

func TestSidecarAddress(t *testing.T) {
	tests := map[string]struct {
		spec   Spec
		want   string
		beside bool
	}{
		"beside":     {apple(), "192.168.64.3:9099", true},
		"IPv6":       {changed(apple(), func(s *Spec) { s.ProxyURL = "http://[fd00::3]:9099" }), "[fd00::3]:9099", true},
		"relay":      {changed(apple(), func(s *Spec) { s.ProxyURL = "http://127.0.0.1:9099" }), "", false},
		"no network": {changed(apple(), func(s *Spec) { s.Network = false }), "", false},
		"no port":    {changed(apple(), func(s *Spec) { s.ProxyURL = "http://192.168.64.3" }), "", false},
		"name":       {changed(apple(), func(s *Spec) { s.ProxyURL = "http://sidecar:9099" }), "", false},
		"none":       {changed(apple(), func(s *Spec) { s.ProxyURL = "" }), "", false},
		"malformed":  {changed(apple(), func(s *Spec) { s.ProxyURL = "://" }), "", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			at, beside := tt.spec.sidecar()
			if beside != tt.beside || beside && at.String() != tt.want {
				t.Errorf("%s, %v", at, beside)
			}
		})
	}
}

func TestSpecSurvivesJSON(t *testing.T) {
	spec := proxySpec()
	spec.HostAddresses, spec.Canary, spec.OwnKernel = []string{"192.0.2.1"}, "1.1.1.1", true
	spec.Network, spec.SidecarPorts, spec.Nested = true, []int{9100}, true
	data, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	var back Spec
	if err := json.Unmarshal(data, &back); err != nil || !reflect.DeepEqual(spec, back) {
		t.Errorf("%v: %+v", err, back)
	}
}

func TestDecodeResult(t *testing.T) {
	spec := Default()
	full := func(change func(*Result)) string {
		var r Result
		for _, name := range Names(spec) {
			r.Checks = append(r.Checks, Check{Name: name, OK: true, Detail: "fine", Elapsed: time.Millisecond})
		}
		if change != nil {
			change(&r)
		}
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	tests := map[string]struct {
		data string
		ok   bool
	}{
		"whole":         {full(nil), true},
		"newline":       {full(nil) + "\n", true},
		"red":           {full(func(r *Result) { r.Checks[3].OK = false }), true},
		"missing check": {full(func(r *Result) { r.Checks = r.Checks[1:] }), false},
		"no checks":     {"{}", false},
		"twice":         {full(func(r *Result) { r.Checks[1] = r.Checks[0] }), false},
		"foreign check": {full(func(r *Result) { r.Checks = append(r.Checks, Check{Name: "x"}) }), false},
		"negative time": {full(func(r *Result) { r.Checks[0].Elapsed = -1 }), false},
		"unknown key":   {strings.Replace(full(nil), `{"checks"`, `{"green":true,"checks"`, 1), false},
		"two values":    {full(nil) + full(nil), false},
		"empty":         {"", false},
		"too large":     {full(nil) + strings.Repeat(" ", maxResult), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := DecodeResult([]byte(tt.data), spec)
			if (err == nil) != tt.ok || (err != nil && !errors.Is(err, ErrResult)) {
				t.Errorf("error %v, want ok %v", err, tt.ok)
			}
		})
	}
	r, err := DecodeResult([]byte(full(func(r *Result) {
		r.Checks[0].OK = false
		r.Checks[0].Detail = "\x1b]0;title\x07\u202e" + strings.Repeat("x", 1000)
	})), spec)
	if err != nil {
		t.Fatal(err)
	}
	if red := r.Failed(); len(red) != 1 || strings.ContainsAny(red[0].Detail, "\x1b\x07\u202e") || len(red[0].Detail) > maxDetail+20 {
		t.Errorf("red %+v", red)
	}
}

func FuzzDecodeResult(f *testing.F) {
	f.Add([]byte(`{"checks":[{"name":"dns","ok":true,"detail":"x","elapsed_ns":1}],"elapsed_ns":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := DecodeResult(data, Default())
		if err == nil && len(r.Checks) != len(Names(Default())) {
			t.Errorf("accepted %d checks", len(r.Checks))
		}
	})
}
