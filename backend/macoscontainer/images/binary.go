package images

import (
	"debug/buildinfo"
	"debug/elf"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
)

// modulePath is what a build of this program says of itself.
const modulePath = "github.com/bottle-mcp/bottle-mcp"

// maxBinary bounds what is taken for a build of this program.
const maxBinary = 512 << 20

// inspectBinary makes sure that a file is a linux build of this program that
// runs in an empty root filesystem, and returns what it says of its making.
func inspectBinary(path, arch string) (*debug.BuildInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the linux build of this program: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxBinary {
		return nil, fmt.Errorf("%s is not a program file", path)
	}
	if info.Mode()&0o111 == 0 {
		return nil, fmt.Errorf("%s is not executable: run `chmod 755` on it", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the linux build of this program: %w", err)
	}
	defer func() { _ = f.Close() }()
	if err := checkELF(f, arch); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	build, err := buildinfo.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s does not say what it is: %w", path, err)
	}
	if build.Main.Path != modulePath {
		return nil, fmt.Errorf("%s is a build of %.100q, not of %s", path, build.Main.Path, modulePath)
	}
	return build, nil
}

// checkELF refuses what a guest's kernel would not run, and what needs a loader
// or libraries: there are none in the sidecar, and others in the agent.
func checkELF(f *os.File, arch string) error {
	machine, ok := map[string]elf.Machine{"arm64": elf.EM_AARCH64, "amd64": elf.EM_X86_64}[arch]
	if !ok {
		return fmt.Errorf("guests of architecture %.20q are not supported", arch)
	}
	program, err := elf.NewFile(f)
	if err != nil {
		return fmt.Errorf("not a linux program: %w", err)
	}
	defer func() { _ = program.Close() }()
	if program.Machine != machine || program.Class != elf.ELFCLASS64 || program.Data != elf.ELFDATA2LSB {
		return fmt.Errorf("it is for %s, guests are %s", program.Machine, machine)
	}
	if program.Type != elf.ET_EXEC && program.Type != elf.ET_DYN {
		return fmt.Errorf("it is no executable but %s", program.Type)
	}
	for _, segment := range program.Progs {
		if segment.Type == elf.PT_INTERP {
			return fmt.Errorf("it is linked dynamically, so it does not run in an empty root: build it with CGO_ENABLED=0")
		}
	}
	return nil
}

// differs says what tells two builds apart; "" when nothing that both know
// does. Test binaries and `go run` know neither version nor revision.
func differs(host, guest *debug.BuildInfo) string {
	if h, g := setting(host, "vcs.revision"), setting(guest, "vcs.revision"); h != "" && g != "" && h != g {
		return fmt.Sprintf("the host's revision is %.40s, the linux build's %.40s", h, g)
	}
	if h, g := version(host), version(guest); h != "" && g != "" && h != g {
		return fmt.Sprintf("the host's version is %.60s, the linux build's %.60s", h, g)
	}
	return ""
}

// version is a release's or a commit's. Whether the tree had changes is left
// out: a number cannot tell one set of changes from another.
func version(build *debug.BuildInfo) string {
	if build.Main.Version == "(devel)" {
		return ""
	}
	return strings.TrimSuffix(build.Main.Version, "+dirty")
}

func setting(build *debug.BuildInfo, key string) string {
	for _, s := range build.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}
