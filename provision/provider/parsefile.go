package provider

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
)

// defaultMode is for files that say none: a guest may have other users.
const defaultMode = 0o600

func files(n manifest.Node, vars []string) []File {
	var out []File
	n.List(maxFiles, "no files", func(item manifest.Node) {
		f, ok := file(item, vars)
		if !ok {
			return
		}
		for _, other := range out {
			if other.Path == f.Path {
				item.Fail(fmt.Sprintf("the file %q stands twice", f.Path), "merge the two")
				return
			}
		}
		out = append(out, f)
	})
	return out
}

func file(n manifest.Node, vars []string) (File, bool) {
	f := File{Mode: defaultMode, Format: FormatText}
	var content *manifest.Node
	ok := n.Clean(func() {
		n.Mapping(map[string]func(manifest.Node){
			"path":    func(n manifest.Node) { f.Path = guestPath(n) },
			"mode":    func(n manifest.Node) { f.Mode = mode(n) },
			"format":  func(n manifest.Node) { f.Format = n.Choice(FormatJSON, FormatTOML, FormatText) },
			"content": func(n manifest.Node) { content = &n },
		}, nil)
	})
	switch {
	case !ok:
		return f, false
	case f.Path == "" || content == nil:
		n.Fail("a file needs a path and a content", `write "path: .agent/settings.json", "format: json" and a "content:" mapping`)
		return f, false
	}
	return f, n.Clean(func() { f.Content = body(*content, f.Format, vars) })
}

var octal = regexp.MustCompile(`^0[0-7]{3}$`)

// mode reads permission bits. The owner can read and write, and nobody else can
// write.
func mode(n manifest.Node) uint32 {
	s, ok := n.Str()
	if !ok {
		return defaultMode
	}
	v, err := strconv.ParseUint(s, 8, 32)
	if !octal.MatchString(s) || err != nil || v&0o600 != 0o600 || v&0o022 != 0 {
		n.Fail(fmt.Sprintf("%.20q is not accepted", s), `write for example "0600", "0644" or "0755", in quotes: the owner reads and writes, nobody else writes`)
		return defaultMode
	}
	return uint32(v)
}

// body reads the content of a file.
func body(n manifest.Node, format string, vars []string) any {
	if format == FormatText {
		return template(n, maxText, vars)
	}
	tree, ok := n.Tree()
	if !ok {
		return nil
	}
	table, isTable := tree.(map[string]any)
	if !isTable {
		n.Fail("the content of a "+format+" file is a mapping", `write "key: value" lines below "content:"; it becomes `+format)
		return nil
	}
	eachString(table, func(text string, isKey bool) {
		allowed := vars
		if isKey {
			allowed = placeVars // nothing free may become a key
		}
		if err := checkText(text, maxText, allowed); err != nil {
			n.Fail(err.Error(), "")
		}
	})
	if format == FormatTOML {
		if err := checkTOML(table); err != nil {
			n.Fail("TOML cannot say it: "+err.Error(), "")
		}
	}
	return table
}

// clashes finds places that would have to be two things at once. What may come
// together is tried together: every login, the supervisor and the way to bottles.
func (p *Provider) clashes() []string {
	var out []string
	for _, l := range []*Login{{}, p.AuthToken, p.HostLogin} {
		if l == nil {
			continue
		}
		sets := [][]File{p.Files, l.Files}
		for _, r := range []*Registration{p.Supervise, p.Bottles} {
			if r != nil {
				sets = append(sets, r.Files)
			}
		}
		if f, ok := loginFormat(l.Format); ok {
			sets = append(sets, []File{{Path: f.guest, Format: FormatText, Content: ""}})
		}
		merged, err := together(sets...)
		if err != nil {
			out = append(out, err.Error())
			continue
		}
		out = append(out, p.overlaps(merged)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// overlaps finds files that are directories to others.
func (p *Provider) overlaps(files []File) []string {
	places := make([]string, 0, len(files)+1)
	for _, f := range files {
		places = append(places, f.Path)
	}
	var out []string
	if p.Prompt.File != "" {
		for _, other := range places {
			if other == p.Prompt.File {
				out = append(out, fmt.Sprintf("the prompt and a file are both at %q", other))
			}
		}
		places = append(places, p.Prompt.File)
	}
	for i, a := range places {
		if p.Skills != "" && (inside(a, p.Skills) || inside(p.Skills, a)) {
			out = append(out, fmt.Sprintf("%q and the skills at %q lie in each other", a, p.Skills))
		}
		for _, b := range places[:i] {
			if clash(a, b) {
				out = append(out, fmt.Sprintf("%q and %q lie in each other", b, a))
			}
		}
	}
	return out
}

// together joins lists of files. A structured file may stand in several, and its
// parts are merged; they must not give one key twice.
func together(sets ...[]File) ([]File, error) {
	var out []File
	at := map[string]int{}
	for _, set := range sets {
		for _, f := range set {
			i, twice := at[f.Path]
			if !twice {
				at[f.Path] = len(out)
				out = append(out, f)
				continue
			}
			old, isOld := out[i].Content.(map[string]any)
			add, isNew := f.Content.(map[string]any)
			if !isOld || !isNew || f.Format != out[i].Format || f.Mode != out[i].Mode {
				return nil, fmt.Errorf("the file %q is written twice, and only json and toml of one format and mode can be merged", f.Path)
			}
			merged, err := merge(old, add)
			if err != nil {
				return nil, fmt.Errorf("the file %q: %w", f.Path, err)
			}
			out[i].Content = merged
		}
	}
	return out, nil
}
