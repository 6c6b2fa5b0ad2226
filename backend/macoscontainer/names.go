package macoscontainer

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strconv"
	"time"

	"github.com/bottle-mcp/bottle-mcp/backend"
)

// Label keys. Network labels allow lower-case dotted words only, and a
// container label's value may not hold "=".
const (
	labelOwner   = "dev.bottle-mcp.owner"
	labelBottle  = "dev.bottle-mcp.bottle"
	labelRole    = "dev.bottle-mcp.role"
	labelCreated = "dev.bottle-mcp.created" // unix seconds
	labelExpires = "dev.bottle-mcp.expires" // unix seconds
)

// role is what an object is to its bottle.
type role string

const (
	roleAgent    role = "agent"
	roleSidecar  role = "sidecar"
	roleInternal role = "internal"
	roleEgress   role = "egress"
)

// name is the object's name in the engine: bot-bottle's, so that its users
// find theirs. With an id of 40 characters the longest has 60; 63 are allowed.
func (r role) name(id backend.ID) string {
	switch r {
	case roleSidecar:
		return "bot-bottle-sidecars-" + string(id)
	case roleEgress:
		return "bot-bottle-egress-" + string(id)
	case roleAgent, roleInternal:
	}
	return "bot-bottle-" + string(id)
}

var plainOwner = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// ownerLabel is an owner as a label's value.
func ownerLabel(owner string) string {
	if plainOwner.MatchString(owner) {
		return owner
	}
	sum := sha256.Sum256([]byte(owner))
	return "sha256." + hex.EncodeToString(sum[:16])
}

// identity is what all objects of a bottle share.
type identity struct {
	owner            string
	id               backend.ID
	created, expires time.Time
}

// labels are those of the bottle's object with that role.
func (i identity) labels(r role) map[string]string {
	return map[string]string{
		labelOwner:   ownerLabel(i.owner),
		labelBottle:  string(i.id),
		labelRole:    string(r),
		labelCreated: strconv.FormatInt(i.created.Unix(), 10),
		labelExpires: strconv.FormatInt(i.expires.Unix(), 10),
	}
}

// owned reads whose an object is. It reports false unless the labels name this
// owner and a bottle, and the name is the one that the bottle's object of that
// role has.
func owned(owner, name string, labels map[string]string) (identity, role, bool) {
	i, r := identity{owner: owner, id: backend.ID(labels[labelBottle])}, role(labels[labelRole])
	if labels[labelOwner] != ownerLabel(owner) || i.id.Validate() != nil || r.name(i.id) != name {
		return identity{}, "", false
	}
	i.created, i.expires = unixLabel(labels, labelCreated), unixLabel(labels, labelExpires)
	return i, r, true
}

// unixLabel is the zero time when the label says nothing sensible.
func unixLabel(labels map[string]string, key string) time.Time {
	n, err := strconv.ParseInt(labels[key], 10, 64)
	if err != nil || n <= 0 {
		return time.Time{}
	}
	return time.Unix(n, 0)
}
