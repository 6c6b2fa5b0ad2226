package selftest

// probes binds every check of Names to its code.
func probes(spec Spec) map[string]probe {
	n := newNetwork(spec)
	return map[string]probe{
		nameTCP4:       n.tcp4,
		nameTCP6:       n.tcp6,
		nameUDP:        n.udp,
		nameMetadata:   n.metadata,
		nameHost:       n.host,
		nameLinkLocal:  n.linkLocal,
		nameInterfaces: n.interfaces,
		nameRoutes:     plain(routes),
		nameDNS:        n.dns,
		nameNNP:        plain(func() (string, error) { return noNewPrivs(spec.Require) }),
		nameSeccomp:    plain(func() (string, error) { return seccompMode(spec.Require) }),
		nameCaps:       plain(capabilities),
		nameInit:       plain(func() (string, error) { return initWalls(spec.Require) }),
		nameUID:        plain(func() (string, error) { return uids(spec.ExpectUID) }),
		nameGain:       plain(func() (string, error) { return privilegeGain(spec.ExpectUID) }),
		nameUserNS:     plain(userNamespace),
		nameMount:      plain(mounting),
		nameRaw:        plain(rawSockets),
		nameTrace:      plain(traceInit),
		nameSecrets:    plain(func() (string, error) { return secrets(spec.SecretPaths) }),
		nameSockets:    plain(hostSockets),
		nameAbstract:   plain(abstractSockets),
		nameProcesses:  plain(func() (string, error) { return processes(spec) }),
		nameKernel:     plain(kernelFiles),
		nameDevices:    plain(func() (string, error) { return devices("/dev") }),
		nameProxy:      n.proxyAnswers,
		nameUnlisted:   n.unlistedRefused,
		nameAllowed:    n.allowedAnswers,
	}
}
