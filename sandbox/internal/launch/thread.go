//go:build linux

package launch

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Thread starts a thread that never ends, which does what is sent to it, one after the other.
func Thread() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
}

// Away runs f, which may enter another namespace of a kind (net, mnt; the flag of setns(2)), on this thread, which nobody else gets meanwhile, and comes back.
func Away(kind string, flag int, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := unix.Open("/proc/thread-self/ns/"+kind, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(home)
	err = f()
	if back := unix.Setns(home, flag); back != nil {
		// What is done by this thread from now on would be done in a sandbox.
		panic(fmt.Sprintf("launch: the thread cannot go back to its namespace (%s): %v", kind, back))
	}
	return err
}
