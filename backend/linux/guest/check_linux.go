package guest

import (
	"runtime"

	"github.com/bottle-mcp/bottle-mcp/backend/linux/frame"
	"github.com/bottle-mcp/bottle-mcp/backend/linux/walls"
)

// CheckMain does in throw-away namespaces what the first stage would do, up to
// the walls that compile, and answers with one Done frame: whether this host
// can run bottles is tried, not guessed.
func CheckMain() int {
	runtime.LockOSThread()
	conn, err := frame.FromFD(ControlFD, "checker", frame.MaxHost)
	if err != nil {
		return 1
	}
	var setup Setup
	if err = conn.Recv(&setup); err == nil {
		err = loopbackUp()
	}
	var program *walls.Program
	if err == nil {
		program, err = walls.CloneProgram()
	}
	if err == nil {
		err = enter(setup, program)
	}
	if err == nil {
		_, err = walls.GuestFilter()
	}
	done := Done{}
	if err != nil {
		done.Error = err.Error()
	}
	if conn.Send(done) != nil || err != nil {
		return 1
	}
	return 0
}
