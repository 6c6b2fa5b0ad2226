package egress

import "time"

// Limits bound what one bottle can make the proxy hold. A zero field means its
// default.
type Limits struct {
	// Connections open from the guest at once. Default 512.
	Connections int
	// HeadBytes of one request head. Default 64 KiB.
	HeadBytes int
	// Handshake is the time for a CONNECT to become a finished TLS handshake.
	// Default 10 s.
	Handshake time.Duration
	// Head is the time for a request head to arrive. Default 20 s.
	Head time.Duration
	// KeepAlive is how long a connection may stay without a request. Default 90 s.
	KeepAlive time.Duration
	// Resolve and Connect bound reaching an upstream. Defaults 5 s and 10 s.
	Resolve, Connect time.Duration
	// ResponseHead is how long an upstream may think. Default 10 min: a model
	// answering without streaming takes minutes.
	ResponseHead time.Duration
	// Idle ends an exchange or tunnel on which no byte moves. Default 10 min.
	Idle time.Duration
	// HalfClosed ends a WebSocket tunnel after one side has finished. Default 5 s.
	HalfClosed time.Duration
	// Hold is how long a request waits for the operator's word. Default 25 s.
	Hold time.Duration
	// Stop is how long Serve waits for requests in progress. Default 2 s.
	Stop time.Duration
}

func (l Limits) withDefaults() Limits {
	number := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	span := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	number(&l.Connections, 512)
	number(&l.HeadBytes, 64<<10)
	span(&l.Handshake, 10*time.Second)
	span(&l.Head, 20*time.Second)
	span(&l.KeepAlive, 90*time.Second)
	span(&l.Resolve, 5*time.Second)
	span(&l.Connect, 10*time.Second)
	span(&l.ResponseHead, 10*time.Minute)
	span(&l.Idle, 10*time.Minute)
	span(&l.HalfClosed, 5*time.Second)
	span(&l.Hold, 25*time.Second)
	span(&l.Stop, 2*time.Second)
	return l
}
