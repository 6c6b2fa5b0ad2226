package dlp

import (
	"slices"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

const cutSecret = "kn0wn-V4lue-that-is-cut"

func cutScanner(t *testing.T) *Scanner {
	t.Helper()
	s, err := New(Options{Known: []Known{{Name: "K", Value: secret.New(cutSecret)}}, Canaries: []Known{{Name: "C", Value: secret.New("c4nary-of-this-test")}}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Each text of a Stream is scanned as if it were alone.
func TestNext(t *testing.T) {
	s := cutScanner(t)
	texts := []string{"", cutSecret, "nothing", cutSecret[:10], cutSecret[10:], "x" + cutSecret + "y", "QQ", "a3" + "c4nary-of-this-test"}
	stream := s.Stream(StreamOptions{Field: Message})
	defer stream.Close()
	for _, text := range texts {
		got := slices.Clone(stream.Write([]byte(text)))
		got = append(got, stream.Next()...)
		if want := s.Scan(Message, []byte(text)); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
		if safe := stream.Safe(); safe != 0 {
			t.Errorf("after %q the next text is safe up to %d", text, safe)
		}
	}
	text := []byte(`{"type": "message", "text": "hello"}`)
	if n := testing.AllocsPerRun(100, func() {
		stream.Write(text)
		stream.Next()
	}); n > 0 {
		t.Errorf("%v allocations for a text", n)
	}
}

// However a secret is cut over texts, it is found with its last byte.
func TestJoin(t *testing.T) {
	s := cutScanner(t)
	for cut := 1; cut < len(cutSecret); cut++ {
		j := s.Join(StreamOptions{Field: Message})
		if found := j.Write([]byte("a " + cutSecret[:cut])); len(found) > 0 {
			t.Errorf("cut at %d: %v before the end", cut, found)
		}
		found := j.Write([]byte(cutSecret[cut:] + " b"))
		if len(found) == 0 || found[0].Name != "K" || found[0].Field != Message || found[0].Via == "" || Decide(found, OnMatchBlock) != Refuse {
			t.Errorf("cut at %d: %v", cut, found)
		}
	}
	j := s.Join(StreamOptions{Detectors: []string{}})
	j.Write([]byte(cutSecret[:5]))
	if found := j.Write([]byte(cutSecret[5:])); len(found) > 0 {
		t.Errorf("without detectors: %v", found)
	}
}
