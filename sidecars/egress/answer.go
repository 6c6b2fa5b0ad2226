package egress

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/bottle-mcp/bottle-mcp/sidecars"
)

// judgeAnswer refuses an answer by its head: for its type, for a size that is
// known, and for what is left of the budget. Where answers are looked through it
// makes this one readable.
func (ex *exchange) judgeAnswer(resp *http.Response) *refusal {
	r := ex.route
	if ex.reads() {
		if no := decode(resp, ex.r.Method); no != nil {
			return no.withRule(r.rule)
		}
		ex.scrubHeader(resp.Header)
	}
	if rules := r.response; rules != nil {
		if no := judgeType(rules, resp, ex.r.Method); no != nil {
			return no.withRule(r.rule)
		}
		if rules.MaxBytes > 0 && resp.ContentLength > rules.MaxBytes && ex.r.Method != http.MethodHead {
			return tooLong(rules.MaxBytes).withRule(r.rule)
		}
	}
	if r.budgeted && ex.r.Method != http.MethodHead {
		if no := r.meter.expect(resp.ContentLength); no != nil {
			return no.withRule(r.rule)
		}
	}
	return nil
}

// judgeType wants every body to be of one of the route's types. An answer that
// cannot have a body has none.
func judgeType(rules *sidecars.ResponseRules, resp *http.Response, method string) *refusal {
	if len(rules.Types) == 0 {
		return nil
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return badAnswer(reasonResponseType, "The messages of a WebSocket have no media type, and this route's answers must have one of a list.")
	}
	given := resp.Header["Content-Type"]
	if len(given) == 0 && bodyless(resp, method) {
		return nil
	}
	if len(given) != 1 || !slices.ContainsFunc(rules.Types, func(t string) bool { return typeWithin(given[0], t) }) {
		return badAnswer(reasonResponseType, "The answer is not of a media type that this route may answer with: "+strings.Join(rules.Types, ", ")+".")
	}
	return nil
}

// bodyless reports whether an answer has no body, by what its head says.
func bodyless(resp *http.Response, method string) bool {
	return resp.ContentLength == 0 || method == http.MethodHead ||
		resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified
}

// typeWithin reports whether a Content-Type is of a type, or of a subtree
// "text/*".
func typeWithin(given, allowed string) bool {
	given, _, _ = strings.Cut(given, ";")
	given = strings.ToLower(strings.Trim(given, " \t"))
	if top, whole := strings.CutSuffix(allowed, "*"); whole {
		return strings.HasPrefix(given, top) && len(given) > len(top)
	}
	return given == allowed
}

func badAnswer(reason, message string) *refusal {
	return &refusal{Status: http.StatusForbidden, Layer: layerResponse, Reason: reason, Message: message,
		Ask: "Ask for something else, or ask the operator to widen response in this route of the bottle's manifest, with the reason you need it."}
}

func tooLong(limit int64) *refusal {
	return badAnswer(reasonResponseSize, fmt.Sprintf("The answer is longer than the %d bytes that this route may answer with.", limit))
}

// bounded is the stage that ends an answer at its route's bound.
type bounded struct {
	rule  string
	limit int64
	seen  int64
}

func (b *bounded) pass(piece []byte) ([]byte, *refusal) {
	if b.seen += int64(len(piece)); b.seen > b.limit {
		return nil, tooLong(b.limit).withRule(b.rule)
	}
	return piece, nil
}

func (b *bounded) end() ([]byte, *refusal) { return nil, nil }

// inbound are the stages of an answer's body.
func (ex *exchange) inbound() stages {
	s := ex.boundsOfAnswer()
	if ex.reads() {
		s = append(s, ex.newEchoFilter())
	}
	return s
}

// boundsOfAnswer are the stages that count what a server sends.
func (ex *exchange) boundsOfAnswer() stages {
	var s stages
	r := ex.route
	if r.budgeted {
		s = append(s, metered{r.meter, true})
	}
	if r.response != nil && r.response.MaxBytes > 0 {
		s = append(s, &bounded{rule: r.rule, limit: r.response.MaxBytes})
	}
	return s
}

// outbound are the stages of a request's body. What scans the agent's own bytes
// comes before what counts those that go on.
func (ex *exchange) outbound() stages {
	if ex.route.budgeted {
		return stages{metered{ex.route.meter, false}}
	}
	return nil
}
