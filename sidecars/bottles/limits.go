package bottles

import "time"

// Limits bound what one bottle can make the daemon, and the host's server, hold.
// A zero field means its default.
type Limits struct {
	// Connections open from the guest at once. Default 64.
	Connections int
	// Requests at work at once. Default 32. A call that runs is one.
	Requests int
	// HeadBytes of one request head. Default 16 KiB.
	HeadBytes int
	// BodyBytes of one request. Default 2 MiB.
	BodyBytes int64
	// Head and Body are the times for a request's parts to arrive. Defaults 10 s
	// and 30 s.
	Head, Body time.Duration
	// KeepAlive is how long a connection may stay without a request. Default 90 s.
	KeepAlive time.Duration
	// Dial bounds reaching the host's server. Default 5 s.
	Dial time.Duration
	// Stop is how long Serve waits for requests at work. Default 1 s.
	Stop time.Duration
}

func (l Limits) withDefaults() Limits {
	orElse(&l.Connections, 64)
	orElse(&l.Requests, 32)
	orElse(&l.HeadBytes, 16<<10)
	orElse(&l.BodyBytes, 2<<20)
	orElse(&l.Head, 10*time.Second)
	orElse(&l.Body, 30*time.Second)
	orElse(&l.KeepAlive, 90*time.Second)
	orElse(&l.Dial, 5*time.Second)
	orElse(&l.Stop, time.Second)
	return l
}

func orElse[T int | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}
