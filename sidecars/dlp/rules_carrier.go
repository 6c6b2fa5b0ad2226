package dlp

// carrierRules are no credentials: they mark what must be decoded to be read.
func carrierRules() []rule {
	return []rule{
		{do: unescape, pattern: `%[0-9A-Fa-f]{2}`},
		{do: unescape, pattern: `\\[uU][0-9a-fA-F]{4}`},
		{do: unescape, pattern: `\\u\{[0-9a-fA-F]{1,6}\}`},
		{do: unescape, pattern: `\\x[0-9a-fA-F]{2}`},
		{do: unescape, pattern: `\\[0-3][0-7]{2}`},
		{do: unescape, pattern: `&#[0-9]{2,7}`},
		{do: unescape, pattern: `&#[xX][0-9a-fA-F]{2,6}`},
		{do: inflate, kind: "gzip", pattern: `\x1f\x8b\x08`},
		{do: inflate, kind: "zstd", pattern: `\x28\xb5\x2f\xfd`},
		{do: inflate, kind: "zip", pattern: `PK\x03\x04`},
		{do: inflate, kind: "bzip2", pattern: `BZh[1-9]1AY&SY`},
		{do: inflate, kind: "xz", pattern: `\xfd7zXZ\x00`},
		{do: inflate, kind: "7z", pattern: `7z\xbc\xaf\x27\x1c`},
		{do: inflate, kind: "rar", pattern: `Rar!\x1a\x07`},
	}
}
