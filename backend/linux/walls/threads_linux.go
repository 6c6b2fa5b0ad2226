package walls

import (
	"runtime"
	"sync"
)

// ReserveThreads has the kernel start n threads that this process will need
// later, and bounds how many run Go code at once to processors. Once a guest's
// commands have used up all processes there are, none can be started, and a Go
// program that needs one ends.
func ReserveThreads(n, processors int) {
	runtime.GOMAXPROCS(processors)
	var all, here sync.WaitGroup
	here.Add(n)
	for range n {
		all.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			here.Done()
			here.Wait()
		})
	}
	all.Wait()
}
