package manifest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	l := home(t, map[string]string{
		"bottles/a.md": "---\nextends: z\n---\n", "bottles/z.md": "---\nttl: 1\nimage: \"\"\n---\n", "bottles/zz.md": "---\nextends: z\n---\n",
		"bottles/good.md": "---\n---\n", "bottles/dir.md/x": "", "agents/good.md": "---\nbottle: good\n---\n",
		"agents/lost.md": "---\n\nbottle: goof\n---\n", "agents/a.md": "---\nbottle: z\n---\n",
	})
	ws := t.TempDir()
	write(t, ws, map[string]string{".bot-bottle/agents/guest.md": "---\nskill: [x]\n---\n", ".bot-bottle/agents/good.md": "---\nskill: [x]\n---\n"})
	tests := []struct {
		name  string
		ws    string
		names []string
		want  []string // kind, name and, when it is broken, a part of the error
	}{
		{"all", "", nil, []string{
			`bottle a: the parent "z" cannot be used`, "bottle default", "bottle dir: a directory", "bottle good", "bottle z: z.md:2: ttl", `bottle zz: the parent "z" cannot be used`,
			"agent a", "agent good", `agent lost: lost.md:3: bottle: there is no bottle "goof"; did you mean "good"? known bottles: a, default, dir, good, z, zz`,
		}},
		{"with a workspace", ws, []string{"guest", "agents/good"}, []string{"agent guest: guest.md:2: skill", "agent good"}},
		{"both of a name", "", []string{"good"}, []string{"bottle good", "agent good"}},
		{"one of a name", "", []string{"bottles/a", "agents/a"}, []string{`bottle a: z.md:3: image`, "agent a"}},
		{"unknown", "", []string{"god", "good"}, []string{`manifest god: there is no bottle and no agent "god"; did you mean "good"? known: a, default, dir, good, lost, z, zz`, "bottle good", "agent good"}},
		{"unknown of a kind", "", []string{"bottles/lost", "agents/z", "agents/../x"}, []string{`manifest agents/../x: there is no`, `bottle lost: there is no bottle "lost"`, `agent z: there is no agent "z"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := l.Check(tt.ws, tt.names...)
			var lines []string
			for _, c := range got {
				line := c.Kind + " " + c.Name
				if c.Err != nil {
					line += ": " + c.Err.Error()
				}
				if set := (c.Bottle != nil) != (c.Agent != nil); set == (c.Err != nil) {
					t.Errorf("%+v is neither right nor wrong", c)
				}
				lines = append(lines, line)
			}
			if len(lines) != len(tt.want) {
				t.Fatalf("got %q", lines)
			}
			for i, want := range tt.want {
				head, detail, broken := strings.Cut(want, ": ")
				if !strings.HasPrefix(lines[i], head) || !strings.Contains(lines[i], detail) || broken != strings.Contains(lines[i], ": ") {
					t.Errorf("got %q, want %q", lines[i], want)
				}
			}
		})
	}
}

// TestSkipped finds files that people wonder about.
func TestSkipped(t *testing.T) {
	parent := t.TempDir()
	write(t, parent, map[string]string{
		".bot-bottle/bottles/ok.md": "---\n---\n", ".bot-bottle/bottles/Work.md": "", ".bot-bottle/bottles/web.yaml": "", ".bot-bottle/bottles/web.MD": "",
		".bot-bottle/bottles/.ok.md.swp": "", ".bot-bottle/bottles/ok.md~": "", ".bot-bottle/bottles/README": "", ".bot-bottle/agents/a b.md": "",
		".bot-bottle/manifest.json": "{}", ".bot-bottle.json": "{}", "other.json": "{}",
	})
	l := Loader{Home: filepath.Join(parent, DirName)}
	got := strings.ReplaceAll(strings.Join(l.Skipped(), "\n"), parent+"/", "")
	want := `".bot-bottle/manifest.json" is in the old format of one JSON file and is not read: write each bottle to .bot-bottle/bottles/NAME.md and each agent to .bot-bottle/agents/NAME.md
".bot-bottle.json" is in the old format of one JSON file and is not read: write each bottle to .bot-bottle/bottles/NAME.md and each agent to .bot-bottle/agents/NAME.md
".bot-bottle/bottles/Work.md" is skipped: the name of a manifest has a-z, 0-9 and '-' and begins with a letter
".bot-bottle/bottles/web.MD" is skipped: a manifest's file ends in .md
".bot-bottle/bottles/web.yaml" is skipped: a manifest's file ends in .md
".bot-bottle/agents/a b.md" is skipped: the name of a manifest has a-z, 0-9 and '-' and begins with a letter`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if _, err := l.Bottle("work"); err == nil || !strings.Contains(err.Error(), "manifest.json\" is in the old format") {
		t.Errorf("a bottle of the old file: %v", err)
	}
	if old := (Loader{Home: filepath.Join(t.TempDir(), DirName)}).Skipped(); len(old) != 0 {
		t.Errorf("an empty home has %q", old)
	}
}

func TestHomeIsAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), DirName)
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := Loader{Home: file}
	for _, name := range []string{"x", "default"} {
		if _, err := l.Bottle(name); err == nil || !strings.Contains(err.Error(), "it is no directory; move it away") {
			t.Errorf("bottle %s: %v", name, err)
		}
	}
	if old := l.Skipped(); len(old) != 1 || !strings.Contains(old[0], "is a file and not read") {
		t.Errorf("skipped: %q", old)
	}
}
