package provision

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

const typedSecret = "typed-9d3f-by-the-operator"

func TestQuestions(t *testing.T) {
	b, _ := fullBed(t)
	b.bottleFile("asks", "env:\n  TICKET: ? which ticket\n  PLAIN: text\n  PIN: ?")
	req := LaunchRequest{Principal: operator, Bottles: []string{"asks"}, ID: "asked", Asks: true}

	plan := b.plan(req)
	var asked []string
	for _, q := range plan.Questions {
		if !strings.HasSuffix(q.File, "/asks.md") {
			t.Errorf("%s is asked for by %q", q.Name, q.File)
		}
		asked = append(asked, fmt.Sprintf("%s %q line %d", q.Name, q.Text, q.Line))
	}
	if want := []string{`PIN "" line 5`, `TICKET "which ticket" line 3`}; !slices.Equal(asked, want) {
		t.Fatalf("asked for %q, want %q", asked, want)
	}
	if i := slices.Index(plan.Variables, VariableSummary{Name: "PIN", From: "asked"}); i < 0 {
		t.Errorf("variables %+v", plan.Variables)
	}
	_, err := b.Launch(t.Context(), plan, nil)
	wantInvalid(t, err, "env PIN of the manifest", "not answered")
	b.nothingLeft()

	req.Answers = map[string]secret.Value{"PIN": secret.New(typedSecret), "TICKET": secret.New("T-1")}
	answered := b.plan(req)
	if len(answered.Questions) > 0 || answered.Digest != plan.Digest {
		t.Errorf("after the answers: %+v, the same digest: %v", answered.Questions, answered.Digest == plan.Digest)
	}
	if text := fmt.Sprintf("%+v %#v %s", answered, answered, jsonLine(t, answered)); strings.Contains(text, typedSecret) {
		t.Error("the plan shows an answer")
	}
	if _, err := b.Launch(t.Context(), answered, nil); err != nil {
		t.Fatal(err)
	}
	env := b.fake.bottles["asked"].agent.Env
	for _, want := range []string{"PIN=" + typedSecret, "TICKET=T-1", "PLAIN=text"} {
		if !slices.Contains(env, want) {
			t.Errorf("the guest's environment lacks %s", want)
		}
	}
	if found := grep(t, b.store.Path(), typedSecret); len(found) > 0 {
		t.Errorf("an answer is in %q", found)
	}
}

func TestAnswerProblems(t *testing.T) {
	for name, tt := range map[string]struct {
		req         LaunchRequest
		field, want string
	}{
		"nobody asked":    {LaunchRequest{Answers: map[string]secret.Value{"OTHER": secret.New("x")}, Asks: true}, "env OTHER", "no manifest asks"},
		"not a question":  {LaunchRequest{Answers: map[string]secret.Value{"PLAIN": secret.New("x")}, Asks: true}, "env PLAIN", "no manifest asks"},
		"NUL":             {LaunchRequest{Answers: map[string]secret.Value{"PIN": secret.New(typedSecret + "\x00")}}, "env PIN of the manifest", "NUL"},
		"twice":           {LaunchRequest{Answers: map[string]secret.Value{"PIN": secret.New("x")}, Env: map[string]string{"PIN": "y"}}, "env PIN of the manifest", "twice"},
		"nobody to ask":   {LaunchRequest{}, "env PIN of the manifest", "/asks.md:4 asks for its value: put PIN into the launch's env if it is no secret; else the operator starts the bottle with 'bottle-mcp run'"},
		"wiring's answer": {LaunchRequest{Answers: map[string]secret.Value{"HTTP_PROXY": secret.New("x")}, Asks: true}, "env HTTP_PROXY", "no manifest asks"},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := fullBed(t)
			b.bottleFile("asks", "env:\n  PLAIN: text\n  PIN: ?")
			tt.req.Principal, tt.req.Bottles = operator, []string{"asks"}
			_, err := b.Plan(t.Context(), tt.req)
			wantInvalid(t, err, tt.field, tt.want)
			if strings.Contains(err.Error(), typedSecret) {
				t.Errorf("the error shows the answer: %v", err)
			}
		})
	}
}
