package schema

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	described "github.com/invopop/jsonschema"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
)

// update rewrites what is generated from the types:
//
//	go test ./provision/manifest/schema -update
var update = flag.Bool("update", false, "rewrite docs/manifest-*.schema.json and the tables of docs/manifests.md")

const docs = "../../../docs"

// current compares a generated file with what it should hold, or rewrites it.
func current(t *testing.T, path string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is stale: look at the difference, then run\n\tgo test ./provision/manifest/schema -update", path)
	}
}

func TestSchemasAreCurrent(t *testing.T) {
	for _, kind := range Kinds() {
		want, err := Of(kind)
		if err != nil {
			t.Fatal(err)
		}
		current(t, filepath.Join(docs, "manifest-"+kind+".schema.json"), want)
	}
	if _, err := Of("egress"); err == nil {
		t.Error("there is a schema of nothing")
	}
}

func compiled(t *testing.T, kind string) *jsonschema.Schema {
	t.Helper()
	raw, err := Of(kind)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// front reads a file's front matter as an editor would. It is nil when there is
// none.
func front(t *testing.T, file string) any {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.SplitN(string(data), "---\n", 3)
	if len(parts) < 3 {
		return nil
	}
	var value any
	if yaml.Load([]byte(parts[1]), &value) != nil || value == nil {
		return nil
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return nil // keys that JSON has not
	}
	out, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestSchemaAcceptsGoodFiles holds the schema against the loader's own corpus.
func TestSchemaAcceptsGoodFiles(t *testing.T) {
	seen := 0
	for _, kind := range Kinds() {
		s := compiled(t, kind)
		files, err := filepath.Glob("../testdata/good/" + kind + "s/*.md")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			value := front(t, file)
			if value == nil {
				continue
			}
			seen++
			if err := s.Validate(value); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
	if seen < 8 {
		t.Errorf("only %d files were seen", seen)
	}
}

// shapes are the problems that a schema can see as well.
var shapes = regexp.MustCompile(`the key is not known|it must be .*, but it is|is not accepted; |this key was removed|has more than|needs both|is not a name|a route needs a host|decimal number`)

// TestSchemaRefusesBrokenFiles has an editor underline what the loader refuses,
// where a schema can see it.
func TestSchemaRefusesBrokenFiles(t *testing.T) {
	seen := 0
	for dir, kind := range map[string]string{"broken": "bottle", "broken-agents": "agent"} {
		s := compiled(t, kind)
		files, err := filepath.Glob("../testdata/" + dir + "/*.md")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			golden, err := os.ReadFile(strings.TrimSuffix(file, ".md") + ".err")
			value := front(t, file)
			own := bytes.HasPrefix(golden, []byte(kind+"s/"+filepath.Base(file)+":"))
			if err != nil || value == nil || !own || !shapes.Match(golden) || bytes.Contains(golden, []byte("cannot be used")) {
				continue
			}
			seen++
			if s.Validate(value) == nil {
				t.Errorf("%s is valid, but the loader says %s", file, golden)
			}
		}
	}
	if seen < 80 {
		t.Errorf("only %d files were seen", seen)
	}
}

// TestKeysAreTheLoaders puts a key that nobody knows into every block, and
// compares what the loader would take there with the schema.
func TestKeysAreTheLoaders(t *testing.T) {
	for _, kind := range Kinds() {
		blocks := 0
		walk(reflected(kind), nil, func(path []string, s *described.Schema) {
			blocks++
			allowed := allowedBy(t, kind, path)
			var own []string
			for pair := s.Properties.Oldest(); pair != nil; pair = pair.Next() {
				own = append(own, pair.Key)
			}
			slices.Sort(own)
			if !slices.Equal(own, allowed) {
				t.Errorf("%s %v: the schema knows %q, the loader %q", kind, path, own, allowed)
			}
		})
		if least := map[string]int{"bottle": 15, "agent": 3}[kind]; blocks < least {
			t.Errorf("only %d blocks of a %s", blocks, kind)
		}
	}
}

// walk visits every object that has keys of its own. A path's steps are keys,
// "[]" for an item and "*" for a name of the author's.
func walk(s *described.Schema, path []string, visit func([]string, *described.Schema)) {
	if s == nil {
		return
	}
	step := func(name string) []string { return append(slices.Clone(path), name) }
	walk(s.Items, step("[]"), visit)
	if s.Type == "object" && s.AdditionalProperties != nil {
		walk(s.AdditionalProperties, step("*"), visit)
	}
	if s.Properties == nil || s.Properties.Len() == 0 {
		return
	}
	visit(path, s)
	for pair := s.Properties.Oldest(); pair != nil; pair = pair.Next() {
		walk(pair.Value, step(pair.Key), visit)
	}
}

var allowedHere = regexp.MustCompile(`zzzzzzzz: the key is not known; allowed here: (.*)`)

// allowedBy asks the loader.
func allowedBy(t *testing.T, kind string, path []string) []string {
	t.Helper()
	var value any = map[string]any{"zzzzzzzz": 1}
	for _, step := range slices.Backward(path) {
		switch step {
		case "[]":
			value = []any{value}
		case "*":
			value = map[string]any{"name": value}
		default:
			value = map[string]any{step: value}
		}
	}
	text, err := json.Marshal(value) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	l := manifest.Loader{Home: t.TempDir()}
	dir := filepath.Join(l.Home, kind+"s")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "x.md"), []byte("---\n"+string(text)+"\n---\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	checked := l.Check("", kind+"s/x")
	if len(checked) != 1 || checked[0].Err == nil {
		t.Fatalf("%v: the loader takes anything: %+v", path, checked)
	}
	m := allowedHere.FindStringSubmatch(checked[0].Err.Error())
	if m == nil {
		t.Fatalf("%v: the loader does not look there: %v", path, checked[0].Err)
	}
	return strings.Split(m[1], ", ")
}
