package internet

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func testResolver(t testing.TB, table string) (r resolver, events string) {
	t.Helper()
	dir := t.TempDir()
	events = filepath.Join(dir, "events.jsonl")
	log, err := OpenLog(events, PlaceInternet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.file.Close() })
	path := filepath.Join(dir, "names.json")
	if table != "" {
		if err := os.WriteFile(path, []byte(table), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return resolver{log, path}, events
}

func query(t testing.TB, name string, kind dnsmessage.Type) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 77, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}},
	}
	packed, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

func TestAnswers(t *testing.T) {
	const table = `{"both.example": ["192.0.2.1", "2001:db8::1"], "gone.example": null}`
	for _, c := range []struct {
		name, table, ask string
		kind             dnsmessage.Type
		code             dnsmessage.RCode
		want             []string
	}{
		{"A of a known name", table, "both.example.", dnsmessage.TypeA, 0, []string{"192.0.2.1"}},
		{"case does not matter", table, "BOTH.example.", dnsmessage.TypeA, 0, []string{"192.0.2.1"}},
		{"AAAA of a known name", table, "both.example.", dnsmessage.TypeAAAA, 0, []string{"2001:db8::1"}},
		{"a type the name has not", table, "both.example.", dnsmessage.TypeTXT, 0, nil},
		{"a name without addresses", table, "gone.example.", dnsmessage.TypeA, dnsmessage.RCodeNameError, nil},
		{"any other name", table, "tunnel.data.example.", dnsmessage.TypeA, 0, []string{Sentinel}},
		{"TXT of any other name", table, "tunnel.data.example.", dnsmessage.TypeTXT, 0, []string{"sentinel"}},
		{"no table", "", "both.example.", dnsmessage.TypeA, 0, []string{Sentinel}},
		{"a broken table", "{", "both.example.", dnsmessage.TypeA, dnsmessage.RCodeServerFailure, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, events := testResolver(t, c.table)
			var reply dnsmessage.Message
			if err := reply.Unpack(r.answer(query(t, c.ask, c.kind), "10.0.0.9:5", "203.0.113.53:53")); err != nil {
				t.Fatal(err)
			}
			if reply.ID != 77 || !reply.Response || !reply.RecursionAvailable || reply.RCode != c.code {
				t.Errorf("header %+v, want code %v", reply.Header, c.code)
			}
			var got []string
			for _, a := range reply.Answers {
				got = append(got, bodyText(a.Body))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("answers %v, want %v", got, c.want)
			}
			written, err := ReadLog(events)
			if err != nil || len(written) != 1 || written[0].Kind != KindDNS || written[0].From != "10.0.0.9:5" {
				t.Errorf("written down: %+v, %v", written, err)
			}
		})
	}
}

func bodyText(body dnsmessage.ResourceBody) string {
	switch b := body.(type) {
	case *dnsmessage.AResource:
		return netip.AddrFrom4(b.A).String()
	case *dnsmessage.AAAAResource:
		return netip.AddrFrom16(b.AAAA).String()
	case *dnsmessage.TXTResource:
		return b.TXT[0]
	}
	return "?"
}

func FuzzAnswer(f *testing.F) {
	f.Add(query(f, "a.example.", dnsmessage.TypeA))
	f.Add([]byte{})
	f.Add(make([]byte, 12))
	r, _ := testResolver(f, "")
	f.Fuzz(func(t *testing.T, packet []byte) {
		reply := r.answer(packet, "", "")
		if reply == nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(reply); err != nil || !m.Response || len(m.Questions) != 1 {
			t.Errorf("the reply is none: %v, %+v", err, m)
		}
	})
}
