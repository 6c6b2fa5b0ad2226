package state

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCorrupt(t *testing.T) {
	good := func(s *Store) string {
		data, err := encode(Record{ID: "bad", Owner: s.Owner(), Phase: Ready})
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	tests := []struct {
		name string
		text func(*Store) string
		want string
	}{
		{"torn", func(s *Store) string { return good(s)[:40] }, "unexpected end"},
		{"empty", func(*Store) string { return "" }, "unexpected end"},
		{"not JSON", func(*Store) string { return "\x00\x01" }, "invalid character"},
		{"unknown key", func(s *Store) string { return strings.Replace(good(s), `"label"`, `"lable"`, 1) }, `unknown field "lable"`},
		{"newer format", func(s *Store) string { return strings.Replace(good(s), `"schema": 1`, `"schema": 2`, 1) }, "format 2"},
		{"other bottle", func(s *Store) string { return strings.Replace(good(s), `"bad"`, `"worse"`, 1) }, "another bottle"},
		{"other owner", func(s *Store) string { return strings.Replace(good(s), s.Owner(), strings.Repeat("0", 32), 1) }, "another owner"},
		{"odd phase", func(s *Store) string { return strings.Replace(good(s), `"ready"`, `"done"`, 1) }, `phase "done"`},
		{"huge", func(s *Store) string { return good(s) + strings.Repeat(" ", maxRecord) }, "larger than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, t.TempDir())
			_ = reserve(t, s, "good").Unlock()
			_ = reserve(t, s, "bad").Unlock()
			if err := os.WriteFile(filepath.Join(s.BottlesDir(), "bad", recordFile), []byte(tt.text(s)), 0o600); err != nil {
				t.Fatal(err)
			}
			entries, err := s.List()
			if err != nil || len(entries) != 2 {
				t.Fatalf("list is %+v, %v", entries, err)
			}
			var corrupt *CorruptError
			if !errors.As(entries[0].Err, &corrupt) || corrupt.ID != "bad" || !strings.Contains(corrupt.Error(), tt.want) {
				t.Errorf("error %v lacks %q", entries[0].Err, tt.want)
			}
			if entries[1].Err != nil || entries[1].ID != "good" {
				t.Errorf("the good one suffers: %+v", entries[1])
			}
			l, err := s.Lock(t.Context(), "bad")
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Remove(); err != nil {
				t.Error(err)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	data, err := encode(Record{ID: "x", Phase: Ready, Detail: []byte(`{}`)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(data))
	f.Add(`{"schema":1,"id":"x","phase":"ready","expires":"x"}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := decode(strings.NewReader(text), "x")
		if err != nil {
			return
		}
		if r.ID != "x" || r.Schema != schema || len(text) > maxRecord {
			t.Errorf("accepted %+v", r)
		}
		if _, err := encode(r); err != nil && len(text) < maxRecord/8 {
			t.Errorf("what was read cannot be written: %v", err)
		}
	})
}
