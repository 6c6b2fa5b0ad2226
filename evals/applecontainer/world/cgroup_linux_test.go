package world

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestParseTrees(t *testing.T) {
	const second = "30 25 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
	for name, c := range map[string]struct {
		mounts, own string
		want        []hierarchy
	}{
		"version 2 alone": {
			"30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
			"0::/user.slice/session-1.scope\n",
			[]hierarchy{{Mount: "/sys/fs/cgroup", Group: "/sys/fs/cgroup", Unified: true}},
		},
		"both, version 1 wins": {
			"31 25 0:27 / /sys/fs/cgroup/memory rw shared:5 - cgroup cgroup rw,memory\n" +
				"32 25 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n" +
				"33 25 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n" + second,
			"3:memory:/a/b\n2:cpu,cpuacct:/\n1:name=systemd:/init.scope\n0::/\n",
			[]hierarchy{
				{Mount: "/sys/fs/cgroup/memory", Group: "/sys/fs/cgroup/memory/a/b", Options: "memory"},
				{Mount: "/sys/fs/cgroup/cpu,cpuacct", Group: "/sys/fs/cgroup/cpu,cpuacct", Options: "cpu,cpuacct"},
				{Mount: "/sys/fs/cgroup/systemd", Group: "/sys/fs/cgroup/systemd/init.scope", Options: "none,name=systemd"},
			},
		},
		"a container's part of a tree": {
			"31 25 0:27 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
			"3:memory:/docker/abc\n",
			[]hierarchy{{Mount: "/sys/fs/cgroup/memory", Group: "/sys/fs/cgroup/memory", Options: "memory"}},
		},
		"mounted twice": {
			"31 25 0:27 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n31 25 0:27 / /old/pids rw - cgroup cgroup rw,pids\n",
			"3:pids:/\n",
			[]hierarchy{{Mount: "/sys/fs/cgroup/pids", Group: "/sys/fs/cgroup/pids", Options: "pids"}},
		},
		"none":     {"31 25 0:27 / / rw - ext4 /dev/vda rw\n", "0::/\n", nil},
		"nonsense": {"a b c\n- - -\n", "x\n::\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := parseTrees(c.mounts, c.own); !slices.Equal(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestRemoveGroupsTouchesOnlyOurs(t *testing.T) {
	dir := t.TempDir()
	ours, theirs := filepath.Join(dir, groupPrefix+"1"), filepath.Join(dir, "user.slice")
	for _, d := range []string{filepath.Join(ours, "libpod_parent", "c"), theirs} {
		if err := os.MkdirAll(d, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	removeGroups([]hierarchy{{Group: ours}, {Group: theirs}, {Group: filepath.Join(dir, groupPrefix+"gone")}})
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || left[0].Name() != "user.slice" {
		t.Errorf("left are %v, %v", left, err)
	}
}
