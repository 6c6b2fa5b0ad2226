package selftest

import "context"

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
		nameGateway:    n.gateway,
		nameResolver:   n.resolver,
		namePeers:      n.peers,
		nameIPv6:       n.ipv6,
		nameSidecar:    n.sidecarPorts,
		nameDNS:        n.dns,
		nameNNP:        plain(func() (string, error) { return noNewPrivs(spec.Require) }),
		nameSeccomp:    plain(func() (string, error) { return seccompMode(spec.Require) }),
		nameCaps:       plain(capabilities),
		nameInit:       plain(func() (string, error) { return initWalls(spec) }),
		nameUID:        plain(func() (string, error) { return uids(spec.ExpectUID) }),
		nameGain:       plain(func() (string, error) { return privilegeGain(spec.ExpectUID) }),
		nameUserNS:     plain(userNamespace),
		nameNetConfig:  func(ctx context.Context) (string, error) { return networkConfig(ctx, spec) },
		nameMount:      plain(mounting),
		nameRaw:        plain(func() (string, error) { return rawSockets(spec.OwnKernel) }),
		nameTrace:      plain(traceInit),
		nameVsock:      func(ctx context.Context) (string, error) { return vsock(ctx, dialVsock) },
		nameSecrets:    plain(func() (string, error) { return secrets(spec.SecretPaths) }),
		nameSockets:    plain(hostSockets),
		nameAbstract:   plain(abstractSockets),
		nameProcesses:  plain(func() (string, error) { return processes(spec) }),
		nameKernel:     plain(func() (string, error) { return kernelFiles(spec.OwnKernel) }),
		nameDevices:    plain(func() (string, error) { return devicesOf(spec, "/dev") }),
		nameProxy:      n.proxyAnswers,
		nameUnlisted:   n.unlistedRefused,
		nameAllowed:    n.allowedAnswers,
	}
}
