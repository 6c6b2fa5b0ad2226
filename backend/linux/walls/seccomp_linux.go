package walls

import (
	"fmt"
	"slices"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	moby "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// guestDenied are calls Moby's profile allows that a bottle has no use for.
// They are attack surface of the shared kernel.
var guestDenied = []string{
	"io_uring_setup", "io_uring_enter", "io_uring_register",
	"add_key", "keyctl", "request_key",
	"userfaultfd", "bpf", "perf_event_open",
	"name_to_handle_at", "open_by_handle_at",
	"init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load",
}

// jailDenied are calls the sidecar never makes: it starts no program, traces
// nothing and has no local sockets to talk to.
func jailDenied() []string {
	return append([]string{
		"execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev",
		"process_madvise", "kcmp", "pidfd_getfd", "shmget", "shmat", "shmctl", "msgget",
		"semget", "mq_open", "socketpair", "memfd_create", "memfd_secret",
		"chroot", "setuid", "setgid", "setgroups", "setresuid", "setresgid",
	}, guestDenied...)
}

// GuestFilter is the seccomp policy of everything in a guest: Moby's default
// profile without any capability, less guestDenied. clone3 answers ENOSYS,
// since a filter cannot see its flags and the C libraries then use clone.
func GuestFilter() (*seccomp.Policy, error) { return policy(guestDenied, nil) }

// JailFilter is the seccomp policy of a sidecar: the guest's, less what a
// network daemon has no use for, sockets of the Internet families and of
// netlink's routing protocol only. With execveat still needed to enter the
// second stage it is loaded there.
func JailFilter() (*seccomp.Policy, error) {
	return policy(jailDenied(), []seccomp.NameWithConditions{
		{Name: "socket", Conditions: equal(0, unix.AF_INET)},
		{Name: "socket", Conditions: equal(0, unix.AF_INET6)},
		{Name: "socket", Conditions: append(equal(0, unix.AF_NETLINK), equal(2, unix.NETLINK_ROUTE)...)},
	})
}

func equal(arg uint32, value uint64) seccomp.ArgumentConditions {
	return seccomp.ArgumentConditions{{Argument: arg, Operation: seccomp.Equal, Value: value}}
}

// LoadSeccomp installs p on the calling thread, or on all threads when sync.
// no_new_privs must be set.
func LoadSeccomp(p *seccomp.Policy, sync bool) error {
	f := seccomp.Filter{Policy: *p}
	if sync {
		f.Flag = seccomp.FilterFlagTSync
	}
	if err := seccomp.LoadFilter(f); err != nil {
		return fmt.Errorf("load the seccomp filter: %w", err)
	}
	return nil
}

// policy compiles Moby's profile for this architecture. socket, when given,
// replaces the profile's rules for socket.
func policy(denied []string, socket []seccomp.NameWithConditions) (*seccomp.Policy, error) {
	noCaps := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{}}}
	prof, err := moby.GetDefaultProfile(noCaps)
	if err != nil {
		return nil, fmt.Errorf("read the seccomp profile: %w", err)
	}
	if prof.DefaultAction != specs.ActErrno {
		return nil, fmt.Errorf("seccomp profile's default action is %s: only %s is understood", prof.DefaultAction, specs.ActErrno)
	}
	info, err := arch.GetInfo("")
	if err != nil {
		return nil, fmt.Errorf("look up the system call table: %w", err)
	}
	c := compiler{known: info.SyscallNames, plain: map[string]bool{}, denied: denied}
	if socket != nil {
		c.denied = append(slices.Clone(denied), "socket")
	}
	for i := range prof.Syscalls {
		if err := c.add(&prof.Syscalls[i]); err != nil {
			return nil, err
		}
	}
	c.cond = append(c.cond, socket...)
	return c.policy(), nil
}

// compiler gathers rules: system calls allowed outright, allowed under
// conditions, and refused with ENOSYS.
type compiler struct {
	known  map[string]int
	denied []string
	plain  map[string]bool
	order  []string
	cond   []seccomp.NameWithConditions
	nosys  []string
}

func (c *compiler) add(rule *specs.LinuxSyscall) error {
	for _, name := range rule.Names {
		if _, ok := c.known[name]; !ok || slices.Contains(c.denied, name) {
			continue // not a call of this architecture, or not wanted
		}
		switch {
		case rule.Action == specs.ActErrno:
			if rule.ErrnoRet != nil && *rule.ErrnoRet == uint(unix.ENOSYS) {
				c.nosys = append(c.nosys, name)
			}
		case rule.Action != specs.ActAllow:
			return fmt.Errorf("seccomp profile: action %s of %s is not understood", rule.Action, name)
		case len(rule.Args) == 0:
			if !c.plain[name] {
				c.plain[name] = true
				c.order = append(c.order, name)
			}
		default:
			conds, err := conditions(rule.Args)
			if err != nil {
				return fmt.Errorf("seccomp profile: rule of %s: %w", name, err)
			}
			c.cond = append(c.cond, seccomp.NameWithConditions{Name: name, Conditions: conds})
		}
	}
	return nil
}

func conditions(args []specs.LinuxSeccompArg) (seccomp.ArgumentConditions, error) {
	ops := map[specs.LinuxSeccompOperator]seccomp.Operation{
		specs.OpEqualTo: seccomp.Equal, specs.OpNotEqual: seccomp.NotEqual,
		specs.OpLessThan: seccomp.LessThan, specs.OpLessEqual: seccomp.LessOrEqual,
		specs.OpGreaterThan: seccomp.GreaterThan, specs.OpGreaterEqual: seccomp.GreaterOrEqual,
	}
	var out seccomp.ArgumentConditions
	for _, a := range args {
		op, ok := ops[a.Op]
		if a.Op == specs.OpMaskedEqual && a.ValueTwo == 0 {
			op, ok = seccomp.BitsNotSet, true
		}
		if !ok {
			// A rule that is dropped or bent would open or close the wall silently.
			return nil, fmt.Errorf("operator %s with mask result %d is not understood", a.Op, a.ValueTwo)
		}
		out = append(out, seccomp.Condition{Argument: uint32(a.Index), Operation: op, Value: a.Value}) //nolint:gosec // index is 0..5
	}
	return out, nil
}

func (c *compiler) policy() *seccomp.Policy {
	c.cond = slices.DeleteFunc(c.cond, func(n seccomp.NameWithConditions) bool { return c.plain[n.Name] })
	p := &seccomp.Policy{DefaultAction: seccomp.ActionErrno}
	if len(c.nosys) > 0 {
		enosys := seccomp.Action(uint32(seccomp.ActionErrno)&0xffff0000 | uint32(unix.ENOSYS))
		p.Syscalls = append(p.Syscalls, seccomp.SyscallGroup{Names: slices.Compact(c.nosys), Action: enosys})
	}
	p.Syscalls = append(p.Syscalls, seccomp.SyscallGroup{Names: c.order, NamesWithCondtions: c.cond, Action: seccomp.ActionAllow})
	return p
}
