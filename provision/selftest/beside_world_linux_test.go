package selftest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// The network of a bottle with machines beside it, as Apple's container makes
// one: a bridge of the host, which is the gateway, the sidecar, and with a fault
// another bottle. Each is a process in a network namespace of its own.
const (
	lanGuest    = "192.168.64.2"
	lanGateway  = "192.168.64.1"
	lanSidecar  = "192.168.64.3"
	lanPeer     = "192.168.64.9"
	lanGuest6   = "fd00:64::2"
	lanGateway6 = "fd00:64::1"
	// What the gateway's hardware address makes of it.
	lanGatewayLink = "fe80::ff:fe00:6401"
	lanGatewayOwn  = "fd00:64::ff:fe00:6401"
	lanCanary      = "203.0.113.7"
	lanCanary6     = "64:ff9b::cb00:7107" // behind a translating router
	lanResolver    = "203.0.113.53"       // in the resolv.conf of the guest's image
)

// fault is what is wrong with a network or the guest on it.
type fault string

const (
	sound          fault = "sound"
	routesOut      fault = "routes out"
	gatewayOpen    fault = "gateway open"
	gatewayRefuses fault = "gateway refuses"
	gatewayUDP     fault = "gateway refuses UDP"
	resolverUDP    fault = "resolver"
	resolverTCP    fault = "resolver TCP"
	resolverMDNS   fault = "resolver mDNS"
	imageResolver  fault = "resolver of the image"
	peerThere      fault = "peer"
	peerThere6     fault = "peer IPv6 only"
	router6        fault = "IPv6 router"
	router6Own     fault = "IPv6 router by its own address"
	hostLinkLocal  fault = "host link-local"
	routerLink     fault = "router link-local"
	sidecarExtra   fault = "sidecar extra port"
	sidecarDNS     fault = "sidecar resolver"
	extraUp        fault = "extra interface"
	hostOpen       fault = "host's other address"
	capsBack       fault = "capability regained"
	capsAdmin      fault = "NET_ADMIN regained"
	capsInit       fault = "capability of process 1"
	freshAddress   fault = "address just given"
	stuckAddress   fault = "address not ready"
)

// steps runs commands of ip until one fails.
func steps(lines ...string) error {
	for _, line := range lines {
		if err := run(append([]string{"ip"}, strings.Fields(line)...)...); err != nil {
			return err
		}
	}
	return nil
}

// tune sets what a new network namespace may have inherited from this machine.
func tune() error {
	for path, value := range map[string]string{
		"ipv4/ip_forward": "0", "ipv4/conf/all/rp_filter": "0", "ipv4/conf/default/rp_filter": "0",
		"ipv6/conf/*/accept_dad": "0", "ipv6/conf/all/forwarding": "0",
	} {
		files, err := filepath.Glob("/proc/sys/net/" + path)
		if err != nil {
			return err
		}
		for _, file := range files {
			if err := os.WriteFile(file, []byte(value), 0o644); err != nil {
				return err
			}
		}
	}
	return steps("link set lo up")
}

// machine plays one machine beside the guest until the director ends.
func machine(arg string) error {
	kind, f, _ := strings.Cut(arg, ":")
	if _, err := os.Stdout.WriteString("up"); err != nil {
		return err
	}
	if _, err := io.ReadFull(os.Stdin, make([]byte, 2)); err != nil {
		return err
	}
	play := map[string]func(fault) error{"gateway": gatewayMachine, "sidecar": sidecarMachine, "peer": peerMachine}[kind]
	if err := errors.Join(tune(), play(fault(f))); err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	if _, err := os.Stdout.WriteString("up"); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

// gatewayMachine is the host: it has all the addresses of one, and nothing that
// leaves from them arrives, unless a fault says so. That is how a firewall looks
// from a guest: addresses resolve, and nobody speaks.
func gatewayMachine(f fault) error {
	mute := []string{
		"link add lan address 02:00:00:00:64:01 type bridge", "link set lan up",
		"addr add " + lanGateway + "/26 dev lan", "addr add " + lanGateway6 + "/64 dev lan nodad",
		"rule add pref 100 from " + lanGateway + " blackhole",
		"-6 rule add pref 100 from fe80::/10 blackhole", "-6 rule add pref 100 from " + lanGateway6 + " blackhole",
	}
	for _, port := range []string{"g0", "g1", "g2"} {
		if _, err := net.InterfaceByName(port); err == nil {
			mute = append(mute, "link set "+port+" master lan", "link set "+port+" up")
		}
	}
	if err := steps(mute...); err != nil {
		return err
	}
	return gatewayFault(f)
}

// speak lets a protocol's answers out of the gateway again.
func speak(proto, port string) error {
	return steps("rule add pref 50 ipproto " + proto + " sport " + port + " lookup main")
}

func gatewayFault(f fault) error {
	switch f {
	case routesOut:
		return errors.Join(steps("addr add "+lanCanary+"/32 dev lan"), listen(lanCanary+":80"))
	case hostOpen:
		return errors.Join(steps("addr add "+decoyHost+"/32 dev lan"), listen(decoyHost+":443"))
	case gatewayOpen:
		return errors.Join(speak("tcp", "445"), listen(lanGateway+":445"))
	case gatewayRefuses:
		return speak("tcp", "22")
	case gatewayUDP:
		return steps("rule add pref 50 from " + lanGateway + " ipproto icmp lookup main")
	case resolverUDP:
		return errors.Join(speak("udp", "53"), answerUDP(lanGateway+":53"))
	case resolverTCP:
		return errors.Join(speak("tcp", "53"), answerTCP(lanGateway+":53"))
	case resolverMDNS:
		return errors.Join(speak("udp", "5353"), answerMulticast())
	case imageResolver:
		return errors.Join(steps("addr add "+lanResolver+"/32 dev lan"), answerUDP(lanResolver+":53"))
	case router6:
		return errors.Join(steps("addr add "+lanCanary6+"/128 dev lan nodad"), listen("["+lanCanary6+"]:443"))
	case router6Own:
		return errors.Join(steps("addr add "+lanGatewayOwn+"/64 dev lan nodad"), listen("["+lanGatewayOwn+"]:5000"))
	case hostLinkLocal, routerLink:
		return errors.Join(steps("-6 rule add pref 50 from fe80::/10 ipproto tcp sport 22 lookup main"), listen("[::]:22"))
	}
	return nil
}

// sidecarMachine serves the proxy and the supervisor, and refuses the rest.
func sidecarMachine(f fault) error {
	if err := steps("addr add "+lanSidecar+"/26 dev s0", "link set s0 up"); err != nil {
		return err
	}
	l, err := net.Listen("tcp", lanSidecar+":9099")
	if err != nil {
		return err
	}
	go func() { _ = http.Serve(l, http.HandlerFunc(serveProxy)) }()
	err = listen(lanSidecar + ":9100")
	switch f {
	case sidecarExtra:
		err = errors.Join(err, listen(lanSidecar+":9420"))
	case sidecarDNS:
		err = errors.Join(err, answerUDP(lanSidecar+":53"))
	}
	return err
}

func serveProxy(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/healthz":
		_, _ = io.WriteString(w, "ok otter\n")
	case r.Method == http.MethodConnect && r.Host == "allowed.test:443":
		w.WriteHeader(http.StatusOK)
	default:
		w.Header().Set(refusedHeader, notAllowed)
		w.WriteHeader(http.StatusForbidden)
	}
}

// peerMachine is another bottle.
func peerMachine(f fault) error {
	if err := steps("link set p0 up"); err != nil || f == peerThere6 {
		return err
	}
	return steps("addr add " + lanPeer + "/26 dev p0")
}

func listen(where string) error {
	return accept(where, func(conn net.Conn) { _ = conn.Close() })
}

// answerTCP repeats what it is asked: as good an answer as any.
func answerTCP(where string) error {
	return accept(where, func(conn net.Conn) { _, _ = io.CopyN(conn, conn, 2); _ = conn.Close() })
}

func accept(where string, serve func(net.Conn)) error {
	l, err := net.Listen("tcp", where)
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return nil
}

func answerUDP(where string) error {
	conn, err := net.ListenPacket("udp", where)
	if err == nil {
		go echo(conn)
	}
	return err
}

func answerMulticast() error {
	lan, err := net.InterfaceByName("lan")
	if err != nil {
		return err
	}
	conn, err := net.ListenMulticastUDP("udp4", lan, &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: mdnsPort})
	if err == nil {
		go echo(conn)
	}
	return err
}
