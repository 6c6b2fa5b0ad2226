package manifest

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// othersWrite are the bits that let somebody else than the owner write.
const othersWrite fs.FileMode = 0o022

// trusted refuses a file or directory that somebody else could have written, as
// ssh does with its own: what stands there decides where credentials go.
func trusted(path string, info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&othersWrite != 0 {
		return &Error{File: path, Problem: fmt.Sprintf("others may write to it (mode %04o), and it decides what bottles may do", mode), Hint: "run: chmod go-w " + path}
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return &Error{File: path, Problem: "its owner cannot be found out", Hint: "put it on a file system that knows owners"}
	}
	if me := os.Geteuid(); stat.Uid != 0 && int64(stat.Uid) != int64(me) {
		return &Error{File: path, Problem: fmt.Sprintf("it belongs to user %d, who could change what bottles may do; you are user %d", stat.Uid, me), Hint: fmt.Sprintf("copy it, or run: chown %d %s", me, path)}
	}
	return nil
}

// trustedDir checks a directory. A missing one holds nothing to be trusted.
func trustedDir(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return nil //nolint:nilerr // whatever is wrong with it is met when a file in it is opened
	}
	if !info.IsDir() {
		return &Error{File: path, Problem: "it is no directory", Hint: "move it away; manifests are files in directories " + bottlesDir + " and " + agentsDir}
	}
	return trusted(path, info)
}
