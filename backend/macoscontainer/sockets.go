package macoscontainer

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bottle-mcp/bottle-mcp/backend"
	"github.com/bottle-mcp/bottle-mcp/sidecars"
	"github.com/bottle-mcp/bottle-mcp/sidecars/pid1"
)

// guestSockets is where the relayed sockets are in the agent.
const guestSockets = "/s"

// socketDir is a bottle's directory of sockets: short, because macOS allows 104
// bytes for the path of a socket, and the same for the same bottle.
func (b *Backend) socketDir(id backend.ID) string {
	sum := sha256.Sum256([]byte(b.cfg.BottlesDir + "\x00" + string(id)))
	return filepath.Join(b.cfg.SocketDir, hex.EncodeToString(sum[:6]))
}

// makeSocketDir makes an empty private directory. The engine refuses to publish
// a socket where one is.
func makeSocketDir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return fmt.Errorf("make the directory of sockets: %w", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("empty the directory of sockets: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of sockets: %w", err)
	}
	return nil
}

// socketOf is where a service of the sidecar is on the host.
func (r record) socketOf(svc sidecars.Service) string {
	return filepath.Join(r.Sockets, pid1.SocketName(svc))
}

// openSockets lets the guest's relays use the published sockets.
func (b *Backend) openSockets(r *record) error {
	for _, svc := range r.Services {
		if err := openSocket(r.socketOf(svc)); err != nil {
			return err
		}
	}
	r.Endpoints = backend.EndpointsAt("127.0.0.1", r.Services)
	return nil
}

// openSocket opens one to everybody: the guest sees its mode. The directory
// around it keeps other users of the host away.
func openSocket(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("the engine published no socket at %s: use topology %s, or update Apple's container", path, twoNetwork)
	}
	if err != nil {
		return fmt.Errorf("look at the published socket: %w", err)
	}
	if err := os.Chmod(path, 0o666); err != nil { //nolint:gosec // see above
		return fmt.Errorf("open the published socket: %w", err)
	}
	return nil
}
