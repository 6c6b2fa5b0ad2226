package tools

import (
	"fmt"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// maxRefusals is how many different refusals a result lists.
const maxRefusals = 20

// refusalOutput is one kind of request that the egress proxy refused.
type refusalOutput struct {
	Host     string `json:"host" jsonschema_description:"Host that was asked for"`
	Method   string `json:"method,omitempty" jsonschema_description:"HTTP method"`
	Path     string `json:"path,omitempty" jsonschema_description:"Path without query"`
	Reason   string `json:"reason" jsonschema_description:"Stable code, such as host_not_allowed"`
	Message  string `json:"message" jsonschema_description:"The reason in words"`
	HowToAsk string `json:"how_to_ask" jsonschema_description:"Who can change that, and how"`
	Count    int    `json:"count" jsonschema_description:"How often"`
}

// refusalsOf merges equal refusals, in order of appearance. more counts the
// refusals of kinds that are not listed. Hosts and paths are the guest's words.
func refusalsOf(decisions []sidecars.Decision) (list []refusalOutput, more int) {
	type kind struct{ host, method, path, reason string }
	at := map[kind]int{}
	list = []refusalOutput{}
	for _, d := range decisions {
		if d.Verdict != sidecars.Deny {
			continue
		}
		k := kind{d.Host, d.Method, d.Path, d.Reason}
		if i, known := at[k]; known {
			list[i].Count++
			continue
		}
		if len(list) == maxRefusals {
			more++
			continue
		}
		at[k] = len(list)
		list = append(list, refusalOutput{
			Host:     cleanLine(d.Host, 260),
			Method:   cleanLine(d.Method, 20),
			Path:     cleanLine(d.Path, 200),
			Reason:   cleanLine(d.Reason, 60),
			Message:  cleanLine(d.Message, 300),
			HowToAsk: howToAsk(d),
			Count:    1,
		})
	}
	return list, more
}

// howToAsk says who can change a refusal. It never names a tool: none of them
// widens policy.
func howToAsk(d sidecars.Decision) string {
	host := cleanLine(d.Host, 260)
	switch d.Layer {
	case "host":
		return fmt.Sprintf("Only the operator can allow this: a route for host %q (port %d) under egress.routes in the bottle's manifest, then a new launch. Tell the user which host and why.", host, d.Port)
	case "address":
		return fmt.Sprintf("Only the operator can allow a private address: `private` in the route for host %q, then a new launch. Tell the user which address and why.", host)
	case "parse", "identity":
		return "No permission is needed: the request was malformed or names two servers. Correct it and send it again."
	case "upstream", "proxy":
		return "This is no matter of policy: try again later, and tell the user if it stays."
	default:
		return "This is not allowed by any route; find another way, or tell the user what you need and why."
	}
}
