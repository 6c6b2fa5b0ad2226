package grammar

import (
	"slices"
	"strconv"
	"strings"
)

const ruleMount = "mount"

// The kinds of mounts; "bind" is another word for virtiofs.
const (
	MountVirtiofs = "virtiofs"
	MountTmpfs    = "tmpfs"
	MountVolume   = "volume"
)

// Mount is a place in the guest's file system, from --mount or --volume.
type Mount struct {
	Type    string
	Source  string // a path of the host or a volume's name, "" = an anonymous volume
	Target  string
	Options []string // "ro", "size=BYTES", "mode=…"
}

// ReadOnly is true for a mount that cannot be written to.
func (m Mount) ReadOnly() bool { return slices.Contains(m.Options, "ro") }

// ParseMount reads a value of --mount. Whether a source exists, and is the
// directory that this option asks for, is the caller's to check.
func ParseMount(spec string) (Mount, error) {
	directives, err := mountDirectives(spec)
	if err != nil {
		return Mount{}, err
	}
	m := Mount{Type: directives["type"], Source: directives["source"], Target: directives["destination"]}
	if m.Type == "bind" {
		m.Type = MountVirtiofs
	}
	_, hasSource := directives["source"]
	_, readOnly := directives["ro"]
	size, hasSize := directives["size"]
	mode, hasMode := directives["mode"]
	switch {
	case m.Type != MountVirtiofs && m.Type != MountTmpfs && m.Type != MountVolume:
		return Mount{}, mountFailure("unsupported mount type " + m.Type)
	case m.Type != MountTmpfs && (hasSize || hasMode):
		return Mount{}, mountFailure("size and mode are options of a tmpfs mount, not of " + spec)
	case m.Type == MountTmpfs && hasSource:
		return Mount{}, mountFailure("cannot specify source for tmpfs mount")
	case m.Type == MountVirtiofs && !hasSource:
		return Mount{}, mountFailure(" is not an absolute path on the host")
	case m.Target == "":
		return Mount{}, mountFailure("mount destination cannot be empty")
	case m.Type == MountVolume && hasSource:
		if err := CheckVolumeName(m.Source); err != nil {
			return Mount{}, err
		}
	}
	if readOnly {
		m.Options = append(m.Options, "ro")
	}
	if hasSize {
		bytes, err := ParseMemory(size)
		if err != nil {
			return Mount{}, err
		}
		m.Options = append(m.Options, "size="+strconv.FormatInt(bytes>>20<<20, 10))
	}
	if hasMode {
		m.Options = append(m.Options, "mode="+mode)
	}
	return m, nil
}

// mountDirectives reads the pairs of a --mount under their main names. The
// value of readonly is ignored: readonly=false still means read-only.
func mountDirectives(spec string) (map[string]string, error) {
	parts := splitNonEmpty(spec, ',', -1)
	if len(parts) == 0 {
		return nil, mountFailure("invalid mount format: " + spec)
	}
	directives := map[string]string{"type": MountVirtiofs}
	for _, part := range parts {
		pair := splitNonEmpty(part, '=', 2)
		if len(pair) == 0 {
			return nil, mountFailure("invalid directive format " + part + " in " + spec)
		}
		key := pair[0]
		switch key {
		case "type", "size", "mode":
		case "source", "src":
			key = "source"
		case "destination", "dst", "target":
			key = "destination"
		case "readonly", "ro":
			directives["ro"] = ""
			continue
		default:
			return nil, mountFailure("unknown directive " + key + " when parsing mount " + spec)
		}
		if len(pair) != 2 {
			return nil, mountFailure("invalid directive format missing value " + part + " in " + spec)
		}
		directives[key] = pair[1]
	}
	return directives, nil
}

// ParseVolume reads a value of --volume. A source with a slash, or a name of
// dots, is a path of the host, which is the caller's to look for.
func ParseVolume(spec string) (Mount, error) {
	parts := splitNonEmpty(spec, ':', -1)
	m := Mount{Type: MountVolume}
	switch len(parts) {
	case 1:
		m.Target = parts[0]
		return m, nil
	case 2, 3:
		m.Source, m.Target = parts[0], parts[1]
	default:
		return Mount{}, mountFailure("invalid volume format " + spec)
	}
	if len(parts) == 3 {
		m.Options = splitNonEmpty(parts[2], ',', -1)
	}
	if strings.Contains(m.Source, "/") || m.Source == "." || m.Source == ".." {
		m.Type = MountVirtiofs
	} else if err := CheckVolumeName(m.Source); err != nil {
		return Mount{}, err
	}
	return m, nil
}

func mountFailure(message string) *Refusal {
	return failure(ruleMount, codeInvalidArgument, message)
}
