package tools

import (
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
