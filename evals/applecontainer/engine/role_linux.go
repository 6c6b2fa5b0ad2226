package engine

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// StateEnv names the state directory.
const StateEnv = "BOTTLE_STANDIN_STATE"

// DefaultState is the state directory when the environment names none.
const DefaultState = "/run/container-standin"

// Role is a part that this program plays besides the command line, told by the
// name it runs under.
type Role string

// The roles.
const (
	RoleServer  Role = "container-apiserver"     // does what the daemon does for one request
	RoleRuntime Role = "container-runtime-linux" // a container's helper
	RoleHook    Role = "container-hook"          // rewrites a specification for Podman
	RoleInit    Role = ".cz-init"                // process 1 of guests with --init
	RoleBuilder Role = "container-builder-shim"  // main process of the builder
	RoleGetent  Role = "getent"                  // looks a name up in the builder
	RoleLookup  Role = "nslookup"                // the same, for other habits
)

// RoleOf is the role that a program's name means, "" for the command line.
func RoleOf(argv0 string) Role {
	switch role := Role(filepath.Base(argv0)); role {
	case RoleServer, RoleRuntime, RoleHook, RoleInit, RoleBuilder, RoleGetent, RoleLookup:
		return role
	default:
		return ""
	}
}

// role is this program in another role, in a session of its own: what ends the
// caller and its process group leaves it alone.
func (e *Engine) role(ctx context.Context, role Role, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, e.self)
	cmd.Args = append([]string{string(role)}, args...)
	cmd.Env = append(os.Environ(), StateEnv+"="+e.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Dir = "/"
	return cmd
}
