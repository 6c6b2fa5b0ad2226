package agenthost

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// host finds one that must exist.
func host(t testing.TB, name string) Host {
	t.Helper()
	h, err := Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func server() Server {
	return Server{Name: "bottle", Command: "/opt/bottle-mcp", Args: []string{"serve", "--root", "/home/me/a \"b\""}}
}

// install must work.
func install(t testing.TB, h Host, doc string, s Server) (string, Change) {
	t.Helper()
	out, change, err := h.Install([]byte(doc), s, false)
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, doc)
	}
	return string(out), change
}

const entry = `{
      "command": "/opt/bottle-mcp",
      "args": ["serve", "--root", "/home/me/a \"b\""]
    }`

func TestInstallJSON(t *testing.T) {
	for name, tt := range map[string]struct{ doc, want string }{
		"nothing":         {"", "{\n  \"mcpServers\": {\n    \"bottle\": " + entry + "\n  }\n}\n"},
		"blanks":          {" \n", "{\n  \"mcpServers\": {\n    \"bottle\": " + entry + "\n  }\n}\n"},
		"empty object":    {"{}", "{\n  \"mcpServers\": {\n    \"bottle\": " + entry + "\n  }\n}"},
		"empty servers":   {"{\n  \"mcpServers\": {}\n}\n", "{\n  \"mcpServers\": {\n    \"bottle\": " + entry + "\n  }\n}\n"},
		"other settings":  {"{\n  \"z\": 1,\n  \"a\": [1, 2]\n}\n", "{\n  \"z\": 1,\n  \"a\": [1, 2],\n  \"mcpServers\": {\n    \"bottle\": " + entry + "\n  }\n}\n"},
		"other servers":   {"{\n  \"mcpServers\": {\n    \"x\": {\"command\": \"x\"}\n  },\n  \"a\": 1.50e3\n}\n", "{\n  \"mcpServers\": {\n    \"x\": {\"command\": \"x\"},\n    \"bottle\": " + entry + "\n  },\n  \"a\": 1.50e3\n}\n"},
		"one line":        {`{"a": 1}`, "{\"a\": 1,\n  \"mcpServers\": {\n    \"bottle\": " + entry + "\n  }\n}"},
		"line comment":    {"{\n  // mine\n  \"a\": 1 // note\n  // end\n}", "{\n  // mine\n  \"a\": 1, // note\n  // end\n  \"mcpServers\": {\n    \"bottle\": " + entry + "\n  }\n}"},
		"trailing comma":  {"{\n  \"a\": 1, // note\n}", "{\n  \"a\": 1, // note\n  \"mcpServers\": {\n    \"bottle\": " + entry + "\n  }\n}"},
		"comment alone":   {"{ /* nothing yet */ }", "{ /* nothing yet */ \n  \"mcpServers\": {\n    \"bottle\": " + entry + "\n  }\n}"},
		"name in strings": {`{"x": "\"mcpServers\": {"}`, "{\"x\": \"\\\"mcpServers\\\": {\",\n  \"mcpServers\": {\n    \"bottle\": " + entry + "\n  }\n}"},
	} {
		t.Run(name, func(t *testing.T) {
			h := host(t, "cursor")
			got, change := install(t, h, tt.doc, server())
			if got != tt.want || change != Added {
				t.Errorf("%s:\n%s\nwant\n%s", change, got, tt.want)
			}
			again, change := install(t, h, got, server())
			if again != got || change != Unchanged {
				t.Errorf("twice: %s\n%s", change, again)
			}
		})
	}
}

func TestInstallJSONKeepsTheStyle(t *testing.T) {
	tabs, _ := install(t, host(t, "cursor"), "{\r\n\t\"a\": 1\r\n}\r\n", server())
	if !strings.Contains(tabs, "\r\n\t\"mcpServers\": {\r\n\t\t\"bottle\": {\r\n\t\t\t\"command\"") || strings.Contains(strings.ReplaceAll(tabs, "\r\n", ""), "\n") {
		t.Errorf("%q", tabs)
	}
}

func TestRefreshJSON(t *testing.T) {
	const old = `{
  "mcpServers": {
    // mine
    "bottle": {
      "disabled": true, // for now
      "command": "/old/bottle-mcp",
      "args": ["serve"],
      "env": {"MINE": "kept"}
    }
  }
}
`
	s := server()
	s.Env = []string{"GITHUB_TOKEN"}
	got, change := install(t, host(t, "cursor"), old, s)
	for _, want := range []string{"// mine", `"disabled": true, // for now`, `"command": "/opt/bottle-mcp"`, `"MINE": "kept"`, `"GITHUB_TOKEN": "${env:GITHUB_TOKEN}"`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s: no %s in\n%s", change, want, got)
		}
	}
	if change != Updated {
		t.Errorf("it was %s", change)
	}
	if again, change := install(t, host(t, "cursor"), got, s); again != got || change != Unchanged {
		t.Errorf("twice: %s\n%s", change, again)
	}
	// An entry with a variable keeps it when the next call does not ask.
	if _, change := install(t, host(t, "cursor"), got, server()); change != Unchanged {
		t.Errorf("without --env: %s", change)
	}
}

func TestInstallJSONRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ host, doc, want string }{
		"not an object":       {"cursor", `[]`, "line 1: it must hold an object"},
		"cut off":             {"cursor", "{\n\"a\": {", "line 2"},
		"two values":          {"cursor", "{}{}", "behind the object"},
		"bad string":          {"cursor", "{\"a\": \"\\q\"}", "a string is not valid"},
		"newline in string":   {"cursor", "{\"a\": \"x\ny\"}", "does not end on its line"},
		"bad literal":         {"cursor", `{"a": nil}`, "a value is expected"},
		"no comma":            {"cursor", "{\n\"a\": 1\n\"b\": 2}", "line 3"},
		"two commas":          {"cursor", `{"a": 1,,}`, "name of a member"},
		"only a comma":        {"cursor", `{,}`, "name of a member"},
		"open comment":        {"cursor", `{ /* `, "a comment does not end"},
		"slash":               {"cursor", `{ / }`, "begins nothing"},
		"not UTF-8":           {"cursor", "{\"a\": \"\xff\"}", "not UTF-8"},
		"too deep":            {"cursor", strings.Repeat(`{"a":`, 300) + "1" + strings.Repeat("}", 300), "nested"},
		"servers are a list":  {"cursor", `{"mcpServers": []}`, `"mcpServers" is not an object`},
		"servers twice":       {"cursor", `{"mcpServers": {}, "mcpServers": {}}`, "there twice"},
		"servers in disguise": {"cursor", `{"mcpServers": {}, "mcp\u0053ervers": {}}`, "there twice"},
		"entry twice":         {"cursor", `{"mcpServers": {"bottle": {}, "bottle": {}}}`, "there twice"},
		"comment":             {"claude", "{\n// x\n}", "line 2: there is a comment"},
		"trailing comma":      {"claude", `{"a": 1,}`, "name of a member"},
		"another program":     {"claude", `{"mcpServers": {"bottle": {"command": "/bin/milk"}}}`, "/bin/milk"},
		"another shape":       {"claude", `{"mcpServers": {"bottle": 5}}`, "belongs to another program"},
		"another server":      {"claude", `{"mcpServers": {"bottle": {"url": "http://localhost"}}}`, "belongs to another program"},
		"our other verb":      {"claude", `{"mcpServers": {"bottle": {"command": "/opt/bottle-mcp", "args": ["run"]}}}`, "belongs to another program"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := host(t, tt.host).Install([]byte(tt.doc), server(), false)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestForceJSON(t *testing.T) {
	doc := `{"mcpServers": {"a": {}, "bottle": {"command": "/bin/milk", "x": 1}, "b": {}}}`
	if _, _, err := host(t, "claude").Install([]byte(doc), server(), false); !errors.Is(err, ErrTaken) {
		t.Errorf("error %v, want ErrTaken", err)
	}
	out, change, err := host(t, "claude").Install([]byte(doc), server(), true)
	if err != nil || change != Replaced || bytes.Contains(out, []byte("milk")) || bytes.Contains(out, []byte(`"x"`)) {
		t.Errorf("%s, %v:\n%s", change, err, out)
	}
	if _, _, err := host(t, "claude").Uninstall([]byte(doc), "bottle", false); !errors.Is(err, ErrTaken) {
		t.Errorf("error %v, want ErrTaken", err)
	}
	out, change, err = host(t, "claude").Uninstall([]byte(doc), "bottle", true)
	if want := `{"mcpServers": {"a": {}, "b": {}}}`; err != nil || change != Removed || string(out) != want {
		t.Errorf("%s, %v:\n%s", change, err, out)
	}
}

func TestUninstallJSON(t *testing.T) {
	const ours = `"bottle": {"command": "/x/bottle-mcp", "args": ["serve"]}`
	for name, tt := range map[string]struct{ doc, want string }{
		"alone":             {"{\n  \"mcpServers\": {\n    " + ours + "\n  }\n}\n", "{\n  \"mcpServers\": {}\n}\n"},
		"first":             {"{\"mcpServers\": {" + ours + ", \"b\": 1}}", "{\"mcpServers\": { \"b\": 1}}"},
		"middle":            {"{\"mcpServers\": {\n  \"a\": 1,\n  " + ours + ",\n  \"b\": 1\n}}", "{\"mcpServers\": {\n  \"a\": 1,\n  \"b\": 1\n}}"},
		"last":              {"{\"mcpServers\": {\n  \"a\": 1,\n  " + ours + "\n}}", "{\"mcpServers\": {\n  \"a\": 1\n}}"},
		"last with a comma": {"{\"mcpServers\": {\n  \"a\": 1,\n  " + ours + ",\n}}", "{\"mcpServers\": {\n  \"a\": 1,\n}}"},
		"comments around":   {"{\"mcpServers\": {\n  \"a\": 1, // a\n  " + ours + " /* c */, // d\n  \"b\": 1\n}}", "{\"mcpServers\": {\n  \"a\": 1, // a\n   /* c */ // d\n  \"b\": 1\n}}"},
		"not there":         {`{"mcpServers": {"b": 1}}`, `{"mcpServers": {"b": 1}}`},
		"no servers":        {`{"a": 1}`, `{"a": 1}`},
	} {
		t.Run(name, func(t *testing.T) {
			out, change, err := host(t, "vscode").withKey("mcpServers").Uninstall([]byte(tt.doc), "bottle", false)
			if err != nil || string(out) != tt.want || (change == Removed) != (tt.doc != tt.want) {
				t.Errorf("%s, %v:\n%s\nwant\n%s", change, err, out, tt.want)
			}
		})
	}
	if out, change, err := host(t, "claude").Uninstall(nil, "bottle", false); out != nil || change != Unchanged || err != nil {
		t.Errorf("no file: %q, %s, %v", out, change, err)
	}
}

func (h Host) withKey(key string) Host {
	h.key = key
	return h
}

func TestEntriesJSON(t *testing.T) {
	got, err := host(t, "claude").Entries([]byte(`{"mcpServers": {"x": {"url": "u"}, "bottle": {"command": "/o/bottle-mcp", "args": ["serve", "--root", "/r"]}}}`))
	want := []Entry{{Name: "x"}, {Name: "bottle", Command: "/o/bottle-mcp", Args: []string{"serve", "--root", "/r"}}}
	if err != nil || !reflect.DeepEqual(got, want) || got[0].Ours() || !got[1].Ours() {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := host(t, "claude").Entries(nil); len(got) != 0 || err != nil {
		t.Errorf("no file: %v, %v", got, err)
	}
}

// TestSnippets compares what every host is given with the form that its
// documentation shows.
func TestSnippets(t *testing.T) {
	for _, h := range Hosts() {
		t.Run(h.Name, func(t *testing.T) {
			s := Server{Name: "bottle", Command: "/usr/local/bin/bottle-mcp", Args: []string{"serve", "--root", "/home/me/projects"}}
			if h.PassesVariables() {
				s.Env = []string{"GITHUB_TOKEN", "CI_TOKEN", "CI_TOKEN"}
			}
			got, err := h.Snippet(s)
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(filepath.Join("testdata", h.Name+".golden"))
			if err != nil || got != string(want) {
				t.Errorf("%v, got\n%s\nwant\n%s", err, got, want)
			}
			if !h.toml && !json.Valid([]byte(got)) {
				t.Error("it is not JSON")
			}
		})
	}
}

// foreign is a document without our entry, by other means than the editor's.
func foreign(t *testing.T, doc []byte, key string) map[string]any {
	t.Helper()
	var all map[string]any
	decoder := json.NewDecoder(bytes.NewReader(standard(doc)))
	decoder.UseNumber()
	if err := decoder.Decode(&all); err != nil {
		t.Fatalf("%v in\n%s", err, doc)
	}
	if servers, ok := all[key].(map[string]any); ok {
		delete(servers, "bottle")
		if len(servers) == 0 {
			delete(all, key)
		}
	}
	return all
}

func FuzzJSON(f *testing.F) {
	for _, seed := range []string{
		"", "{}", `{"mcpServers":{}}`, "{\n// c\n\"a\": [1,2,], /* x */ \"mcpServers\": {\"y\": {\"command\": \"y\"},},\n}",
		`{"mcpServers": {"bottle": {"command": "/x/bottle-mcp", "args": ["serve"], "env": {}}}}`, `{"a": "//", "b": "/*", "c": "\\\"", "d": "\u2028"}`,
		"{\"a\": 1 // x\n}", `{"mcpServers": {"bottle": {"command": "/x/bottle-mcp", "args": ["serve"], "env": null}}}`, "\ufeff{}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		for _, name := range []string{"claude", "cursor"} {
			h := host(t, name)
			s := server()
			s.Env = []string{"TOKEN"}
			out, change, err := h.Install(bytes.Clone(doc), s, true)
			if err != nil {
				continue
			}
			if (change == Unchanged) != bytes.Equal(out, doc) {
				t.Fatalf("%s:\n%q\n%q", change, doc, out)
			}
			if len(bytes.TrimSpace(doc)) == 0 {
				doc = []byte("{}")
			}
			if a, b := foreign(t, bytes.TrimPrefix(doc, []byte("\ufeff")), h.key), foreign(t, bytes.TrimPrefix(out, []byte("\ufeff")), h.key); !reflect.DeepEqual(a, b) {
				t.Fatalf("other keys changed:\n%q\n%q", doc, out)
			}
			if again, change, err := h.Install(bytes.Clone(out), s, false); err != nil || change != Unchanged || !bytes.Equal(again, out) {
				t.Fatalf("twice: %s, %v\n%q\n%q", change, err, out, again)
			}
			gone, change, err := h.Uninstall(bytes.Clone(out), s.Name, false)
			if err != nil || change != Removed {
				t.Fatalf("uninstall: %s, %v\n%q", change, err, out)
			}
			if a, b := foreign(t, bytes.TrimPrefix(doc, []byte("\ufeff")), h.key), foreign(t, bytes.TrimPrefix(gone, []byte("\ufeff")), h.key); !reflect.DeepEqual(a, b) {
				t.Fatalf("other keys changed by uninstall:\n%q\n%q", doc, gone)
			}
			if h.comments && bytes.Count(gone, []byte("//")) < bytes.Count(standardOnlyComments(doc), []byte("//")) {
				t.Fatalf("a comment is lost:\n%q\n%q", doc, gone)
			}
		}
	})
}

// standardOnlyComments would blank strings; counting in the comments of a
// document needs those bytes that standard turned into blanks.
func standardOnlyComments(doc []byte) []byte {
	plain := standard(doc)
	out := bytes.Repeat([]byte(" "), len(doc))
	for i := range doc {
		if doc[i] != plain[i] && doc[i] != ',' {
			out[i] = doc[i]
		}
	}
	return out
}
