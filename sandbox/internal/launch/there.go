//go:build linux

package launch

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Mounts is a mount namespace that a process is to start in, or a thread to visit, at its root.
type Mounts struct {
	NS   int
	Home int // this process's own
	Root int // this process's root directory, which need not be that of its mount namespace
}

// CanReturn tells whether a thread that has been in another mount namespace could take that directory for its root again, which a filter of this process may forbid. A thread of no other
// use tries.
func CanReturn(root int) error {
	result := make(chan error)
	onThread(func() {
		err := unix.Unshare(unix.CLONE_FS)
		if err == nil {
			err = unix.Fchdir(root)
		}
		if err == nil {
			err = unix.Chroot(".")
		}
		result <- err
	})
	return <-result
}

// ErrMounts is the error of a launch that is to start in a mount namespace which cannot be entered.
var ErrMounts = errors.New("enter mount namespace")

// cloneThere clones, on this thread, in the namespaces that are asked for: the new process gets them by having been cloned there.
func (l *launch) cloneThere() (pid int) {
	clone := func() error {
		pid = l.asOwner(func() int { return cloneWalk(l.ctl) })
		return nil
	}
	err := l.inMounts(func() error { return l.inNet(clone) })
	if err != nil {
		return -int(errnoOf(err))
	}
	return pid
}

func (l *launch) inNet(f func() error) error {
	if l.Net == 0 {
		return f()
	}
	return Away(l.NetHome, unix.CLONE_NEWNET, func() error {
		if err := unix.Setns(l.Net, unix.CLONE_NEWNET); err != nil {
			return err
		}
		return f()
	})
}

func (l *launch) inMounts(f func() error) error {
	if l.Mounts == nil {
		return f()
	}
	err := l.Mounts.Visit(f)
	l.lost = errors.Is(err, ErrMounts)
	return err
}

// Visit runs f on this thread, which is in that mount namespace meanwhile, and which nobody else gets. An error that matches ErrMounts says that it could not be entered.
func (m *Mounts) Visit(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Whoever enters a mount namespace must share its root and current directory with nobody (setns(2)).
	err := unix.Unshare(unix.CLONE_FS)
	if err == nil {
		err = unix.Setns(m.NS, unix.CLONE_NEWNS)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMounts, err)
	}
	defer func() {
		// It is the root of that namespace to which setns(2) takes a thread.
		for _, back := range []func() error{
			func() error { return unix.Setns(m.Home, unix.CLONE_NEWNS) },
			func() error { return unix.Fchdir(m.Root) },
			func() error { return unix.Chroot(".") },
		} {
			if err := back(); err != nil {
				// What is done by this thread from now on would be done in a sandbox.
				panic(fmt.Sprintf("launch: the thread cannot go back to its mounts: %v", err))
			}
		}
	}()
	return f()
}
