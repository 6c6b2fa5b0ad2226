package selftest

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
	nameDNS        = "dns"
	nameNNP        = "no-new-privs"
	nameSeccomp    = "seccomp"
	nameCaps       = "capabilities"
	nameInit       = "init-walls"
	nameUID        = "uid"
	nameGain       = "privilege-gain"
	nameUserNS     = "user-namespace"
	nameMount      = "mount"
	nameRaw        = "raw-sockets"
	nameTrace      = "trace-init"
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
// one of them proves nothing.
func Names(spec Spec) []string {
	names := []string{nameTCP4, nameTCP6, nameUDP, nameMetadata, nameHost, nameLinkLocal, nameInterfaces}
	if spec.Canary == "" {
		// With a canary the guest has a route on purpose.
		names = append(names, nameRoutes)
	}
	names = append(names,
		nameDNS, nameNNP, nameSeccomp, nameCaps, nameInit, nameUID, nameGain, nameUserNS, nameMount, nameRaw,
		nameTrace, nameSecrets, nameSockets, nameAbstract, nameProcesses, nameKernel, nameDevices,
	)
	if spec.ProxyURL != "" {
		names = append(names, nameProxy, nameUnlisted)
		if spec.AllowedHost != "" {
			names = append(names, nameAllowed)
		}
	}
	return names
}
