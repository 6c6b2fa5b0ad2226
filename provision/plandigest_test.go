package provision

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// notDigested are the fields of a plan that the digest leaves out, and why.
func notDigested() map[string]string {
	return map[string]string{
		"ID":               "a digest is compared between plans of one id",
		"Digest":           "it is the result",
		"BackendSource":    "why it is this engine changes nothing of the bottle",
		"BackendDetail":    "the engine's version is this host's, not the launch's",
		"Workspace.Survey": "what a directory holds changes; its place is what was asked for",
		"Routes":           "words for resolved.routes",
		"Policy":           "words for resolved.routes",
		"EnvNames":         "the names of resolved.env",
		"Variables":        "words for resolved.env",
		"Questions":        "words for resolved.env",
		"Missing":          "this host's, and in the report",
		"Provider":         "words for resolved.agent",
		"TTL":              "what is left of the parent's life shortens it; resolved.life was asked for",
		"Steps":            "they follow from the rest",
		"Repositories":     "words for resolved.git.repos",
		"GitUser":          "a copy of resolved.git.user",
		"SubBottles":       "a copy of resolved.subBottles",
		"resolved.manager": "who planned it",
		"resolved.engine":  "its name is in Backend",
		"resolved.caps":    "this host's",
		"resolved.answers": "secrets; whoever answers anew means the same bottle",

		"resolved.agent.routes":             "in resolved.routes",
		"resolved.agent.env":                "in resolved.env",
		"resolved.agent.prompt":             "where the provider says that it is",
		"resolved.agent.skills.dir":         "where a skill is on the host, as with the workspace",
		"resolved.agent.skills.guest":       "it follows from the name and the provider",
		"resolved.agent.settings.HostLogin": "it is read at launch, and renewed under the same bottle",
		"resolved.workspace":                "its place is in Workspace",
		"resolved.survey":                   "as Workspace.Survey",
		"resolved.chosenID":                 "how the id came about",
		"resolved.parent":                   "its id and start stand in for it",
		"resolved.passesOn":                 "made from what is covered",
		"resolved.spends":                   "made from resolved.routes and the parent",
	}
}

// TestDigestCoversThePlan changes every single value of a plan in turn: either
// the digest is another one, or the list says why not.
func TestDigestCoversThePlan(t *testing.T) {
	b := agentBed(t, ", auth_token: TOKEN")
	put(t, b.root, "ws/file", "x")
	plan := b.plan(LaunchRequest{Agent: "worker", Label: "x", Prompt: "do it", Workspace: "ws"})
	excluded, used, covered := notDigested(), map[string]bool{}, map[string]bool{}
	skip := func(path string) bool {
		_, ok := excluded[path]
		used[path] = used[path] || ok
		return ok
	}
	w := walker{skip: skip}
	w.fill(reflect.ValueOf(plan).Elem(), "")
	before, err := plan.digest()
	if err != nil {
		t.Fatal(err)
	}
	w.leaf = func(path string) {
		covered[path] = true
		if after, err := plan.digest(); err != nil || after == before {
			t.Errorf("changing %s does not change the digest (%v): put it in, or say why not", path, err)
		}
	}
	w.change(reflect.ValueOf(plan).Elem(), "")
	if again, err := plan.digest(); err != nil || again != before {
		t.Fatalf("the test did not put everything back: %v", err)
	}
	for path := range excluded {
		if !used[path] {
			t.Errorf("%s is excused and no field of a plan", path)
		}
	}
	for _, must := range []string{
		"Publish", "Limits.PIDs", "resolved.life", "resolved.routes.DLP.Outbound", "resolved.routes.Budget.Requests", "resolved.routes.Response.Types",
		"resolved.routes.Auth.Header", "resolved.git.repos.Key.Path", "resolved.subBottles.Max", "resolved.image.Dockerfile", "resolved.agent.skills.name",
	} {
		if !covered[must] {
			t.Errorf("%s was not tried; tried: %q", must, slices.Sorted(maps.Keys(covered)))
		}
	}
}

// TestDigestTellsNoneFromDefault: a list of detectors that is empty switches
// scanning off.
func TestDigestTellsNoneFromDefault(t *testing.T) {
	b := newBed(t)
	digests := map[string]string{}
	for name, dlp := range map[string]string{"default": "{}", "no outbound": "{outbound_detectors: false}", "no inbound": "{inbound_detectors: false}"} {
		b.bottleFile("made", "egress: {routes: [{host: a.example.com, dlp: "+dlp+"}]}")
		d := b.plan(LaunchRequest{Bottles: []string{"made"}}).Digest
		if other, twice := digests[d]; twice {
			t.Errorf("%s and %s have one digest", name, other)
		}
		digests[d] = name
	}
}

// walker goes through every value below another one, by the names of the fields
// that lead there.
type walker struct {
	skip func(path string) bool
	leaf func(path string) // called while one value is another
}

// open makes a field that is not exported like one that is.
func open(v reflect.Value) reflect.Value {
	if v.CanSet() {
		return v
	}
	return reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem()
}

func under(path, name string) string { return strings.TrimPrefix(path+"."+name, ".") }

// fill gives every pointer, list, map and interface that is empty something.
func (w walker) fill(v reflect.Value, path string) {
	switch v = open(v); v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if at := under(path, v.Type().Field(i).Name); !w.skip(at) {
				w.fill(v.Field(i), at)
			}
		}
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		w.fill(v.Elem(), path)
	case reflect.Slice:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		for i := range v.Len() {
			w.fill(v.Index(i), path)
		}
	case reflect.Map:
		if v.Len() == 0 {
			v.Set(reflect.MakeMap(v.Type()))
			v.SetMapIndex(reflect.ValueOf("key").Convert(v.Type().Key()), reflect.Zero(v.Type().Elem()))
		}
		for _, key := range v.MapKeys() {
			w.entry(v, key, func(e reflect.Value) { w.fill(e, path) })
		}
	case reflect.Interface:
		if v.IsNil() {
			v.Set(reflect.ValueOf("something"))
		}
	}
}

// entry lets do change an entry of a map.
func (w walker) entry(m, key reflect.Value, do func(reflect.Value)) {
	e := reflect.New(m.Type().Elem()).Elem()
	e.Set(m.MapIndex(key))
	do(e)
	m.SetMapIndex(key, e)
}

// change makes every value another one for a moment, one after the other.
func (w walker) change(v reflect.Value, path string) {
	switch v = open(v); v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if at := under(path, v.Type().Field(i).Name); !w.skip(at) {
				w.change(v.Field(i), at)
			}
		}
	case reflect.Pointer:
		w.change(v.Elem(), path)
	case reflect.Slice:
		for i := range v.Len() {
			w.change(v.Index(i), path)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			w.changeEntry(v, key, path)
		}
	default:
		w.changeLeaf(v, path)
	}
}

// changeEntry changes a copy of an entry, which is put in for each of its values.
func (w walker) changeEntry(m, key reflect.Value, path string) {
	old := m.MapIndex(key)
	e := reflect.New(m.Type().Elem()).Elem()
	e.Set(old)
	inner := w
	inner.leaf = func(path string) {
		m.SetMapIndex(key, e)
		w.leaf(path)
		m.SetMapIndex(key, old)
	}
	inner.change(e, path)
}

func (w walker) changeLeaf(v reflect.Value, path string) {
	old := reflect.New(v.Type()).Elem()
	old.Set(v)
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(v.Uint() + 1)
	case reflect.Float64:
		v.SetFloat(v.Float() + 1)
	case reflect.Interface:
		v.Set(reflect.ValueOf("another"))
	default:
		panic(path + " is of a kind that no plan had so far: " + v.Kind().String())
	}
	w.leaf(path)
	v.Set(old)
}
