package dlp

// keyRules are of keys and signed statements.
func keyRules() []rule {
	const body = `[A-Za-z0-9+/=\s\\:,.();]{48,}`
	return []rule{
		// RFC 7468, RFC 4716 and OpenSSH's PROTOCOL.key. Line ends may be escaped, as
		// in an account file's JSON.
		{kind: "private_key", pattern: `PRIVATE KEY-----` + body, glued: true, entropy: 3.5, check: pemHeader},
		{kind: "pgp_private_key", pattern: `PRIVATE KEY BLOCK-----` + body, glued: true, entropy: 3.5, check: pemHeader},
		{kind: "ssh2_private_key", pattern: `SSH2 ENCRYPTED PRIVATE KEY ----` + body, glued: true, entropy: 3.5},
		{kind: "openssh_key_body", pattern: `b3BlbnNzaC1rZXktdjEAAAAA[A-Za-z0-9+/\s\\]{100,}`},
		// The format of PuTTY's .ppk files, versions 2 and 3.
		{kind: "putty_private_key", pattern: `PuTTY-User-Key-File-[23]: [a-z0-9@.-]{4,40}`, check: always},
		// https://age-encryption.org/v1: Bech32 with a checksum
		{kind: "age_secret_key", pattern: `AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}`, check: bech32},
		{kind: "age_pq_secret_key", pattern: `AGE-SECRET-KEY-PQ-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{50,120}`},
		{kind: "age_plugin_identity", pattern: `AGE-PLUGIN-[A-Z0-9]{2,16}-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{20,400}`, glued: true},
		// RFC 7519
		{kind: "jwt", pattern: `eyJ[\w-]{10,1000}\.eyJ[\w-]{8,}\.[\w-]{16,}`, check: jwtHeader},
		{kind: "jwe", pattern: `eyJ[\w-]{10,1000}\.[\w-]{0,1000}\.[\w-]{12,24}\.[\w-]{8,}\.[\w-]{16,32}`, check: jwtHeader},
		{kind: "bitcoin_extended_private_key", pattern: `xprv[1-9A-HJ-NP-Za-km-z]{107}`},
		{kind: "nostr_secret_key", pattern: `nsec1[023456789acdefghjklmnpqrstuvwxyz]{58}`, check: bech32},
		// RFC 3986: user information with a password
		{kind: "url_password", pattern: `://[\w.~%!$&*+;=-]{1,64}:[^\s"'\x60@/\\<>{}\[\]]{6,200}@`, glued: true, entropy: 2.6, check: urlPassword},
		// RFC 7617
		{kind: "basic_credentials", pattern: `(?:Basic|basic)[ +][A-Za-z0-9+/]{12,400}={0,2}`, check: userAndPassword},
	}
}

// namedRules are of values that only their names tell.
func namedRules() []rule {
	const value = `[\w+/~.!@#%^*-]{16,512}={0,2}`
	return []rule{
		{kind: "bearer_token", pattern: `(?:Bearer|bearer)[ \t+][\w+/~.-]{24,1000}={0,2}`, weak: true, entropy: 3.6, check: mixed},
		{kind: "api_key_value", key: "apikey", pattern: value, weak: true, entropy: 3.5, check: mixed},
		{kind: "access_key_value", key: "accesskey", pattern: value, weak: true, entropy: 3.5, check: mixed},
		{kind: "private_key_value", key: "privatekey", pattern: value, weak: true, entropy: 3.5, check: mixed},
		{kind: "encryption_key_value", key: "encryptionkey", pattern: value, weak: true, entropy: 3.5, check: mixed},
		{kind: "secret_value", key: "secret", pattern: value, weak: true, entropy: 3.5, check: mixed},
		{kind: "token_value", key: "token", pattern: value, weak: true, entropy: 3.5, check: mixed},
		{kind: "credential_value", key: "credential", pattern: value, weak: true, entropy: 3.5, check: mixed},
	}
}

// genericRules are of passwords.
func genericRules() []rule {
	const value = `[\w+/~.!@#%^*-]{10,128}`
	return []rule{
		{kind: "password_value", key: "password", pattern: value, weak: true, entropy: 3.2, check: mixed},
		{kind: "password_value", key: "passwd", pattern: value, weak: true, entropy: 3.2, check: mixed},
		{kind: "password_value", key: "passphrase", pattern: value, weak: true, entropy: 3.2, check: mixed},
	}
}
