package selftest

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func proxySpec() Spec {
	s := Default()
	s.ProxyURL, s.AllowedHost, s.BottleID = "http://127.0.0.1:9099", "allowed.test", "otter"
	return s
}

func TestNames(t *testing.T) {
	canary := proxySpec()
	canary.Canary = "1.1.1.1"
	noneAllowed := proxySpec()
	noneAllowed.AllowedHost = ""
	tests := map[string]struct {
		spec  Spec
		count int
		lacks string
	}{
		"everything": {proxySpec(), 28, ""},
		"no policy":  {noneAllowed, 27, nameAllowed},
		"no proxy":   {Default(), 25, nameProxy},
		"canary":     {canary, 27, nameRoutes},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			names := Names(tt.spec)
			sorted := slices.Compact(slices.Sorted(slices.Values(names)))
			if len(names) != tt.count || len(sorted) != len(names) || slices.Contains(names, tt.lacks) {
				t.Errorf("%d names, %d distinct: %q", len(names), len(sorted), names)
			}
		})
	}
}

func TestEveryNameHasAProbe(t *testing.T) {
	all := probes(proxySpec())
	for _, name := range Names(proxySpec()) {
		if all[name] == nil {
			t.Errorf("%s has no probe", name)
		}
	}
	if len(all) != len(Names(proxySpec())) {
		t.Errorf("%d probes for %d names", len(all), len(Names(proxySpec())))
	}
}

func TestSpecSurvivesJSON(t *testing.T) {
	spec := proxySpec()
	spec.HostAddresses, spec.Canary, spec.OwnKernel = []string{"192.0.2.1"}, "1.1.1.1", true
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
