package world

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Values that the fake Mac tools read at every call; see World.SetMac.
const (
	MacProductVersion = "product-version" // sw_vers -productVersion
	MacSystem         = "system"          // uname -s
	MacMachine        = "machine"         // uname -m
	MacARM64          = "arm64"           // sysctl -n hw.optional.arm64
	MacResolver       = "resolver"        // scutil --dns: addresses, one a line
)

func macDefaults() map[string]string {
	return map[string]string{
		MacProductVersion: "26.1",
		MacSystem:         "Darwin",
		MacMachine:        "arm64",
		MacARM64:          "1",
		MacResolver:       DNSAddress,
	}
}

// The tools are shell scripts: a test changes a file and the next call differs.
const (
	swVers = `#!/bin/sh
version=$(cat '@MAC@/product-version')
case "$*" in
-productVersion | --productVersion) echo "$version" ;;
-productName | --productName) echo macOS ;;
'') printf 'ProductName:\t\tmacOS\nProductVersion:\t\t%s\nBuildVersion:\t\t25B78\n' "$version" ;;
*) echo "sw_vers: no such option: $*" >&2; exit 1 ;;
esac
`
	uname = `#!/bin/sh
case "$*" in
-s | '') cat '@MAC@/system' ;;
-m | -p) cat '@MAC@/machine' ;;
*) exec '@UNAME@' "$@" ;;
esac
`
	sysctl = `#!/bin/sh
case "$*" in
'-n hw.optional.arm64')
	value=$(cat '@MAC@/arm64')
	if [ -z "$value" ]; then
		echo 'sysctl: unknown oid '\''hw.optional.arm64'\' >&2
		exit 1
	fi
	echo "$value" ;;
'-n hw.memsize') echo 17179869184 ;;
'-n hw.ncpu') echo 8 ;;
*) echo "sysctl: unknown oid '$*'" >&2; exit 1 ;;
esac
`
	scutil = `#!/bin/sh
[ "$*" = --dns ] || { echo "scutil: only --dns is known here" >&2; exit 1; }
echo 'DNS configuration'
echo
echo 'resolver #1'
n=0
while read -r address; do
	echo "  nameserver[$n] : $address"
	n=$((n + 1))
done <'@MAC@/resolver'
cat <<'END'
  if_index : 11 (en0)
  flags    : Request A records
  reach    : 0x00020002 (Reachable,Directly Reachable Address)

resolver #2
  domain   : local
  options  : mdns
  timeout  : 5
  flags    : Request A records
  reach    : 0x00000000 (Not Reachable)
  order    : 300000
END
`
	// The backend hands on HOME and PATH only, so the name of the state
	// directory is in the script.
	wrapper = `#!/bin/sh
: "${BOTTLE_STANDIN_STATE:=@STATE@}"
export BOTTLE_STANDIN_STATE
exec '@STANDIN@' "$@"
`
)

// writeTools fills the directory that $PATH begins with.
func (l layout) writeTools() error {
	realUname := find("uname")
	if realUname == "" {
		return fmt.Errorf("uname is missing: apt-get install coreutils")
	}
	fill := strings.NewReplacer("@MAC@", l.mac(), "@UNAME@", realUname, "@STATE@", l.state(), "@STANDIN@", l.standin())
	for name, text := range map[string]string{
		"sw_vers": swVers, "uname": uname, "sysctl": sysctl, "scutil": scutil, "container": wrapper,
	} {
		if err := os.WriteFile(filepath.Join(l.bin(), name), []byte(fill.Replace(text)), 0o755); err != nil {
			return err
		}
	}
	return l.resetMac()
}

func (l layout) resetMac() error {
	for name, value := range macDefaults() {
		if err := l.setMac(name, value); err != nil {
			return err
		}
	}
	return nil
}

func (l layout) setMac(name, value string) error {
	if _, known := macDefaults()[name]; !known {
		return fmt.Errorf("the fake Mac has no value %q", name)
	}
	if value != "" {
		value += "\n"
	}
	return replaceFile(filepath.Join(l.mac(), name), []byte(value))
}

// replaceFile changes a file that others read at any moment.
func replaceFile(path string, data []byte) error {
	// The name begins with a dot: readers of the directory leave it alone.
	temporary := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	if err := os.WriteFile(temporary, data, 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
