package server

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const exampleSchema = `{"type":"object","additionalProperties":false,"required":["id"],
 "dependentRequired":{"stdin":["job"]},
 "properties":{
  "id":{"type":"string","pattern":"^[a-z][a-z0-9-]*$","minLength":2,"maxLength":8},
  "timeout_s":{"type":"integer","minimum":1,"maximum":3600},
  "ratio":{"type":"number","exclusiveMinimum":0,"exclusiveMaximum":1.5},
  "even":{"type":"integer","multipleOf":2},
  "op":{"type":"string","enum":["start","poll","stop"]},
  "argv":{"type":"array","items":{"type":"string","maxLength":3},"minItems":1,"maxItems":3,"uniqueItems":true},
  "env":{"type":"object","additionalProperties":{"type":"string"},"maxProperties":2,"propertyNames":{"pattern":"^[A-Z]+$"}},
  "limits":{"type":"object","additionalProperties":false,"properties":{"cpus":{"type":"number"},"pids":{"type":"integer"}}},
  "command":{"anyOf":[{"type":"string","minLength":1},{"type":"array","items":{"type":"string"}}]},
  "when":{"type":"string","format":"date-time"},
  "kind":{"const":"x"},
  "stdin":{"type":"string"},"job":{"type":"string"},
  "flag":{"type":["boolean","null"]},
  "never":false
 }}`

func TestArgumentProblems(t *testing.T) {
	schema, err := compileSchema(json.RawMessage(exampleSchema), true)
	if err != nil {
		t.Fatal(err)
	}
	const allowed = "; allowed: argv, command, env, even, flag, id, job, kind, limits, never, op, ratio, stdin, timeout_s, when"
	for _, c := range []struct {
		arguments string
		want      []string
	}{
		{`{"id":"ab"}`, nil},
		{`{"id":"ab","timeout_s":5,"argv":["a"],"env":{"A":"b"},"command":["x"],"flag":null}`, nil},
		{`{}`, []string{`missing argument "id" (a string)`}},
		{``, []string{`missing argument "id" (a string)`}},
		{`null`, []string{`missing argument "id" (a string)`}},
		{`{"id":"ab","bogus":1}`, []string{`unknown argument "bogus"` + allowed}},
		{`{"id":"ab","b1":1,"b2":1}`, []string{`unknown argument "b1"` + allowed, `unknown argument "b2"` + allowed}},
		{`{"id":"ab","limits":{"cpu":1}}`, []string{`unknown argument "limits.cpu"; allowed: cpus, pids`}},
		{`{"id":"ab","timeout_s":"5"}`, []string{`argument "timeout_s" must be an integer, not a string`}},
		{`{"id":"ab","timeout_s":5.5}`, []string{`argument "timeout_s" must be an integer, not a number`}},
		{`{"id":"ab","timeout_s":0}`, []string{`argument "timeout_s" must be at least 1, not 0`}},
		{`{"id":"ab","timeout_s":9999}`, []string{`argument "timeout_s" must be at most 3600, not 9999`}},
		{`{"id":"ab","ratio":0}`, []string{`argument "ratio" must be more than 0, not 0`}},
		{`{"id":"ab","ratio":1.5}`, []string{`argument "ratio" must be less than 1.5, not 1.5`}},
		{`{"id":"ab","even":3}`, []string{`argument "even" must be a multiple of 2, not 3`}},
		{`{"id":"ab","op":"run"}`, []string{`argument "op" must be one of "start", "poll", "stop", not "run"`}},
		{`{"id":"A!"}`, []string{`argument "id" must match the pattern ^[a-z][a-z0-9-]*$, not "A!"`}},
		{`{"id":"a"}`, []string{`argument "id" must be at least 2 characters long, not 1`}},
		{`{"id":"abcdefghi"}`, []string{`argument "id" must be at most 8 characters long, not 9`}},
		{`{"id":"ab","argv":[]}`, []string{`argument "argv" must hold at least 1 items, not 0`}},
		{`{"id":"ab","argv":["a","b","c","d"]}`, []string{`argument "argv" must hold at most 3 items, not 4`}},
		{`{"id":"ab","argv":["a","a"]}`, []string{`argument "argv" must not repeat items: 0 and 1 are equal`}},
		{`{"id":"ab","argv":["a",2]}`, []string{`argument "argv[1]" must be a string, not a number`}},
		{`{"id":"ab","argv":["long text"]}`, []string{`argument "argv[0]" must be at most 3 characters long, not 9`}},
		{`{"id":"ab","env":{"A":1}}`, []string{`argument "env.A" must be a string, not a number`}},
		{`{"id":"ab","env":{"A":"","B":"","C":""}}`, []string{`argument "env" must hold at most 2 names, not 3`}},
		{`{"id":"ab","command":5}`, []string{`argument "command" must be a string, not a number, or argument "command" must be an array, not a number`}},
		{`{"id":"ab","command":""}`, []string{`argument "command" must be at least 1 characters long, not 0`}},
		{`{"id":"ab","command":["a",1]}`, []string{`argument "command[1]" must be a string, not a number`}},
		{`{"id":"ab","when":"now"}`, []string{`argument "when" must be a valid date-time, not "now"`}},
		{`{"id":"ab","kind":"y"}`, []string{`argument "kind" must be "x", not "y"`}},
		{`{"id":"ab","stdin":"x"}`, []string{`the arguments must also hold job when "stdin" is given`}},
		{`{"id":"ab","flag":1}`, []string{`argument "flag" must be null or true or false, not a number`}},
		{`{"id":"ab","never":1}`, []string{`argument "never" is not allowed here`}},
		{`[]`, []string{`the arguments must be an object, not an array`}},
		{`"x"`, []string{`the arguments must be an object, not a string`}},
		{`{"timeout_s":"5","bogus":1,"op":"run"}`, []string{
			`argument "op" must be one of "start", "poll", "stop", not "run"`,
			`argument "timeout_s" must be an integer, not a string`,
			`missing argument "id" (a string)`,
			`unknown argument "bogus"` + allowed,
		}},
	} {
		t.Run(c.arguments, func(t *testing.T) {
			_, value, err := decodeArguments(json.RawMessage(c.arguments))
			if err != nil {
				t.Fatal(err)
			}
			if got := argumentProblems(schema, value); !slices.Equal(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestProblemsAreBounded(t *testing.T) {
	schema, err := compileSchema(schemaOf(`{"type":"array","items":{"type":"string"}}`), true)
	if err != nil {
		t.Fatal(err)
	}
	var many []any
	for i := range 1000 {
		many = append(many, json.Number(fmt.Sprint(i)))
	}
	got := argumentProblems(schema, map[string]any{"a": many})
	if len(got) != maxProblems+1 || got[maxProblems] != "and 980 more problems" {
		t.Errorf("%d problems, the last %q", len(got), got[len(got)-1])
	}
	long := argumentProblems(schema, map[string]any{"a": []any{}, strings.Repeat("é", 1000): nil})
	if len(long) != 1 || len(long[0]) > 200 {
		t.Errorf("a long name: %q", long)
	}
}

func TestArgumentsThatCostTooMuchAreRefused(t *testing.T) {
	for _, text := range []string{"1e1000000", "1E-999999999", "[[1e99999999999999999999]]", strings.Repeat("9", 100)} {
		begin := time.Now()
		if _, _, err := decodeArguments(json.RawMessage(`{"a":` + text + `}`)); err == nil {
			t.Errorf("%.20s is taken", text)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("%.20s took %s", text, took)
		}
	}
	if _, _, err := decodeArguments(json.RawMessage("[" + strings.Repeat("1,", maxValues) + "1]")); err == nil {
		t.Error("too many values are taken")
	}
	if _, _, err := decodeArguments(json.RawMessage(`{"a":[1e300,-2.5e-300,9007199254740993]}`)); err != nil {
		t.Error(err)
	}
}

func FuzzArguments(f *testing.F) {
	schema, err := compileSchema(json.RawMessage(exampleSchema), true)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{`{}`, `{"id":"ab","argv":["a",1],"env":{"A":1}}`, `{"command":{"":[{}]}}`, `[1e400]`, `{"id":"\ud800"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, value, err := decodeArguments(raw)
		if err != nil {
			return
		}
		problems := argumentProblems(schema, value)
		if (schema.Validate(value) == nil) != (len(problems) == 0) {
			t.Errorf("problems %q do not agree with the schema", problems)
		}
		for _, p := range problems {
			if p == "" || len(p) > 4000 {
				t.Errorf("problem %q", p)
			}
		}
	})
}
