package selftest

import "slices"

// Names of the checks, in the order of the report.
const (
	nameTCP4       = "tcp4-direct"
	nameTCP6       = "tcp6-direct"
	nameUDP        = "udp53-direct"
	nameMetadata   = "metadata"
	nameHost       = "host-addresses"
	nameLinkLocal  = "link-local"
	nameInterfaces = "interfaces"
	nameRoutes     = "routes"
	nameGateway    = "gateway"
	nameResolver   = "gateway-resolver"
	namePeers      = "peers"
	nameIPv6       = "ipv6"
	nameSidecar    = "sidecar-ports"
	nameDNS        = "dns"
	nameNNP        = "no-new-privs"
	nameSeccomp    = "seccomp"
	nameCaps       = "capabilities"
	nameInit       = "init-walls"
	nameUID        = "uid"
	nameGain       = "privilege-gain"
	nameUserNS     = "user-namespace"
	nameNetConfig  = "network-config"
	nameMount      = "mount"
	nameRaw        = "raw-sockets"
	nameTrace      = "trace-init"
	nameVsock      = "vsock"
	nameSecrets    = "host-secrets"
	nameSockets    = "host-sockets"
	nameAbstract   = "abstract-sockets"
	nameProcesses  = "processes"
	nameKernel     = "kernel-files"
	nameDevices    = "devices"
	nameProxy      = "proxy-answers"
	nameUnlisted   = "unlisted-refused"
	nameAllowed    = "allowed-answers"
)

// Names lists the checks that Run makes for spec, in order. A result without
// one of them proves nothing. A check that makes no sense for a kind of guest
// is not in its list: it would be green whatever happened.
func Names(spec Spec) []string {
	if spec.Nested {
		return []string{nameNetConfig}
	}
	names := append(networkChecks(spec), nameDNS)
	names = append(names, wallChecks(spec)...)
	names = append(names, nameSecrets, nameSockets, nameAbstract, nameProcesses, nameKernel, nameDevices)
	if spec.ProxyURL != "" {
		names = append(names, nameProxy, nameUnlisted)
		if spec.AllowedHost != "" {
			names = append(names, nameAllowed)
		}
	}
	return names
}

func networkChecks(spec Spec) []string {
	names := []string{nameTCP4, nameTCP6, nameUDP, nameMetadata, nameHost, nameLinkLocal, nameInterfaces}
	if !spec.Network {
		return append(names, nameRoutes)
	}
	// A guest with a network has routes on purpose: what is at their ends counts.
	names = append(names, nameGateway, nameResolver, namePeers, nameIPv6)
	if _, beside := spec.sidecar(); beside {
		names = append(names, nameSidecar)
	}
	return names
}

// OfNetwork reports whether a check is about what the guest reaches and is
// reached by, as opposed to what its processes may do.
func OfNetwork(name string) bool {
	return slices.Contains([]string{
		nameTCP4, nameTCP6, nameUDP, nameMetadata, nameHost, nameLinkLocal, nameInterfaces, nameRoutes,
		nameGateway, nameResolver, namePeers, nameIPv6, nameSidecar, nameDNS,
	}, name)
}

// wallChecks are the checks of what a process may do. In a machine of its own a
// user namespace harms no host, and process 1 is a program of the same guest;
// what must hold there is that the machine's network stays as it is, and that
// the way to the hypervisor, which no network wall sees, leads nowhere.
func wallChecks(spec Spec) []string {
	if !spec.OwnKernel {
		return []string{nameNNP, nameSeccomp, nameCaps, nameInit, nameUID, nameGain, nameUserNS, nameMount, nameRaw, nameTrace}
	}
	var names []string
	if spec.Require.NoNewPrivs {
		names = append(names, nameNNP)
	}
	if spec.Require.Seccomp != 0 {
		names = append(names, nameSeccomp)
	}
	return append(names, nameCaps, nameInit, nameUID, nameGain, nameNetConfig, nameMount, nameRaw, nameVsock)
}
