package server

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// CheckBind refuses an address that other machines reach, unless the operator
// has named the token file: whoever opens the server to a network decides what
// guards it.
func CheckBind(addr string, tokenFileGiven bool) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is not an address to listen on; give HOST:PORT, such as 127.0.0.1:8080: %w", addr, err)
	}
	if IsLoopback(host) || tokenFileGiven {
		return nil
	}
	return fmt.Errorf("refusing to listen on %s without --token-file: other machines reach it; listen on 127.0.0.1:%s, or name with --token-file the file that holds the bearer token", addr, port)
}

// IsLoopback holds for names and addresses that mean this machine alone. The
// empty host means all addresses; a name might resolve to anything.
func IsLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
