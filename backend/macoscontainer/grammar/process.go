package grammar

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

const (
	ruleUlimit     = "ulimit"
	ruleCapability = "capability"
	rulePath       = "path"
)

// Ulimit is a limit of the guest's process; the largest number is no limit.
type Ulimit struct {
	Type       string // lower case, such as "nofile"
	Soft, Hard uint64
}

// ParseUlimit reads a value of --ulimit.
func ParseUlimit(spec string) (Ulimit, error) {
	invalid := failure(ruleUlimit, codeInvalidArgument, "invalid ulimit format '"+spec+"': expected <type>=<soft>[:<hard>]")
	parts := splitNonEmpty(spec, '=', 1)
	if len(parts) != 2 {
		return Ulimit{}, invalid
	}
	u := Ulimit{Type: strings.ToLower(parts[0])}
	if !slices.Contains(ulimitTypes(), u.Type) {
		return Ulimit{}, failure(ruleUlimit, codeInvalidArgument, "unsupported ulimit type '"+u.Type+"'")
	}
	values := splitNonEmpty(parts[1], ':', 1)
	if len(values) == 0 {
		return Ulimit{}, invalid
	}
	var softOK, hardOK bool
	u.Soft, softOK = ulimitValue(values[0])
	u.Hard, hardOK = ulimitValue(values[len(values)-1])
	if !softOK || !hardOK || u.Soft > u.Hard {
		return Ulimit{}, failure(ruleUlimit, codeInvalidArgument, "invalid ulimit value '"+parts[1]+"' for '"+u.Type+"'")
	}
	return u, nil
}

func ulimitTypes() []string {
	return strings.Fields("core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack")
}

func ulimitValue(text string) (uint64, bool) {
	text = strings.ToLower(strings.Trim(text, " \t"))
	if text == "unlimited" || text == "-1" {
		return math.MaxUint64, true
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(text, "+"), 10, 64)
	return n, err == nil
}

// checkUlimits applies what holds for all values of --ulimit together.
func checkUlimits(specs []string) error {
	seen := map[string]bool{}
	for _, spec := range specs {
		u, err := ParseUlimit(spec)
		if err != nil {
			return err
		}
		if seen[u.Type] {
			return failure(ruleUlimit, codeInvalidArgument, "duplicate ulimit type: "+u.Type)
		}
		seen[u.Type] = true
	}
	return nil
}

// User is who a command line lets the guest's process be.
type User struct {
	// Name is resolved in the guest: a user or number, and a group or number.
	Name string
	// UID and GID are those of a user given by both numbers.
	UID, GID uint32
	// Default is true when it is left to the image, or to the container.
	Default bool
	// Groups are added to the user's.
	Groups []uint32
}

// ParseUser reads --user, --uid and --gid, which the parser has checked, the
// way the program combines them: a name wins, a number alone is a name, and a
// group alone only adds to the default user's.
func ParseUser(p Parsed) User {
	if name, _ := p.Last("user"); name != "" {
		return User{Name: name}
	}
	uid, hasUID := lastID(p, "uid")
	gid, hasGID := lastID(p, "gid")
	switch {
	case hasUID && hasGID:
		return User{UID: uid, GID: gid}
	case hasUID:
		return User{Name: strconv.FormatUint(uint64(uid), 10)}
	case hasGID:
		return User{Default: true, Groups: []uint32{gid}}
	default:
		return User{Default: true}
	}
}

func lastID(p Parsed, option string) (uint32, bool) {
	text, given := p.Last(option)
	id, err := strconv.ParseUint(strings.TrimPrefix(text, "+"), 10, 32)
	return uint32(id), given && err == nil
}

// checkCapability accepts a capability with or without its prefix, in any case.
func checkCapability(name string) error {
	upper := strings.TrimPrefix(strings.ToUpper(name), "CAP_")
	if strings.ToUpper(name) == "ALL" || slices.Contains(capabilities(), upper) {
		return nil
	}
	return failure(ruleCapability, codeInvalidArgument, "unknown capability "+name)
}

// capabilities are those that Linux knows, without their prefix.
func capabilities() []string {
	return strings.Fields(`CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP
		LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE
		SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME
		SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG
		WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`)
}

// checkHiddenPath accepts an absolute path, or the word that empties the list.
func checkHiddenPath(path string) error {
	trimmed := strings.Trim(path, " \t")
	if strings.HasPrefix(trimmed, "/") || strings.EqualFold(trimmed, "NONE") {
		return nil
	}
	return failure(rulePath, codeInvalidArgument, "invalid path '"+path+"': path must be absolute, or the NONE sentinel")
}
