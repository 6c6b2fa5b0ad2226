package vmguest

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRemoveBlockDevices(t *testing.T) {
	dir := t.TempDir()
	node := func(name string, mode uint32, dev uint64) {
		if err := unix.Mknod(filepath.Join(dir, name), mode|0o600, int(dev)); err != nil {
			t.Skipf("needs the right to make device nodes: %v", err)
		}
	}
	node("vda", unix.S_IFBLK, unix.Mkdev(254, 0))
	if err := os.Mkdir(filepath.Join(dir, "mapper"), 0o700); err != nil {
		t.Fatal(err)
	}
	node("mapper/disk", unix.S_IFBLK, unix.Mkdev(254, 1))
	node("null", unix.S_IFCHR, unix.Mkdev(1, 3))
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{2, 0} {
		if n, err := removeBlockDevices(dir); n != want || err != nil {
			t.Errorf("removed %d, %v; want %d", n, err, want)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 3 {
		t.Errorf("left are %v, %v", left, err)
	}
	if n, err := removeBlockDevices(filepath.Join(dir, "missing")); n != 0 || err != nil {
		t.Errorf("a missing directory gives %d, %v", n, err)
	}
}
