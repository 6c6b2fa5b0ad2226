package engine

import (
	"slices"
	"strconv"
	"strings"
)

// account is a line of passwd.
type account struct {
	name     string
	uid, gid uint32
}

// accounts reads a passwd file, which the guest may have filled with anything.
func accounts(passwd string) []account {
	var out []account
	for line := range strings.Lines(passwd) {
		fields := strings.Split(strings.TrimRight(line, "\n"), ":")
		if len(fields) < 4 {
			continue
		}
		uid, uidErr := number(fields[2])
		gid, gidErr := number(fields[3])
		if uidErr == nil && gidErr == nil {
			out = append(out, account{fields[0], uid, gid})
		}
	}
	return out
}

// group is a line of group.
type group struct {
	name    string
	gid     uint32
	members []string
}

func groups(text string) []group {
	var out []group
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimRight(line, "\n"), ":")
		if len(fields) < 4 {
			continue
		}
		if gid, err := number(fields[2]); err == nil {
			out = append(out, group{fields[0], gid, strings.Split(fields[3], ",")})
		}
	}
	return out
}

func number(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err
}

// lookup resolves NAME|UID[:GROUP|GID] with a guest's files. A number needs no
// line; its group is that of its line, else 0.
func lookup(who, passwd, groupFile string) (uid, gid uint32, more []uint32, err error) {
	name, groupName, hasGroup := strings.Cut(who, ":")
	found := account{name: name}
	uid, numberErr := number(name)
	all := accounts(passwd)
	at := slices.IndexFunc(all, func(a account) bool { return a.name == name || (numberErr == nil && a.uid == uid) })
	switch {
	case at >= 0:
		found = all[at]
	case numberErr == nil:
		found.uid = uid
	default:
		return 0, 0, nil, Failf(InvalidArgument, "unable to find user %s", name)
	}
	every := groups(groupFile)
	if hasGroup {
		found.gid, err = lookupGroup(groupName, every)
		return found.uid, found.gid, nil, err
	}
	for _, g := range every {
		if slices.Contains(g.members, found.name) && g.gid != found.gid {
			more = append(more, g.gid)
		}
	}
	return found.uid, found.gid, more, nil
}

func lookupGroup(name string, all []group) (uint32, error) {
	for _, g := range all {
		if g.name == name {
			return g.gid, nil
		}
	}
	gid, err := number(name)
	if err != nil {
		return 0, Failf(InvalidArgument, "unable to find group %s", name)
	}
	return gid, nil
}
