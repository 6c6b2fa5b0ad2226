package starter

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/bottle-mcp/bottle-mcp/provision/manifest"
)

// Bounds of the look at a project, whose files may be anybody's.
const (
	maxEntries = 20_000
	maxConfig  = 256 << 10
	maxNamed   = 20
)

// Project is what was found in a directory.
type Project struct {
	Found []Found
	// Named are hosts that are not in the table, for a person to decide about.
	Named []NamedHost
}

// Found is a kind of project and the file that shows it.
type Found struct {
	Kind

	Marker string
}

// NamedHost is a host that a file of the project or a variable of the operator
// names.
type NamedHost struct {
	Host string
	Port int    // 0 = the scheme's own
	By   string // ".npmrc line 3", or "GOPROXY of your environment"
	// Variable is set when a variable names it: a bottle needs that as well.
	Variable string
}

// Detect looks at the top level of a directory. lookupEnv reads the operator's
// environment, as os.LookupEnv does.
func Detect(dir string, lookupEnv func(string) (string, bool)) (Project, error) {
	var p Project
	root, err := os.OpenRoot(dir)
	if err != nil {
		return p, fmt.Errorf("the project %s cannot be read: %w", dir, err)
	}
	defer func() { _ = root.Close() }()
	names, err := entries(root)
	if err != nil {
		return p, fmt.Errorf("the project %s cannot be read: %w", dir, err)
	}
	for _, k := range kinds() {
		marker := k.marker(names)
		if marker == "" {
			continue
		}
		p.Found = append(p.Found, Found{k, marker})
		for _, c := range k.config {
			p.fromConfig(root, c)
		}
		for _, name := range k.mirrors {
			if value, ok := lookupEnv(name); ok {
				p.fromText(value, NamedHost{By: name + " of your environment", Variable: name})
			}
		}
	}
	return p, nil
}

// entries lists the names in a directory.
func entries(root *os.Root) ([]string, error) {
	d, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	names, err := d.Readdirnames(maxEntries)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	slices.Sort(names)
	return names, err
}

// plain are names that can stand in a manifest's comment: a line end in one
// would end the comment.
var plain = regexp.MustCompile(`^[A-Za-z0-9._-]{1,80}$`)

// marker is the file that shows the kind, "" when there is none.
func (k Kind) marker(names []string) string {
	for _, pattern := range k.markers {
		for _, name := range names {
			if ok, err := path.Match(pattern, name); ok && err == nil && plain.MatchString(name) {
				return name
			}
		}
	}
	return ""
}

// fromConfig reads the hosts that a file of the project names. One that cannot
// be read names none.
func (p *Project) fromConfig(root *os.Root, c configFile) {
	f, err := root.OpenFile(c.name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || info.Mode()&fs.ModeType != 0 {
		return
	}
	data, err := io.ReadAll(io.LimitReader(f, maxConfig))
	if err != nil {
		return
	}
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		if c.line.MatchString(line) {
			p.fromText(line, NamedHost{By: c.name + " line " + strconv.Itoa(number)})
		}
	}
}

var address = regexp.MustCompile(`https?://[^\s"'<>,|]+`)

// fromText takes the hosts out of addresses, and nothing else of them: there
// may be a password in one.
func (p *Project) fromText(text string, as NamedHost) {
	for _, found := range address.FindAllString(text, maxNamed) {
		u, err := url.Parse(found)
		if err != nil {
			continue
		}
		as.Host = strings.ToLower(u.Hostname())
		as.Port, _ = strconv.Atoi(u.Port()) // none is 0
		p.add(as)
	}
}

// add takes a host that a manifest can name and nobody has named before.
func (p *Project) add(h NamedHost) {
	known := slices.ContainsFunc(kinds(), func(k Kind) bool { return slices.Contains(k.hosts, h.Host) }) ||
		slices.ContainsFunc(p.Named, func(o NamedHost) bool { return o.Host == h.Host && o.Port == h.Port })
	if known || len(p.Named) == maxNamed || !strings.Contains(h.Host, ".") || h.Port < 0 || h.Port > 65535 || manifest.CheckHost(h.Host) != nil {
		return
	}
	p.Named = append(p.Named, h)
}

// Name makes the name of a manifest from that of a directory.
func Name(dir string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(path.Base(dir)) {
		switch {
		case 'a' <= r && r <= 'z', b.Len() > 0 && '0' <= r && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() == maxName {
			break
		}
	}
	name := strings.Trim(b.String(), "-")
	// "default" is the bottle that everybody gets who names none.
	if name == "" || name == manifest.DefaultBottle {
		return "project"
	}
	return name
}

// maxName keeps derived names short enough to type.
const maxName = 40
