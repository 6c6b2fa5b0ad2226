package egress

const (
	maxChunkDigits = 15 // hexadecimal: always below 2^60
	maxTrailer     = 4 << 10
)

type chunkState int

const (
	chunkSize chunkState = iota
	chunkSizeLF
	chunkData
	chunkDataCR
	chunkDataLF
	chunkTrailer
	chunkDone
)

// chunkReader follows the framing of a chunked body without changing it. It
// knows no chunk extensions and no line end but CR LF: those are where parsers
// disagree (CVE-2025-22871), and no client needs them.
type chunkReader struct {
	state   chunkState
	digits  int
	left    int64
	trailer []byte
}

func (c *chunkReader) done() bool { return c.state == chunkDone }

// feed advances over b and returns how many bytes belong to the body.
func (c *chunkReader) feed(b []byte) (used int, no *refusal) {
	for used < len(b) && c.state != chunkDone {
		if c.state == chunkData {
			n := min(int64(len(b)-used), c.left)
			used += int(n)
			if c.left -= n; c.left == 0 {
				c.state = chunkDataCR
			}
			continue
		}
		if !c.step(b[used]) {
			return used, malformed(reasonBody, "The chunked request body is malformed.")
		}
		used++
	}
	return used, nil
}

// step takes one byte that is not chunk data.
func (c *chunkReader) step(b byte) bool {
	switch c.state {
	case chunkSize:
		return c.stepSize(b)
	case chunkSizeLF:
		c.state = chunkData
		if c.left == 0 {
			c.state = chunkTrailer
		}
		c.digits = 0
		return b == '\n'
	case chunkDataCR:
		c.state = chunkDataLF
		return b == '\r'
	case chunkDataLF:
		c.state = chunkSize
		return b == '\n'
	case chunkTrailer:
		return c.stepTrailer(b)
	}
	return false
}

func (c *chunkReader) stepSize(b byte) bool {
	if b == '\r' {
		c.state = chunkSizeLF
		return c.digits > 0
	}
	if !isHex(b) || c.digits == maxChunkDigits {
		return false
	}
	c.digits++
	c.left = c.left<<4 | int64(unhex(b))
	return true
}

// stepTrailer gathers the trailer section and judges its lines as they end.
func (c *chunkReader) stepTrailer(b byte) bool {
	if len(c.trailer) == maxTrailer {
		return false
	}
	c.trailer = append(c.trailer, b)
	if b != '\n' {
		return true
	}
	n := len(c.trailer)
	if n < 2 || c.trailer[n-2] != '\r' {
		return false
	}
	if n == 2 || c.trailer[n-3] == '\n' {
		c.state = chunkDone
		if checkHeadBytes(c.trailer) != nil {
			return false
		}
		_, no := readFields(c.trailer)
		return no == nil
	}
	return true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}
