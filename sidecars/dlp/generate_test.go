package dlp

import (
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// Credentials for tests are made here at run time from the rules' patterns, so
// that none stands in this repository.

// tokenRules are the rules for credentials.
func tokenRules() []rule {
	return slices.DeleteFunc(rules(), func(r rule) bool { return r.do != report })
}

// generator makes credentials.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) generator { return generator{rand.New(rand.NewPCG(seed, 7))} }

// text is a random member of a sequence. Long open ends stay short.
func (g generator) text(s sequence) string {
	var b strings.Builder
	for _, r := range s {
		n := int(r.min)
		if room := min(int(r.max)-n, 12); room > 0 {
			n += g.IntN(room + 1)
		}
		var members []byte
		for c, in := range r.set {
			if in && (c > ' ' && c < 0x7f || len(members) == 0 && c == 0xff) {
				members = append(members, byte(c))
			}
		}
		if len(members) == 0 {
			members = []byte{' '}
		}
		for range n {
			b.WriteByte(members[g.IntN(len(members))])
		}
	}
	return b.String()
}

func (g generator) alnum(n int) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	b := make([]byte, n)
	for i := range b {
		b[i] = digits[g.IntN(len(digits))]
	}
	return string(b)
}

// credential is a text with a credential of the rule in it, as a person would
// paste it.
func (g generator) credential(t testing.TB, r rule) string {
	t.Helper()
	switch r.kind {
	case "jwt":
		return g.jwt()
	case "jwe":
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RSA-OAEP","enc":"A256GCM"}`)) + "." + g.alnum(86) + "." + g.alnum(16) + "." + g.alnum(40) + "." + g.alnum(22)
	case "private_key", "pgp_private_key", "ssh2_private_key":
		return g.pem(r.kind)
	case "basic_credentials":
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("deploy:"+g.alnum(16)))
	case "age_secret_key":
		return sealBech32("age-secret-key-", g.bech32(52), strings.ToUpper)
	case "nostr_secret_key":
		return sealBech32("nsec", g.bech32(52), strings.ToLower)
	case "url_password":
		return "postgres://app:" + g.alnum(14) + "@db.internal:5432/app"
	}
	before := ""
	if r.before != "" {
		s, err := new(sets).compile(r.before)
		if err != nil {
			t.Fatal(err)
		}
		before = g.text(s[0])
	}
	seqs, err := new(sets).compile(r.pattern)
	if err != nil {
		t.Fatal(err)
	}
	text := g.text(seqs[g.IntN(len(seqs))])
	switch {
	case strings.HasPrefix(r.kind, "github_") && len(text) == 40, r.kind == "npm_token":
		text = text[:34] + base62(crc32.ChecksumIEEE([]byte(text[4:34])))
	case r.kind == "grafana_service_account":
		text = text[:37] + fmt.Sprintf("_%08x", crc32.ChecksumIEEE([]byte(text[:37])))
	}
	if r.key != "" {
		return g.assign(r.key, text)
	}
	return before + text
}

// assign writes a value the ways configuration and code do.
func (g generator) assign(key, value string) string {
	forms := []string{"%s=%s", `%s: "%s"`, `"%s": "%s"`, "%s := `%s`", "'%s' => '%s'", `\"%s\": \"%s\"`, "export %s='%s'"}
	return fmt.Sprintf(forms[g.IntN(len(forms))], key, value)
}

func (g generator) jwt() string {
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + part([]byte(`{"sub":"`+g.alnum(10)+`","iat":1700000000}`)) + "." + g.alnum(43)
}

func (g generator) pem(kind string) string {
	name, dashes := "RSA PRIVATE KEY", "-----"
	switch kind {
	case "pgp_private_key":
		name = "PGP PRIVATE KEY BLOCK"
	case "ssh2_private_key":
		name, dashes = "SSH2 ENCRYPTED PRIVATE KEY", "---- "
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%sBEGIN %s%s\n", dashes, name, strings.TrimSpace(dashes))
	if kind == "ssh2_private_key" {
		b.Reset()
		fmt.Fprintf(&b, "---- BEGIN %s ----\n", name)
	}
	for range 12 {
		b.WriteString(g.alnum(64) + "\n")
	}
	fmt.Fprintf(&b, "%sEND %s%s\n", dashes, name, strings.TrimSpace(dashes))
	return b.String()
}

func (g generator) bech32(n int) string {
	const charset = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	b := make([]byte, n)
	for i := range b {
		b[i] = charset[g.IntN(32)]
	}
	return string(b)
}

// sealBech32 appends the checksum of BIP 173.
func sealBech32(name, data string, as func(string) string) string {
	const charset = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	values := []int{}
	for _, c := range name {
		values = append(values, int(c)>>5)
	}
	values = append(values, 0)
	for _, c := range name {
		values = append(values, int(c)&31)
	}
	for _, c := range data {
		values = append(values, strings.IndexRune(charset, c))
	}
	sum := 1
	for _, v := range append(values, 0, 0, 0, 0, 0, 0) {
		top := sum >> 25
		sum = (sum&0x1ffffff)<<5 ^ v
		for i, g := range []int{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3} {
			if top>>i&1 == 1 {
				sum ^= g
			}
		}
	}
	sum ^= 1
	out := name + "1" + data
	for i := range 6 {
		out += string(charset[sum>>(5*(5-i))&31])
	}
	return as(out)
}

func base62(n uint32) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	var out [6]byte
	for i := 5; i >= 0; i-- {
		out[i] = digits[n%62]
		n /= 62
	}
	return string(out[:])
}
