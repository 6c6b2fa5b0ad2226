package internet

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Sentinel is the answer to every name that nobody put in the table: whoever
// holds it has asked the outside.
const Sentinel = "203.0.113.99"

// Names maps lower-case names without a trailing dot to their addresses. A name
// with none does not exist (NXDOMAIN).
type Names map[string][]netip.Addr

// ReadNames reads the table at path; no file is an empty table.
func ReadNames(path string) (Names, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Names{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the table of names cannot be read: %w", err)
	}
	var names Names
	if err := json.Unmarshal(data, &names); err != nil {
		return nil, fmt.Errorf("the table of names %s is not JSON: %w", path, err)
	}
	return names, nil
}

// resolver answers questions from a table that is read anew for each.
type resolver struct {
	log   *Log
	table string
}

// answer returns the reply to one query, or nil for what is none.
func (r resolver) answer(query []byte, from, to string) []byte {
	var p dnsmessage.Parser
	head, err := p.Start(query)
	if err != nil || head.Response {
		return nil
	}
	question, err := p.Question()
	if err != nil {
		return nil
	}
	name := strings.ToLower(strings.TrimSuffix(question.Name.String(), "."))
	r.log.Add(Event{Kind: KindDNS, From: from, To: to, Name: name, Type: strings.TrimPrefix(question.Type.String(), "Type")})
	code, resources := r.resolve(name, question)
	reply := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: head.ID, Response: true, RecursionDesired: head.RecursionDesired,
			RecursionAvailable: true, RCode: code,
		},
		Questions: []dnsmessage.Question{question},
		Answers:   resources,
	}
	packed, err := reply.Pack()
	if err != nil {
		return nil
	}
	return packed
}

func (r resolver) resolve(name string, q dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.Resource) {
	names, err := ReadNames(r.table)
	if err != nil {
		return dnsmessage.RCodeServerFailure, nil
	}
	addresses, known := names[name]
	if known && len(addresses) == 0 {
		return dnsmessage.RCodeNameError, nil
	}
	if !known {
		addresses = []netip.Addr{netip.MustParseAddr(Sentinel)}
	}
	var resources []dnsmessage.Resource
	for _, a := range addresses {
		if body := resourceBody(a, q.Type); body != nil {
			resources = append(resources, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 1},
				Body:   body,
			})
		}
	}
	if q.Type == dnsmessage.TypeTXT && !known {
		// A tunnel through TXT records would be answered like this.
		resources = append(resources, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 1},
			Body:   &dnsmessage.TXTResource{TXT: []string{"sentinel"}},
		})
	}
	return dnsmessage.RCodeSuccess, resources
}

func resourceBody(a netip.Addr, kind dnsmessage.Type) dnsmessage.ResourceBody {
	switch {
	case kind == dnsmessage.TypeA && a.Is4():
		return &dnsmessage.AResource{A: a.As4()}
	case kind == dnsmessage.TypeAAAA && a.Is6():
		return &dnsmessage.AAAAResource{AAAA: a.As16()}
	}
	return nil
}

// serveTCP answers length-prefixed queries on one connection.
func (r resolver) serveTCP(conn net.Conn) {
	defer conn.Close()
	for {
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		reply := r.answer(query, conn.RemoteAddr().String(), conn.LocalAddr().String())
		if reply == nil {
			return
		}
		framed := binary.BigEndian.AppendUint16(nil, uint16(len(reply)))
		if _, err := conn.Write(append(framed, reply...)); err != nil {
			return
		}
	}
}
