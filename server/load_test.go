package server

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// While sixty-four slow calls run, neither ping, cancel nor a quick call waits.
func TestSixtyFourSlowCallsDelayNothing(t *testing.T) {
	const (
		slow   = 64
		rounds = 60
		bound  = 250 * time.Millisecond
	)
	bothTransports(t, Limits{KeepAlive: 50 * time.Millisecond}, func(t *testing.T, f *fixture, c client) {
		for i := range slow {
			c.send(callText(fmt.Sprint(i), "slow", fmt.Sprintf(`{"note":"%d"}`, i), fmt.Sprint(i)))
		}
		for range slow {
			receive(t, f.started, "start of all slow calls")
		}
		timed := func(send string, id int) time.Duration {
			begin := time.Now()
			c.send(send)
			return c.box().answer(t, fmt.Sprint(id)).at.Sub(begin)
		}
		var pings, quick, cancels []time.Duration
		for i := range rounds {
			ping, call := 1000+i, 2000+i
			pings = append(pings, timed(pingText(fmt.Sprint(ping)), ping))
			quick = append(quick, timed(callText(fmt.Sprint(call), "quick", `{"note":"n"}`, ""), call))
			begin := time.Now()
			c.send(cancelText(fmt.Sprint(i)))
			if got, want := receive(t, f.ended, "cancelled call"), fmt.Sprintf("%d: %s", i, errCancelledByClient); got != want {
				t.Fatalf("ended %q, want %q", got, want)
			}
			cancels = append(cancels, time.Since(begin))
			// Its place is taken by another, so that there are always as many.
			c.send(callText(fmt.Sprint(3000+i), "slow", `{}`, ""))
			receive(t, f.started, "replacement")
		}
		for name, took := range map[string][]time.Duration{"ping": pings, "quick call": quick, "cancel": cancels} {
			slices.Sort(took)
			p95 := took[len(took)*95/100]
			t.Logf("%s: p50 %s, p95 %s", name, took[len(took)/2], p95)
			if p95 > bound {
				t.Errorf("%s: p95 is %s beside %d slow calls, want at most %s", name, p95, slow, bound)
			}
		}
	})
}
