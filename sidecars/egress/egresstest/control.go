package egresstest

import (
	"context"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/bottle-mcp/bottle-mcp/sidecars/ca"
)

// controlTime bounds how long bytes may be on their way.
const controlTime = 10 * time.Second

// Field is what is around the proxies: the origin and the attacker, at one port
// of two addresses.
type Field struct {
	Scene        Scene
	OriginIP     string
	Origin, Sink *Recorder
	listeners    []net.Listener
	naive        string
}

// NewField starts the servers, and a naive proxy beside them. Their certificates
// are of trusted. Close it.
func NewField(ctx context.Context, trusted *ca.Minter, scene Scene, originIP string) (*Field, error) {
	stranger, err := newMinter("strangers")
	if err != nil {
		return nil, err
	}
	guests, err := newMinter("naive")
	if err != nil {
		return nil, err
	}
	f := &Field{Scene: scene, OriginIP: originIP, Origin: NewRecorder(trusted, stranger), Sink: NewRecorder(trusted, stranger)}
	a, b, err := Listen(ctx, originIP, scene.EvilIP.String())
	if err != nil {
		return nil, err
	}
	f.listeners = []net.Listener{a, b}
	if at, ok := a.Addr().(*net.TCPAddr); ok {
		f.Scene.Port = at.Port
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		f.Close()
		return nil, err
	}
	f.listeners, f.naive = append(f.listeners, l), l.Addr().String()
	n := &Naive{Minter: guests, Leads: f.leads, Token: scene.Token}
	go func() { _ = f.Origin.Serve(a) }()
	go func() { _ = f.Sink.Serve(b) }()
	go func() { _ = n.Serve(l) }()
	return f, nil
}

func newMinter(name string) (*ca.Minter, error) {
	cert, key, err := ca.NewAuthority(name, time.Now().Add(time.Hour))
	if err != nil {
		return nil, err
	}
	return ca.NewMinter(cert, key)
}

// Close ends what NewField started.
func (f *Field) Close() {
	for _, l := range f.listeners {
		_ = l.Close()
	}
}

// leads resolves for the naive proxy: what is not the origin's is the attacker's.
func (f *Field) leads(host, port string) string {
	at := strconv.Itoa(f.Scene.Port)
	if slices.Contains(Origins(), host) && (port == "" || port == at) {
		return net.JoinHostPort(f.OriginIP, at)
	}
	return net.JoinHostPort(f.Scene.EvilIP.String(), at)
}

// Try carries an attack out and tells what was seen of it.
func (f *Field) Try(ctx context.Context, proxy string, a Attack) Evidence {
	f.Origin.Forget()
	f.Sink.Forget()
	answer := Carry(ctx, proxy, a)
	return Evidence{Origin: f.Origin.Got(), Sink: f.Sink.Got(), Answer: answer}
}

// Control carries an attack out against the naive proxy, where it has to
// succeed, and tells how it did: "" = it did not.
func (f *Field) Control(ctx context.Context, a Attack) (string, Evidence) {
	e := f.Try(ctx, f.naive, a)
	for end := time.Now().Add(controlTime); ; time.Sleep(5 * time.Millisecond) {
		if leak := a.Leak(f.Scene, e); leak != "" || time.Now().After(end) {
			return leak, e
		}
		e.Origin, e.Sink = f.Origin.Got(), f.Sink.Got() // bytes may be on their way still
	}
}
