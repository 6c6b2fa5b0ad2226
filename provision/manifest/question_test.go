package manifest

import (
	"testing"
)

func TestBareQuestions(t *testing.T) {
	for name, tt := range map[string]struct {
		env  string
		want EnvValue // of NAME
	}{
		"quoted":           {`  NAME: "? which"`, EnvValue{Ask: true, Question: "which"}},
		"bare":             {"  NAME: ?", EnvValue{Ask: true}},
		"bare with words":  {"  NAME: ? which one: 'this' or \"that\"", EnvValue{Ask: true, Question: `which one: 'this' or "that"`}},
		"without a blank":  {"  NAME: ?which", EnvValue{Ask: true, Question: "which"}},
		"a comment":        {"  NAME: ? which   # or none", EnvValue{Ask: true, Question: "which"}},
		"only a comment":   {"  NAME: ?   # ask", EnvValue{Ask: true}},
		"a number sign":    {"  NAME: ? issue#1", EnvValue{Ask: true, Question: "issue#1"}},
		"windows' lines":   {"  NAME: ? which\r", EnvValue{Ask: true, Question: "which"}},
		"among others":     {"  OTHER: ?\n  NAME: ? which\n  MORE: text", EnvValue{Ask: true, Question: "which"}},
		"not in a literal": {"  NAME: |-\n    A: ? b", EnvValue{Literal: "A: ? b"}},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := parseBottle("b", document{file: "b.md", front: []byte("env:\n" + tt.env + "\n")})
			if err != nil {
				t.Fatal(err)
			}
			if got := b.Env["NAME"]; got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}

// TestBareQuestionElsewhere shows that a file which is malformed anyway keeps
// its own error, with the line it is on.
func TestBareQuestionElsewhere(t *testing.T) {
	_, err := parseBottle("b", document{file: "b.md", front: []byte("env:\n  NAME: ?\n  BAD: [\n")})
	if err == nil {
		t.Fatal("it was read")
	}
	b, err := parseBottle("b", document{file: "b.md", front: []byte("env:\n  NAME: ? x\nsupervise: 3\n")})
	if want := "b.md:4: supervise: "; err == nil || len(err.Error()) < len(want) || err.Error()[:len(want)] != want {
		t.Errorf("%v, want it on line 4", err)
	}
	if origin := b.Origins["env.NAME"]; origin.Line != 3 {
		t.Errorf("the question is on %s, want line 3", origin)
	}
}
