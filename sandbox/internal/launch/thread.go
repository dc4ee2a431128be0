//go:build linux

package launch

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// newThread starts a thread that never ends, which does what is sent to it, one after the other.
func newThread() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
}

// Home opens the namespace of a kind (net, mnt) that this process is in, for Away.
func Home(kind string) (int, error) {
	return unix.Open("/proc/thread-self/ns/"+kind, unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

// Away runs f, which may enter another namespace of the kind that the flag of setns(2) says, on this thread, which nobody else gets meanwhile, and comes back to home.
func Away(home, flag int, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := f()
	if back := unix.Setns(home, flag); back != nil {
		// What is done by this thread from now on would be done in a sandbox.
		panic(fmt.Sprintf("launch: the thread cannot go back to its namespace (%#x): %v", flag, back))
	}
	return err
}
