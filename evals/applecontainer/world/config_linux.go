package world

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Podman's configuration. It reads /usr/share/containers/containers.conf
// first, which belongs to the distribution and stays.
const (
	storageConf = `[storage]
driver = "overlay"
graphroot = "/var/lib/containers/storage"
runroot = "/run/containers/storage"
`
	// No registry is ever asked: a name that is not here does not exist.
	registriesConf = `unqualified-search-registries = []
short-name-mode = "enforcing"

[[registry]]
prefix = "*.io"
location = "registry.invalid"
blocked = true
`
	policyJSON = `{"default": [{"type": "insecureAcceptAnything"}]}
`
	containersConf = `[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=%d:%d", "nproc=%d:%d"]

[network]
network_backend = "netavark"

[engine]
runtime = "crun"
cgroup_manager = "cgroupfs"
events_logger = "file"
`
)

// writeConfig fills /etc/containers and the files of name resolution.
func (l layout) writeConfig() error {
	nofile, err := ceiling(unix.RLIMIT_NOFILE)
	if err != nil {
		return err
	}
	nproc, err := ceiling(unix.RLIMIT_NPROC)
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		"etc-containers/storage.conf":    storageConf,
		"etc-containers/registries.conf": registriesConf,
		"etc-containers/policy.json":     policyJSON,
		"etc-containers/containers.conf": fmt.Sprintf(containersConf, nofile, nofile, nproc, nproc),
		"resolv.conf":                    "nameserver " + DNSAddress + "\n",
		"hosts":                          "127.0.0.1 localhost\n::1 localhost\n",
	} {
		if err := os.WriteFile(l.path(name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// ceiling is a limit that root may set without CAP_SYS_RESOURCE: Podman asks
// for more than the hard limit otherwise, and the runtime refuses to start.
func ceiling(resource int) (uint64, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(resource, &limit); err != nil {
		return 0, fmt.Errorf("a resource limit cannot be read: %w", err)
	}
	return min(limit.Max, 4096), nil
}
