package archive

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnpackRefuses holds one hostile stream per row: the bad entry is left
// out with a reason, the good one before and after it is unpacked, and nothing
// outside changes.
func TestUnpackRefuses(t *testing.T) {
	tests := map[string]struct {
		bad    []entry
		skip   string // path: reason
		absent string // must not exist in the destination afterwards
	}{
		"absolute name":            {[]entry{file("/outside/passwd", "x")}, "/outside/passwd: its name is absolute", "outside"},
		"dot dot in front":         {[]entry{file("../outside/passwd", "x")}, "../outside/passwd: its name holds '..'", ""},
		"dot dot inside":           {[]entry{file("a/../../outside/passwd", "x")}, "a/../../outside/passwd: its name holds '..'", ""},
		"dot dot directory":        {[]entry{dir("../outside/new")}, "../outside/new: its name holds '..'", ""},
		"absolute symlink":         {[]entry{symlink("l", "/etc/passwd")}, "l: it is a symbolic link to an absolute path", "l"},
		"escaping symlink":         {[]entry{symlink("d/l", "../../outside/passwd")}, "d/l: it is a symbolic link that may lead out of the destination", "d/l"},
		"symlink through symlink":  {[]entry{symlink("d/s", ".."), symlink("y", "d/s/../outside")}, "y: it is a symbolic link that may lead out of the destination", "y"},
		"empty symlink":            {[]entry{symlink("l", "")}, "l: it is a symbolic link without a valid target", "l"},
		"write through own link":   {[]entry{symlink("l", "d"), dir("d"), file("l/f", "x")}, `l/f: "l" on the way to it is not a directory but a link or a file`, "d/f"},
		"directory over own link":  {[]entry{dir("d"), symlink("l", "d"), dir("l")}, `l: "l" on the way to it is not a directory but a link or a file`, ""},
		"parent is a file":         {[]entry{file("f", "x"), file("f/g", "y")}, `f/g: "f" on the way to it is not a directory but a link or a file`, ""},
		"hard link out, relative":  {[]entry{hardLink("h", "../outside/passwd")}, "h: it is a hard link out of the destination", "h"},
		"hard link out, absolute":  {[]entry{hardLink("h", "/etc/passwd")}, "h: it is a hard link out of the destination", "h"},
		"hard link to what was":    {[]entry{hardLink("h", "old")}, "h: it is a hard link to what is not a file of this archive", "h"},
		"hard link behind a link":  {[]entry{hardLink("h", "leak/passwd")}, "h: it is a hard link to what is not a file of this archive", "h"},
		"hard link to a symlink":   {[]entry{symlink("l", "old"), hardLink("h", "l")}, "h: it is a hard link to what is not a file of this archive", "h"},
		"hard link to itself":      {[]entry{hardLink("h", "h")}, "h: it is a hard link to what is not a file of this archive", "h"},
		"hard link to a directory": {[]entry{dir("d"), hardLink("h", "d")}, "h: it is a hard link to what is not a file of this archive", "h"},
		"character device":         {[]entry{special("null", tar.TypeChar)}, "null: it is a device", "null"},
		"block device":             {[]entry{special("sda", tar.TypeBlock)}, "sda: it is a device", "sda"},
		"named pipe":               {[]entry{special("p", tar.TypeFifo)}, "p: it is a named pipe", "p"},
		"unknown kind":             {[]entry{special("u", 'Z')}, `u: its kind "Z" is not known`, "u"},
		"file over a directory":    {[]entry{file("kept", "x")}, "kept: a directory of that name is there", ""},
		"symlink over a directory": {[]entry{symlink("kept", "old")}, "kept: a directory of that name is there", ""},
		"directory over a file":    {[]entry{dir("old")}, `old: "old" on the way to it is not a directory but a link or a file`, ""},
		"existing parent symlink":  {[]entry{file("leak/passwd", "x")}, `leak/passwd: "leak" on the way to it is not a directory but a link or a file`, ""},
		"too deep":                 {[]entry{file(strings.Repeat("d/", 300)+"f", "x")}, "it is nested deeper than 256 directories", "d"},
		"too long":                 {[]entry{file(strings.Repeat("d", 5000), "x")}, "its name is longer than 4096 bytes", ""},
		"element too long":         {[]entry{file(strings.Repeat("d", 300), "x")}, "it cannot be written: file name too long", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := newArena(t)
			must(t, os.WriteFile(filepath.Join(a.dst, "old"), []byte("old"), 0o600))
			must(t, os.Mkdir(filepath.Join(a.dst, "kept"), 0o755))
			must(t, os.Symlink(a.outside, filepath.Join(a.dst, "leak")))
			all := append([]entry{file("first", "1")}, tt.bad...)
			report, err := a.unpack(stream(t, append(all, file("last", "2"))...), UnpackOptions{})
			must(t, err)
			a.intact()
			if len(report.Skipped) != 1 || !strings.Contains(reasons(report), tt.skip) {
				t.Errorf("skipped %q, want one: %q", reasons(report), tt.skip)
			}
			for _, good := range []string{"first", "last"} {
				if _, err := os.Lstat(filepath.Join(a.dst, good)); err != nil {
					t.Errorf("the good entry is missing: %v", err)
				}
			}
			if old, err := os.ReadFile(filepath.Join(a.dst, "old")); err != nil || string(old) != "old" {
				t.Errorf("the old file is %q, %v", old, err)
			}
			if tt.absent == "" {
				return
			}
			if _, err := os.Lstat(filepath.Join(a.dst, tt.absent)); err == nil {
				t.Errorf("%s was unpacked", tt.absent)
			}
		})
	}
}

func TestUnpackReplaces(t *testing.T) {
	tests := map[string]struct {
		there func(a *arena) error
		with  entry
		want  string // content or link target
	}{
		"file by file": {func(a *arena) error { return os.WriteFile(filepath.Join(a.dst, "x"), []byte("old and longer"), 0o600) }, file("x", "new"), "new"},
		"link out by file": {func(a *arena) error {
			return os.Symlink(filepath.Join(a.outside, "passwd"), filepath.Join(a.dst, "x"))
		}, file("x", "new"), "new"},
		"hard link out by file": {func(a *arena) error {
			return os.Link(filepath.Join(a.outside, "passwd"), filepath.Join(a.dst, "x"))
		}, file("x", "new"), "new"},
		"dangling link by file": {func(a *arena) error {
			return os.Symlink(filepath.Join(a.outside, "absent"), filepath.Join(a.dst, "x"))
		}, file("x", "new"), "new"},
		"file by link": {func(a *arena) error { return os.WriteFile(filepath.Join(a.dst, "x"), nil, 0o600) }, symlink("x", "y"), "y"},
		"link by link": {func(a *arena) error { return os.Symlink(a.outside, filepath.Join(a.dst, "x")) }, symlink("x", "y"), "y"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := newArena(t)
			must(t, tt.there(a))
			report, err := a.unpack(stream(t, tt.with), UnpackOptions{})
			must(t, err)
			a.intact()
			got, err := os.Readlink(filepath.Join(a.dst, "x"))
			if err != nil {
				data, readErr := os.ReadFile(filepath.Join(a.dst, "x"))
				must(t, readErr)
				got = string(data)
			}
			if got != tt.want || len(report.Skipped) != 0 {
				t.Errorf("x is %q, skipped %q; want %q", got, reasons(report), tt.want)
			}
			if names, _ := filepath.Glob(filepath.Join(a.dst, ".bottle-*")); len(names) != 0 {
				t.Errorf("temporary files are left: %v", names)
			}
		})
	}
}

// TestAnyLinks shows that links go anywhere only where that is asked for, and
// that even then nothing is written through them.
func TestAnyLinks(t *testing.T) {
	a := newArena(t)
	data := stream(t, symlink("l", a.outside), file("l/passwd", "x"), symlink("up", "../outside"))
	report, err := a.unpack(data, UnpackOptions{AnyLinks: true})
	must(t, err)
	a.intact()
	if target, _ := os.Readlink(filepath.Join(a.dst, "l")); target != a.outside {
		t.Errorf("l points to %q", target)
	}
	if report.Symlinks != 2 || len(report.Skipped) != 1 || report.Skipped[0].Path != "l/passwd" {
		t.Errorf("report %+v", report)
	}
}

func TestSetIDBitsAreDropped(t *testing.T) {
	a := newArena(t)
	suid := file("suid", "x")
	suid.Mode = 0o6755
	sticky := dir("sticky")
	sticky.Mode = 0o3777
	report, err := a.unpack(stream(t, suid, sticky), UnpackOptions{})
	must(t, err)
	for name, want := range map[string]os.FileMode{"suid": 0o755, "sticky": os.ModeDir | 0o777} {
		info, err := os.Stat(filepath.Join(a.dst, name))
		must(t, err)
		if info.Mode() != want {
			t.Errorf("%s has mode %s, want %s", name, info.Mode(), want)
		}
	}
	if got := reasons(report); got != "suid: "+reasonSetID+"\n" {
		t.Errorf("report says %q", got)
	}
}

func TestCheckLink(t *testing.T) {
	tests := []struct {
		target string
		depth  int
		ok     bool
	}{
		{"a", 0, true},
		{"./a/b", 0, true},
		{"..", 1, true},
		{"../..", 2, true},
		{"../x", 1, true},
		{"a/", 0, true},
		{"..", 0, false},
		{"../..", 1, false},
		{"./../x", 0, false},
		{"a/../b", 0, false},
		{"a/../..", 5, false},
		{"../a/..", 5, false},
		{"/", 9, false},
		{"//x", 9, false},
	}
	for _, tt := range tests {
		t.Run(tt.target, func(t *testing.T) {
			if err := checkLink(tt.target, tt.depth); (err == nil) != tt.ok {
				t.Errorf("checkLink(%q, %d) = %v, want ok %v", tt.target, tt.depth, err, tt.ok)
			}
		})
	}
}
