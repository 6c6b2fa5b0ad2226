package egresstest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
)

// Order is what a probe is told, as JSON on its standard input.
type Order struct {
	// Proxy is its address.
	Proxy   string
	Attacks []Attack
}

// ProbeMain carries out an order and writes one Answer for each attack, as JSON
// lines. It is what runs in a guest; it returns the exit code.
func ProbeMain(ctx context.Context, in io.Reader, out, errs io.Writer) int {
	var order Order
	if err := json.NewDecoder(in).Decode(&order); err != nil {
		_, _ = fmt.Fprintln(errs, "read the order:", err)
		return 2
	}
	lines := json.NewEncoder(out)
	for _, a := range order.Attacks {
		if err := lines.Encode(Carry(ctx, order.Proxy, a)); err != nil {
			_, _ = fmt.Fprintln(errs, "write an answer:", err)
			return 2
		}
	}
	return 0
}
