package daemon

import (
	"github.com/bottle-mcp/bottle-mcp/backend/linux/frame"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/jail"
	"github.com/bottle-mcp/bottle-mcp/sidecars/egress"
)

// reload waits for another policy and puts it in force. An error means that the
// shim is gone.
func reload(conn *frame.Conn, proxy *egress.Proxy) error {
	var r jail.Reload
	if err := conn.Recv(&r); err != nil {
		return err
	}
	secrets, err := recvSecrets(conn)
	if err != nil {
		return err
	}
	var done jail.Done
	if proxy == nil {
		done.Error = "this bottle has no egress proxy"
	} else if err := proxy.Reload(r.Config, secrets); err != nil {
		done.Error = err.Error()
	}
	return conn.Send(done)
}
