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
	removed := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist), err != nil && path != dir:
			return nil // gone, or another user's
		case err != nil:
			return err
		case !isBlock(e.Type()):
			return nil
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { //nolint:gosec // root's /dev, before anybody else runs in the guest
			return err
		}
		removed++
		return nil
	})
	if err != nil {
		return removed, complain("remove the block devices in "+dir, err)
	}
	return removed, nil
}

func isBlock(kind fs.FileMode) bool {
	return kind&fs.ModeDevice != 0 && kind&fs.ModeCharDevice == 0
}
