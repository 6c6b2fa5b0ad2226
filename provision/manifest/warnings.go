package manifest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Warnings says what in a workspace is ignored although somebody put it there.
func (l Loader) Warnings(workspace string) []string {
	own := filepath.Join(workspace, DirName)
	if workspace == "" || own == filepath.Clean(l.Home) {
		return nil
	}
	var out []string
	dir := filepath.Join(own, bottlesDir)
	if _, err := os.Lstat(dir); err == nil {
		out = append(out, dir+" is ignored: bottles are read from the operator's home only")
	}
	home := names(filepath.Join(l.Home, agentsDir))
	for _, name := range names(filepath.Join(own, agentsDir)) {
		if slices.Contains(home, name) {
			out = append(out, fmt.Sprintf("agent %q of the workspace is ignored: the operator's home has one of that name", name))
		}
	}
	return append(out, skipped(filepath.Join(own, agentsDir))...)
}

// Skipped says which files of the home are not read although they look like
// manifests: names that cannot be chosen, other suffixes, the old format.
func (l Loader) Skipped() []string {
	out := l.stale()
	for _, dir := range []string{bottlesDir, agentsDir} {
		out = append(out, skipped(filepath.Join(l.Home, dir))...)
	}
	return out
}

// skipped lists the files of a directory whose names are in the way.
func skipped(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		name, isMarkdown := strings.CutSuffix(e.Name(), suffix)
		switch ext := strings.ToLower(filepath.Ext(e.Name())); {
		case strings.HasPrefix(e.Name(), "."):
		case isMarkdown && !ValidName(name):
			out = append(out, fmt.Sprintf("%q is skipped: the name of a manifest has a-z, 0-9 and '-' and begins with a letter", path))
		case !isMarkdown && slices.Contains([]string{suffix, ".markdown", ".yaml", ".yml", ".json", ".toml"}, ext):
			out = append(out, fmt.Sprintf("%q is skipped: a manifest's file ends in %s", path, suffix))
		}
	}
	return out
}

// stale finds manifests of bot-bottle's first format, one JSON file for all.
func (l Loader) stale() []string {
	parent, base := filepath.Split(filepath.Clean(l.Home))
	found, _ := filepath.Glob(filepath.Join(escapeGlob(l.Home), "*.json")) // the pattern is well formed
	for _, name := range []string{base + ".json", strings.TrimPrefix(base, ".") + ".json"} {
		found = append(found, filepath.Join(parent, name))
	}
	var out []string
	for _, path := range found {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && !strings.HasSuffix(path, ".schema.json") {
			out = append(out, fmt.Sprintf("%q is in the old format of one JSON file and is not read: write each bottle to %s and each agent to %s",
				path, filepath.Join(l.Home, bottlesDir, "NAME"+suffix), filepath.Join(l.Home, agentsDir, "NAME"+suffix)))
		}
	}
	if info, err := os.Stat(l.Home); err == nil && !info.IsDir() {
		out = append(out, fmt.Sprintf("%q is a file and not read: it must be a directory with %s and %s", l.Home, bottlesDir, agentsDir))
	}
	return out
}

// escapeGlob makes a path match itself in a pattern.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}
