package vmguest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// removeBlockDevices takes the engine's disks out of dir and returns how many
// there were. Without CAP_MKNOD nobody in the guest brings them back; what was
// mounted from them stays mounted. That they are gone the self-test proves.
func removeBlockDevices(dir string) (int, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, complain("list "+dir, err)
	}
	removed := 0
	for _, e := range entries {
		if !isBlock(e.Type()) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, complain("remove the device "+path, err)
		}
		removed++
	}
	return removed, nil
}

func isBlock(kind fs.FileMode) bool {
	return kind&fs.ModeDevice != 0 && kind&fs.ModeCharDevice == 0
}
