package faults_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/evals/applecontainer/faults"
)

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	if set, err := faults.Read(filepath.Join(dir, "nothing")); err != nil || len(set) > 0 {
		t.Errorf("no directory is %v, %v", set, err)
	}
	write(t, dir, faults.SlowStart, " 250\n")
	write(t, dir, faults.RoutesOut, "")
	write(t, dir, ".hidden", "")
	write(t, dir, "next", "not read here")
	set, err := faults.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(set) != 2 || !set.On(faults.RoutesOut) || set.On(faults.Version) || set.Delay() != 250*time.Millisecond {
		t.Errorf("the set is %v", set)
	}
	if err := faults.Clear(dir, faults.RoutesOut); err != nil {
		t.Fatal(err)
	}
	if err := faults.Clear(dir, faults.RoutesOut); err != nil {
		t.Errorf("clearing twice: %v", err)
	}
	if set, err := faults.Read(dir); err != nil || set.On(faults.RoutesOut) {
		t.Errorf("cleared is %v, %v", set, err)
	}
}

func TestReadRefuses(t *testing.T) {
	for name, value := range map[string]string{
		"no-such-fault": "", faults.SlowStart: "long", faults.JSONShape: "2.0",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, name, value)
			if set, err := faults.Read(dir); err == nil {
				t.Errorf("taken for %v", set)
			}
		})
	}
	if (faults.Set{}).Delay() != 0 {
		t.Error("no fault delays")
	}
}

func TestTake(t *testing.T) {
	tests := map[string]struct {
		next  string
		calls []string
		want  []faults.Action
	}{
		"any":     {`{"action":"fail"}`, []string{"run", "run"}, []faults.Action{faults.Fail, ""}},
		"command": {`{"match":"network create","action":"hang"}`, []string{"network list", "network create"}, []faults.Action{"", faults.Hang}},
		"group":   {`{"match":"network","action":"kill"}`, []string{"network list"}, []faults.Action{faults.Kill}},
		"word":    {`{"match":"net","action":"kill"}`, []string{"network list"}, []faults.Action{""}},
		"skip":    {`{"match":"run","skip":2,"action":"garbage"}`, []string{"run", "exec", "run", "run", "run"}, []faults.Action{"", "", "", faults.Garbage, ""}},
		"none":    {"", []string{"run"}, []faults.Action{""}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if test.next != "" {
				write(t, dir, "next", test.next)
			}
			for i, command := range test.calls {
				got, err := faults.Take(dir, command)
				if err != nil || got != test.want[i] {
					t.Errorf("call %d, %s: %q, %v; want %q", i, command, got, err, test.want[i])
				}
			}
		})
	}
	for _, text := range []string{"", "{", `{"action":"sing"}`, `[]`} {
		dir := t.TempDir()
		write(t, dir, "next", text)
		if action, err := faults.Take(dir, "run"); err == nil {
			t.Errorf("%q is taken for %q", text, action)
		}
	}
}

func FuzzTake(f *testing.F) {
	f.Add([]byte(`{"match":"run","skip":1,"action":"fail"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		write(t, dir, "next", string(text))
		action, err := faults.Take(dir, "run")
		if err != nil && action != "" {
			t.Errorf("%q with %v", action, err)
		}
	})
}
