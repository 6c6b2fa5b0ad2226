package server

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"github.com/bottle-mcp/bottle-mcp/provision"
)

// peer is one client: the one on stdio, or one HTTP session. It is the session
// mcp-go sees, of our own because mcp-go's stdio session is one per process
// and its HTTP sessions share state under forgeable ids.
type peer struct {
	id       string
	who      provision.Principal
	inflight inflight

	initialized atomic.Bool
	level       atomic.Value // mcp.LoggingLevel

	mu           sync.Mutex
	client       mcp.Implementation
	capabilities mcp.ClientCapabilities

	// unread satisfies mcp-go, which sends here only for features that are not
	// used; a send on the full channel fails, it does not block.
	unread chan mcp.JSONRPCNotification
}

var (
	_ mcpserver.SessionWithLogging    = (*peer)(nil)
	_ mcpserver.SessionWithClientInfo = (*peer)(nil)
)

// newPeer is a peer of the operator: whoever holds stdio or the operator's
// token.
func newPeer(id string) *peer { return newPeerOf(provision.Principal{Kind: provision.Operator}, id) }

// newPeerOf is a peer of whom the transport has established.
func newPeerOf(who provision.Principal, id string) *peer {
	p := &peer{
		id:     id,
		who:    who,
		unread: make(chan mcp.JSONRPCNotification),
	}
	p.level.Store(mcp.LoggingLevelError)
	return p
}

// SessionID implements mcp-go's ClientSession; it is unique in the process.
func (p *peer) SessionID() string { return p.id }

// Initialize implements mcp-go's ClientSession.
func (p *peer) Initialize() { p.initialized.Store(true) }

// Initialized implements mcp-go's ClientSession.
func (p *peer) Initialized() bool { return p.initialized.Load() }

// NotificationChannel implements mcp-go's ClientSession.
func (p *peer) NotificationChannel() chan<- mcp.JSONRPCNotification { return p.unread }

// SetLogLevel implements mcp-go's SessionWithLogging.
func (p *peer) SetLogLevel(level mcp.LoggingLevel) { p.level.Store(level) }

// GetLogLevel implements mcp-go's SessionWithLogging.
func (p *peer) GetLogLevel() mcp.LoggingLevel {
	level, _ := p.level.Load().(mcp.LoggingLevel)
	return level
}

// SetClientInfo implements mcp-go's SessionWithClientInfo.
func (p *peer) SetClientInfo(client mcp.Implementation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.client = client
}

// GetClientInfo implements mcp-go's SessionWithClientInfo.
func (p *peer) GetClientInfo() mcp.Implementation {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.client
}

// SetClientCapabilities implements mcp-go's SessionWithClientInfo.
func (p *peer) SetClientCapabilities(capabilities mcp.ClientCapabilities) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.capabilities = capabilities
}

// GetClientCapabilities implements mcp-go's SessionWithClientInfo.
func (p *peer) GetClientCapabilities() mcp.ClientCapabilities {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.capabilities
}

type principalKey struct{}

// PrincipalFromContext returns who makes the call that ctx belongs to.
func PrincipalFromContext(ctx context.Context) (provision.Principal, bool) {
	who, ok := ctx.Value(principalKey{}).(provision.Principal)
	return who, ok
}
