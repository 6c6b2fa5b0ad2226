package agenthost

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

const codexTable = `[mcp_servers.bottle]
command = "/opt/bottle-mcp"
args = ["serve", "--root", "/home/me/a \"b\""]
tool_timeout_sec = 600
`

func TestInstallTOML(t *testing.T) {
	for name, tt := range map[string]struct{ doc, want string }{
		"nothing":       {"", codexTable},
		"settings":      {"model = \"x\" # mine\n", "model = \"x\" # mine\n\n" + codexTable},
		"no line end":   {"model = \"x\"", "model = \"x\"\n\n" + codexTable},
		"empty line":    {"a = 1\n\n", "a = 1\n\n" + codexTable},
		"other servers": {"[mcp_servers.x]\ncommand = 'y'\n[mcp_servers.x.env]\nA = \"\"\"\n[mcp_servers.bottle]\n\"\"\"\n", "[mcp_servers.x]\ncommand = 'y'\n[mcp_servers.x.env]\nA = \"\"\"\n[mcp_servers.bottle]\n\"\"\"\n\n" + codexTable},
		"dotted others": {"mcp_servers.x.command = \"y\"\n", "mcp_servers.x.command = \"y\"\n\n" + codexTable},
		"inline others": {"[mcp_servers]\nx = { command = \"y\", args = [\n\"a\", # c\n], }\n", "[mcp_servers]\nx = { command = \"y\", args = [\n\"a\", # c\n], }\n\n" + codexTable},
	} {
		t.Run(name, func(t *testing.T) {
			got, change := install(t, host(t, "codex"), tt.doc, server())
			if got != tt.want || change != Added {
				t.Errorf("%s:\n%s\nwant\n%s", change, got, tt.want)
			}
			if again, change := install(t, host(t, "codex"), got, server()); again != got || change != Unchanged {
				t.Errorf("twice: %s\n%s", change, again)
			}
			gone, change, err := host(t, "codex").Uninstall([]byte(got), "bottle", false)
			if err != nil || change != Removed || strings.TrimRight(string(gone), "\n") != strings.TrimRight(tt.doc, "\n") {
				t.Errorf("uninstall: %s, %v\n%s", change, err, gone)
			}
		})
	}
}

func TestRefreshTOML(t *testing.T) {
	const old = `a = 1

# My bottles.
[mcp_servers."bottle"] # here
command = "/old/bottle-mcp" # old
startup_timeout_sec = 99
args = [
  "serve", # the verb
]

[mcp_servers.bottle.tools.exec]
approval_mode = "prompt"

[other]
b = 2
`
	s := server()
	s.Env = []string{"TOKEN"}
	got, change := install(t, host(t, "codex"), old, s)
	const want = `a = 1

# My bottles.
[mcp_servers."bottle"] # here
command = "/opt/bottle-mcp" # old
startup_timeout_sec = 99
args = ["serve", "--root", "/home/me/a \"b\""]
env_vars = ["TOKEN"]

[mcp_servers.bottle.tools.exec]
approval_mode = "prompt"

[other]
b = 2
`
	if got != want || change != Updated {
		t.Errorf("%s:\n%s\nwant\n%s", change, got, want)
	}
	s.Env = []string{"ANOTHER"}
	if more, _ := install(t, host(t, "codex"), got, s); !strings.Contains(more, `env_vars = ["ANOTHER", "TOKEN"]`) {
		t.Errorf("another variable:\n%s", more)
	}
	gone, _, err := host(t, "codex").Uninstall([]byte(got), "bottle", false)
	if err != nil || string(gone) != "a = 1\n\n# My bottles.\n\n[other]\nb = 2\n" {
		t.Errorf("uninstall, %v:\n%s", err, gone)
	}
	objects := strings.Replace(got, `env_vars = ["TOKEN"]`, `env_vars = ["TOKEN", { name = "X", source = "remote" }]`, 1)
	if _, _, err := host(t, "codex").Install([]byte(objects), s, false); err == nil || !strings.Contains(err.Error(), "by hand") {
		t.Errorf("variables with a source: %v", err)
	}
}

func TestInstallTOMLRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ doc, want string }{
		"JSON":              {`{"a": 1}`, "line 1: a name is expected"},
		"open string":       {"a = \"x\n", "does not end on its line"},
		"open text":         {"a = \"\"\"x\n", "several lines does not end"},
		"open array":        {"a = [1,\n", "a value is expected"},
		"open header":       {"[a\n", "name of a table does not end"},
		"no value":          {"a =\n", "a value is expected"},
		"no key":            {"= 1\n", "a name is expected"},
		"two on a line":     {"a = 1 b = 2\n", "something behind the value"},
		"not UTF-8":         {"a = \"\xff\"\n", "not UTF-8"},
		"array of tables":   {"[[mcp_servers]]\na = 1\n", "not written as a table"},
		"all inline":        {"mcp_servers = {}\n", "not written as a table"},
		"entry inline":      {"[mcp_servers]\nbottle = { command = \"x\" }\n", "not written as a table"},
		"entry dotted":      {"mcp_servers.bottle.command = \"x\"\n", "not written as a table"},
		"only a part of it": {"[mcp_servers.bottle.env]\nA = \"x\"\n", "not written as a table"},
		"twice":             {"[mcp_servers.bottle]\n[mcp_servers.'bottle']\n", "there twice"},
		"another program":   {"[mcp_servers.bottle]\ncommand = '/bin/milk'\n", "/bin/milk"},
		"our other verb":    {"[mcp_servers.bottle]\ncommand = '/x/bottle-mcp'\nargs = ['run']\n", "belongs to another program"},
		"too deep":          {"a = " + strings.Repeat("[", 300) + "\n", "too deep"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := host(t, "codex").Install([]byte(tt.doc), server(), false)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestForceTOML(t *testing.T) {
	doc := "[mcp_servers.bottle]\ncommand = '/bin/milk'\nx = 1\n[z]\n"
	if _, _, err := host(t, "codex").Install([]byte(doc), server(), false); !errors.Is(err, ErrTaken) {
		t.Errorf("error %v, want ErrTaken", err)
	}
	out, change, err := host(t, "codex").Install([]byte(doc), server(), true)
	if want := "[z]\n\n" + codexTable; err != nil || change != Replaced || string(out) != want {
		t.Errorf("%s, %v:\n%s", change, err, out)
	}
	if _, _, err := host(t, "codex").Uninstall([]byte(doc), "bottle", false); !errors.Is(err, ErrTaken) {
		t.Errorf("error %v, want ErrTaken", err)
	}
}

func TestEntriesTOML(t *testing.T) {
	doc := "[mcp_servers]\ninline = { command = \"x\" }\n[mcp_servers.bottle]\ncommand = '/o/bottle-mcp'\nargs = ['serve']\n[mcp_servers.bottle.env]\nA = '1'\n"
	got, err := host(t, "codex").Entries([]byte(doc))
	want := []Entry{{Name: "inline"}, {Name: "bottle", Command: "/o/bottle-mcp", Args: []string{"serve"}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTOMLValues(t *testing.T) {
	for _, doc := range []string{
		"a = 1979-05-27 07:32:00Z # c\n", "a = 1979-05-27T07:32:00.5-07:00\n", "a = -inf\nb = 0xff\nc = 1_000.5e+3\n",
		"a = '''x'''''\nb = \"\"\"y\\\"\"\"\"\"\n", "a.\"b c\".'d' = [[1, 2], ['x', \"y\"],]\n", "a = \"\\\\\" # \"\n", "\r\n# c\r\n[ a . b ]\r\nc = true\r\n",
	} {
		if _, err := scanTOML([]byte(doc)); err != nil {
			t.Errorf("%q: %v", doc, err)
		}
	}
}

func FuzzTOML(f *testing.F) {
	for _, seed := range []string{
		"", "a = 1\n", codexTable, "[mcp_servers.x]\ncommand = 'y'\n", "a = \"\"\"\n[mcp_servers.bottle]\n\"\"\"\n", "a = [\n# ]\n1]\n",
		"[mcp_servers.bottle]\ncommand = \"/x/bottle-mcp\"\nargs = [\"serve\"]\n[mcp_servers.bottle.env]\nA = ''\n", "a = '''\n'''''", "[[a]]\r\nb = {c = 1}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		h := host(t, "codex")
		s := server()
		s.Env = []string{"TOKEN"}
		out, change, err := h.Install(bytes.Clone(doc), s, true)
		if err != nil {
			return
		}
		if (change == Unchanged) != bytes.Equal(out, doc) {
			t.Fatalf("%s:\n%q\n%q", change, doc, out)
		}
		// Every line that is not of the table is still there, in its order.
		if change == Added && !bytes.HasPrefix(out, doc) {
			t.Fatalf("the document changed:\n%q\n%q", doc, out)
		}
		if again, change, err := h.Install(bytes.Clone(out), s, false); err != nil || change != Unchanged || !bytes.Equal(again, out) {
			t.Fatalf("twice: %s, %v\n%q\n%q", change, err, out, again)
		}
		gone, change2, err := h.Uninstall(bytes.Clone(out), s.Name, false)
		if err != nil || change2 != Removed {
			t.Fatalf("uninstall: %s, %v\n%q", change2, err, out)
		}
		if change == Added && string(bytes.TrimRight(gone, "\r\n")) != string(bytes.TrimRight(doc, "\r\n")) {
			t.Fatalf("not as before:\n%q\n%q", doc, gone)
		}
	})
}
