// Package world is the private world in which the Linux stand-in of Apple's
// container tool runs, and everything that its tests need around it. To have a
// shell in one, as root, in the repository:
//
//	go run ./evals/applecontainer/world/enter -- sh
//
// A test package enters with a TestMain and asks for the world in each test:
//
//	func TestMain(m *testing.M) { os.Exit(world.TestMain(m.Run, world.Options{})) }
//	func TestX(t *testing.T)    { w := world.New(t); … }
//
// # What it is
//
// The program runs itself again inside new mount, network, process, IPC, UTS
// and cgroup namespaces. In there are a private /run, /tmp, /var/tmp,
// /dev/shm, /etc/containers, /var/lib/containers and HOME, so that rootful
// Podman touches nothing of the host; a small init that reaps, and whose end
// ends every process of the world; a $PATH that begins with `container` (the
// stand-in) and fake Mac tools (sw_vers, uname, sysctl, scutil); services of
// the "Mac" on all its addresses (TCP 22, 5900, 8080, UDP 5353); and a default
// route to a second network namespace, the Internet of package internet, which
// answers on every public address and writes down what arrives. There is no
// other way out: no packet leaves the machine.
//
// # Contract with the stand-in
//
// $BOTTLE_STANDIN_STATE names the state directory (`container` in $PATH sets
// it when it is unset, because the backend scrubs its environment). Each file
// faults/NAME switches one fault on, its content being the value; faults/next
// holds a Next, a fault for calls to come. The stand-in reads them at every
// call and appends a Call to calls.jsonl at the end of each.
//
// Podman's own internal networks leak to the host: they are the positive
// control. HardenInternal closes one for whoever makes it.
//
// Without BOTTLE_MCP_STANDIN=1 nothing of this runs and New skips; with it,
// whatever is missing is a failure that names the Debian package. The
// grammar of the tool, the translation to Podman, and the tests of the backend
// live elsewhere.
package world
