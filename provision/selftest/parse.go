package selftest

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// loopbackLink is the one interface whose routes lead nowhere else.
const loopbackLink = "lo"

var errFormat = errors.New("the kernel's text has an unknown form")

// parseRoute4 reads /proc/net/route and returns the routes not on loopback.
func parseRoute4(text string) ([]string, error) {
	rows, err := route4Rows(text)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, f := range rows {
		dst, err := hexAddr4(f[1])
		mask, maskErr := hexAddr4(f[7])
		if err = errors.Join(err, maskErr); err != nil {
			return nil, err
		}
		if f[0] != loopbackLink {
			out = append(out, fmt.Sprintf("%s/%s on %s", dst, mask, f[0]))
		}
	}
	return out, nil
}

// route4Rows are the fields of each row of /proc/net/route, below its heading.
func route4Rows(text string) ([][]string, error) {
	var rows [][]string
	for i, line := range lines(text) {
		f := strings.Fields(line)
		if i == 0 {
			if len(f) == 0 || f[0] != "Iface" {
				return nil, errFormat
			}
			continue
		}
		if len(f) < 8 {
			return nil, errFormat
		}
		rows = append(rows, f)
	}
	return rows, nil
}

// hexAddr4 reads an address as the kernel prints it: in host byte order, which
// is little on every platform this program is built for.
func hexAddr4(s string) (netip.Addr, error) {
	v, err := strconv.ParseUint(s, 16, 32)
	if err != nil {
		return netip.Addr{}, errFormat
	}
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], uint32(v))
	return netip.AddrFrom4(b), nil
}

// parseRoute6 reads /proc/net/ipv6_route and returns the routes not on
// loopback.
func parseRoute6(text string) ([]string, error) {
	var out []string
	for _, line := range lines(text) {
		f := strings.Fields(line)
		if len(f) < 10 {
			return nil, errFormat
		}
		raw, err := hex.DecodeString(f[0])
		addr, ok := netip.AddrFromSlice(raw)
		bits, bitsErr := strconv.ParseUint(f[1], 16, 8)
		if err != nil || !ok || bitsErr != nil {
			return nil, errFormat
		}
		if link := f[len(f)-1]; link != loopbackLink {
			out = append(out, fmt.Sprintf("%s/%d on %s", addr, bits, link))
		}
	}
	return out, nil
}

// parseNameservers reads resolv.conf as the C library does.
func parseNameservers(text string) []string {
	var out []string
	for _, line := range lines(text) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "nameserver" {
			out = append(out, f[1])
		}
	}
	return out
}

// status is a /proc/PID/status.
type status map[string]string

func parseStatus(text string) status {
	s := status{}
	for _, line := range lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok {
			s[key] = strings.TrimSpace(value)
		}
	}
	return s
}

// number reads a decimal field; a missing one is an error, never zero.
func (s status) number(key string) (int, error) {
	v, err := strconv.Atoi(s[key])
	if err != nil {
		return 0, fmt.Errorf("field %s is %q: %w", key, s[key], errFormat)
	}
	return v, nil
}

// zero checks that a hexadecimal capability set is there and empty.
func (s status) zero(keys ...string) error {
	var held []string
	for _, key := range keys {
		v, err := strconv.ParseUint(s[key], 16, 64)
		if err != nil {
			return fmt.Errorf("field %s is %q: %w", key, s[key], errFormat)
		}
		if v != 0 {
			held = append(held, key+" "+s[key])
		}
	}
	if len(held) > 0 {
		return fmt.Errorf("capabilities are held: %s", strings.Join(held, ", "))
	}
	return nil
}

// parseAbstract reads /proc/net/unix and returns the abstract sockets, which
// any process of the network namespace can connect to.
func parseAbstract(text string) ([]string, error) {
	var out []string
	for i, line := range lines(text) {
		f := strings.Fields(line)
		if i == 0 {
			if !slices.Contains(f, "Path") {
				return nil, errFormat
			}
			continue
		}
		if len(f) < 7 {
			return nil, errFormat
		}
		if len(f) > 7 && strings.HasPrefix(f[7], "@") {
			out = append(out, f[7])
		}
	}
	return out, nil
}

// lines splits a text and leaves empty lines out.
func lines(text string) []string {
	return slices.DeleteFunc(strings.Split(text, "\n"), func(s string) bool { return strings.TrimSpace(s) == "" })
}

// question is a DNS query for the address of host.
func question(host string) []byte {
	q := []byte{0x62, 0x74, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0} // recursion desired, one question
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		label = label[:min(len(label), 63)]
		q = append(append(q, byte(len(label)&0x3f)), label...)
	}
	return append(q, 0, 0, 1, 0, 1)
}
