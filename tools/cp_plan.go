package tools

import (
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/provision"
)

// cpPlan is a cpInput that has been checked.
type cpPlan struct {
	id        backend.ID
	direction string
	host      string
	guest     string
	content   []byte
	options   provision.CopyOptions
}

const bottlePrefix = "bottle:"

// plan checks the arguments and finds out what is asked for.
func (in cpInput) plan() (*cpPlan, error) {
	c := &checks{}
	p := &cpPlan{id: c.id("id", in.ID)}
	p.options = provision.CopyOptions{User: in.User, Exclude: in.Exclude}
	c.user("user", in.User)
	in.checkExclude(c)
	guestFrom, isFrom := strings.CutPrefix(in.From, bottlePrefix)
	guestTo, isTo := strings.CutPrefix(in.To, bottlePrefix)
	switch {
	case in.Content != nil || in.ContentBase64 != nil:
		p.direction = "write"
		in.planWrite(c, p, guestTo, isTo)
	case in.Inline:
		p.direction = "read"
		if in.To != "" || !isFrom {
			c.fail("inline", `needs "from" with a "bottle:" path and no "to"`)
		}
		p.guest = c.guestPath("from", guestFrom)
	case isFrom == isTo || in.From == "" || in.To == "":
		c.fail("", `give "from" and "to", exactly one of them beginning with "bottle:"; or "content" and "to"; or "from" and "inline"`)
	case isFrom:
		p.direction = "out"
		p.guest, p.host = c.guestPath("from", guestFrom), in.To
		c.pathText("to", in.To)
	default:
		p.direction = "in"
		p.guest, p.host = c.guestPath("to", guestTo), in.From
		c.pathText("from", in.From)
	}
	if in.Mode != "" && in.Mode != "0644" && p.direction != "write" {
		c.fail("mode", `needs "content" or "content_base64"; other copies keep the modes of their files`)
	}
	return p, c.err()
}

// planWrite reads inline content.
func (in cpInput) planWrite(c *checks, p *cpPlan, guest string, isGuest bool) {
	if in.From != "" || in.Inline || !isGuest || (in.Content != nil && in.ContentBase64 != nil) {
		c.fail("", `to write a file give "to" with a "bottle:" path and one of "content" and "content_base64", without "from" and "inline"`)
		return
	}
	if guest == "" || strings.HasSuffix(guest, "/") {
		c.fail("to", `must name a file, such as "bottle:notes.txt"`)
	}
	p.guest = c.guestPath("to", guest)
	if in.Content != nil {
		p.content = []byte(*in.Content)
	} else {
		decoded, err := base64.StdEncoding.DecodeString(*in.ContentBase64)
		if err != nil {
			c.fail("content_base64", "must be base64 in the standard alphabet with padding")
		}
		p.content = decoded
	}
	if len(p.content) > maxInline {
		c.fail("content", "must be at most %d bytes; copy a host file instead", maxInline)
	}
	if in.Mode != "" {
		mode, err := strconv.ParseUint(in.Mode, 8, 32)
		if err != nil || mode > 0o777 {
			c.fail("mode", `must be three octal digits such as "0644" or "755", not %.20q`, in.Mode)
		}
		p.options.Mode = uint32(mode)
	}
}

func (in cpInput) checkExclude(c *checks) {
	for _, pattern := range in.Exclude {
		if strings.ContainsAny(pattern, "\x00\n\r") || pattern == "" || len(pattern) > 256 {
			c.fail("exclude", "must hold patterns such as %q, not %.80q", "*.log", pattern)
		}
	}
}
