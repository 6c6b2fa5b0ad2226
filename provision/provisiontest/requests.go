package provisiontest

import (
	_ "embed"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// driveShell drives curl, wget and openssl, see testdata/drive/README.md.
//
//go:embed testdata/drive/drive.sh
var driveShell string

// What the suite's route allows: no path below /x, and these methods.
const matches = `matches: [{methods: [GET, HEAD, POST], paths: [{type: regex, value: "/([^x].*)?"}]}]`

// heldToken is what the agent has in place of the credential.
const heldToken = "placeholder-of-the-token"

// settle bounds what comes soon after an answer: the ledger's line, and an
// origin's notice that a client left.
const settle = 30 * time.Second

// deniedHost is one that no bottle of these tests may reach.
func deniedHost(tag string) string { return tag + ".denied.invalid" }

// soon waits for something that follows from what happened.
func soon(done func() bool) bool {
	for end := time.Now().Add(settle); ; time.Sleep(10 * time.Millisecond) {
		if done() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// refused demands a refusal in the ledger: by itself a client that gets nothing
// may just not have found the proxy.
func (b *bottle) refused(t *testing.T, want sidecars.Decision) {
	t.Helper()
	var last []string
	found := soon(func() bool {
		log, err := b.manager.EgressLog(t.Context(), operator(), b.live.ID, 1000)
		if err != nil {
			t.Fatal(err)
		}
		last = nil
		return slices.ContainsFunc(log, func(d sidecars.Decision) bool {
			mine := d.Host == want.Host && (d.Path == want.Path || strings.HasPrefix(d.Path, want.Path+"/"))
			if mine {
				last = append(last, d.Verdict+" "+d.Reason)
			}
			return mine && d.Verdict == sidecars.Deny && d.Reason == want.Reason
		})
	})
	if !found {
		t.Errorf("the ledger has no refusal of %s%s with %s, but %q", want.Host, want.Path, want.Reason, last)
	}
}

// requests lets curl ask for what the policy allows and for what it does not.
// What counts is what the origin saw and what the ledger says.
func (b *bottle) requests(t *testing.T) {
	if b.Origin == nil {
		t.Log("there is no origin to be reached")
		return
	}
	host := strings.Split(strings.TrimPrefix(b.Origin.URL, "https://"), ":")[0]
	b.sh(t, `printf 'a note with %s in it\n' "$PLANTED" >/tmp/secret`)
	for _, tt := range []struct {
		name, line, path string
		refused          string
	}{
		{"allowed", "GET " + b.Origin.URL + "/requests-get - " + heldToken, "/requests-get", ""},
		{"credential of the agent's own", "GET " + b.Origin.URL + "/requests-own - " + agentToken, "/requests-own", "foreign_credential"},
		{"host", "GET https://" + deniedHost("requests") + "/requests - -", "", "host_not_allowed"},
		{"path", "GET " + b.Origin.URL + "/x/requests - -", "/x/requests", "path_not_allowed"},
		{"method", "DELETE " + b.Origin.URL + "/requests-method - -", "/requests-method", "method_not_allowed"},
		{"secret", "POST " + b.Origin.URL + "/requests-secret /tmp/secret -", "/requests-secret", "secret_in_body"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := len(b.Origin.Requests(t))
			out, _ := b.run(t, backend.Command{Argv: []string{"sh", "-c", driveShell, "drive.sh", "curl"}}, "request cell "+tt.line+"\n")
			var seen []Request
			for _, r := range b.Origin.Requests(t)[before:] {
				if tt.path != "" && r.Path == tt.path {
					seen = append(seen, r)
				}
			}
			switch {
			case tt.refused == "":
				if out != "cell 200\n" || len(seen) != 1 || !slices.Equal(seen[0].Header["Authorization"], []string{"Bearer " + OriginToken}) {
					t.Errorf("curl says %q, and the origin saw %d requests; want one with the bottle's credential alone", out, len(seen))
				}
				return
			case tt.name == "host":
				b.refused(t, sidecars.Decision{Host: deniedHost("requests"), Reason: tt.refused})
			default:
				b.refused(t, sidecars.Decision{Host: host, Path: tt.path, Reason: tt.refused})
			}
			if strings.HasPrefix(out, "cell 2") || len(seen) > 0 {
				t.Errorf("curl says %q, and the origin saw %d requests", out, len(seen))
			}
		})
	}
}
