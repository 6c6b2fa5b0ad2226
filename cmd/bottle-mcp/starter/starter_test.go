package starter

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
)

func noEnv(string) (string, bool) { return "", false }

// project makes a directory with files; "" is an empty one.
func project(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func detect(t *testing.T, dir string) Project {
	t.Helper()
	p, err := Detect(dir, noEnv)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// load reads a bottle's text as the operator's loader does.
func load(t *testing.T, text string) *manifest.Bottle {
	t.Helper()
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, "bottles"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "bottles", "made.md"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := manifest.Loader{Home: home}.Bottle("made")
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, text)
	}
	return b
}

func hosts(b *manifest.Bottle) []string {
	out := []string{}
	for _, r := range b.Routes {
		out = append(out, r.Host)
	}
	return out
}

// hostsOf are the hosts in the table for a kind of packages.
func hostsOf(t *testing.T, title string) []string {
	t.Helper()
	i := slices.IndexFunc(kinds(), func(k Kind) bool { return strings.HasPrefix(k.Title, title+" ") })
	if i < 0 || len(kinds()[i].hosts) == 0 {
		t.Fatalf("the table has nothing for %s", title)
	}
	return kinds()[i].hosts
}

func TestDetectAndLoad(t *testing.T) {
	npm, yarn, golang, python := hostsOf(t, "npm"), hostsOf(t, "Yarn"), hostsOf(t, "Go"), hostsOf(t, "Python")
	rust, ruby, php := hostsOf(t, "Rust"), hostsOf(t, "Ruby"), hostsOf(t, "PHP")
	for name, tt := range map[string]struct {
		files []string
		want  []string
	}{
		"nothing":          {nil, []string{}},
		"other files":      {[]string{"README.md", "xpackage.json", "sub/package.json"}, []string{}},
		"npm":              {[]string{"package.json"}, npm},
		"yarn":             {[]string{"package.json", "yarn.lock"}, slices.Concat(npm, yarn)},
		"go":               {[]string{"go.mod"}, golang},
		"go workspace":     {[]string{"go.work"}, golang},
		"python":           {[]string{"pyproject.toml"}, python},
		"python by pip":    {[]string{"requirements.txt"}, python},
		"python, for work": {[]string{"requirements-dev.txt"}, python},
		"rust":             {[]string{"Cargo.toml"}, rust},
		"ruby":             {[]string{"Gemfile"}, ruby},
		"ruby library":     {[]string{"thing.gemspec"}, ruby},
		"php":              {[]string{"composer.json"}, php},
		"a line as a name": {[]string{"requirements\n    - host: evil.example\n    #.txt", "x\n.gemspec"}, []string{}},
		"several":          {[]string{"Cargo.toml", "package.json", "go.mod", "setup.py"}, slices.Concat(npm, golang, python, rust)},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{}
			for _, f := range tt.files {
				files[f] = ""
			}
			p := detect(t, project(t, files))
			b := load(t, p.Bottle("made"))
			if got := hosts(b); !slices.Equal(got, tt.want) {
				t.Errorf("hosts %v, want %v", got, tt.want)
			}
			for _, r := range b.Routes {
				if len(r.Matches) != 1 || !slices.Equal(r.Matches[0].Methods, []string{"GET", "HEAD"}) || r.Auth != nil || r.GitFetch || len(r.Private) > 0 {
					t.Errorf("%s allows more than downloads: %+v", r.Host, r)
				}
			}
			if b.TTL == 0 || b.Env["CI"].Literal != "true" {
				t.Errorf("ttl %s, env %v", b.TTL, b.Env)
			}
		})
	}
}

// TestExamplesInComments takes the '#' away, as its reader would.
func TestExamplesInComments(t *testing.T) {
	dir := project(t, map[string]string{
		"package.json": "", "go.mod": "", "Gemfile": "source \"https://gems.corp.example\"\n",
		".npmrc": "//npm.corp.example:8443/:_authToken=x\nregistry=https://user:hidden@npm.corp.example:8443/npm/\n",
	})
	p, err := Detect(dir, func(name string) (string, bool) {
		return "https://user:hidden@go.corp.example,direct", name == "GOPROXY"
	})
	if err != nil {
		t.Fatal(err)
	}
	text := p.Bottle("made")
	if strings.Contains(text, "hidden") {
		t.Errorf("a password is written:\n%s", text)
	}
	if got := hosts(load(t, text)); slices.ContainsFunc(got, func(h string) bool { return strings.HasSuffix(h, ".example") }) {
		t.Errorf("a host of the project is allowed: %v", got)
	}
	example := regexp.MustCompile(`(?m)^(\s*)# (- host:.*|  (?:ports|matches|auth|git):.*|[A-Z]+: "\$.*|resources:.*)$`)
	b := load(t, example.ReplaceAllString(text, "$1$2"))
	for _, want := range []string{"npm.corp.example", "go.corp.example", "gems.corp.example", "api.github.com", "github.com"} {
		if !slices.Contains(hosts(b), want) {
			t.Errorf("no %s in %v", want, hosts(b))
		}
	}
	i := slices.IndexFunc(b.Routes, func(r manifest.Route) bool { return r.Host == "npm.corp.example" })
	if i < 0 || !slices.Equal(b.Routes[i].Ports, []int{8443}) {
		t.Errorf("routes %+v", b.Routes)
	}
	if b.Env["GOPROXY"].FromHost != "GOPROXY" || b.Limits.PIDs != 1024 {
		t.Errorf("env %v, limits %+v", b.Env, b.Limits)
	}
}

func TestNamedHosts(t *testing.T) {
	for name, tt := range map[string]struct {
		file, content string
		want          []NamedHost
	}{
		"npm":             {".npmrc", "; https://comment.example\n@x:registry = https://a.example/\nregistry=http://B.example:81\n", []NamedHost{{Host: "a.example", By: ".npmrc line 2"}, {Host: "b.example", Port: 81, By: ".npmrc line 3"}}},
		"twice":           {".npmrc", "registry=https://a.example\nregistry=https://a.example/x\n", []NamedHost{{Host: "a.example", By: ".npmrc line 1"}}},
		"in the table":    {".npmrc", "registry=https://" + hostsOf(t, "npm")[0] + "/\n", nil},
		"no name":         {".npmrc", "registry=https://localhost:4873\nregistry=https://[::1]/\nregistry=https://\n", nil},
		"bad names":       {".npmrc", "registry=https://a_.example./\nregistry=https://a\x01b.example\nregistry=https://999.1.1.1\nregistry=https://a.example:99999\n", nil},
		"pip":             {"requirements.txt", "-i https://a.example/simple\n--extra-index-url=https://b.example\nx @ https://c.example/x.whl\n", []NamedHost{{Host: "a.example", By: "requirements.txt line 1"}, {Host: "b.example", By: "requirements.txt line 2"}}},
		"uv":              {"pyproject.toml", "[project.urls]\nhome = \"https://no.example\"\n[[tool.uv.index]]\nurl = \"https://a.example/simple\"\n", []NamedHost{{Host: "a.example", By: "pyproject.toml line 4"}}},
		"cargo":           {".cargo/config.toml", "[registries.x]\nindex = \"sparse+https://a.example/index/\"\n", []NamedHost{{Host: "a.example", By: ".cargo/config.toml line 2"}}},
		"bundler":         {"Gemfile", "source 'https://a.example' do\n", []NamedHost{{Host: "a.example", By: "Gemfile line 1"}}},
		"composer":        {"composer.json", `{"repositories": [{"type": "composer", "url": "https://a.example"}]}`, []NamedHost{{Host: "a.example", By: "composer.json line 1"}}},
		"far too many":    {".npmrc", strings.Repeat("registry=https://a.example https://b.example\n", 100_000), []NamedHost{{Host: "a.example", By: ".npmrc line 1"}, {Host: "b.example", By: ".npmrc line 1"}}},
		"not its setting": {".npmrc", "cafile=https://a.example\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{"package.json": "", "Cargo.toml": "", "setup.py": ""}
			files[tt.file] = tt.content
			if got := detect(t, project(t, files)).Named; !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestDetectStaysInside(t *testing.T) {
	outside := project(t, map[string]string{"npmrc": "registry=https://outside.example\n"})
	dir := project(t, map[string]string{"package.json": ""})
	if err := os.Symlink(filepath.Join(outside, "npmrc"), filepath.Join(dir, ".npmrc")); err != nil {
		t.Fatal(err)
	}
	if got := detect(t, dir).Named; len(got) != 0 {
		t.Errorf("a link was followed: %+v", got)
	}
}

func TestDetectNoDirectory(t *testing.T) {
	for _, dir := range []string{filepath.Join(t.TempDir(), "none"), filepath.Join(project(t, map[string]string{"f": ""}), "f")} {
		if _, err := Detect(dir, noEnv); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

func TestName(t *testing.T) {
	for dir, want := range map[string]string{
		"/home/me/web": "web", "/x/My App_2": "my-app-2", "/x/2048": "project", "/x/2nd-try": "nd-try", "/": "project", ".": "project",
		"/x/default": "project", "/x/-a-": "a", "/x/żółw": "w", "/x/" + strings.Repeat("long", 30): strings.Repeat("long", 10),
	} {
		if got := Name(dir); got != want || !manifest.ValidName(got) {
			t.Errorf("%s: %q, want %q", dir, got, want)
		}
	}
}

func FuzzNamedHosts(f *testing.F) {
	for _, seed := range []string{"registry=https://a.example", "registry=http://u:p@b.example:81/x,https://c.example|", "registry=https://a.example\r\nregistry=https://\u202e.example"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p := Project{Found: []Found{{kinds()[0], "package.json"}}}
		p.fromText(text, NamedHost{By: "a file"})
		plain := Project{Found: p.Found}
		got, want := load(t, p.Bottle("made")), load(t, plain.Bottle("made"))
		if !reflect.DeepEqual(got.Routes, want.Routes) || !reflect.DeepEqual(got.Env, want.Env) {
			t.Fatalf("%q changes what is allowed:\n%s", text, p.Bottle("made"))
		}
	})
}

func FuzzName(f *testing.F) {
	for _, seed := range []string{"/a/b", "/x/Ünï", "\x00", "a/../b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, dir string) {
		if got := Name(dir); !manifest.ValidName(got) || got == manifest.DefaultBottle {
			t.Fatalf("%q becomes %q", dir, got)
		}
	})
}
