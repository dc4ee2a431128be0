//go:build linux

package launch

import (
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// What the kernel counts for each user it counts in a user namespace for the namespace's owner as well (inc_ucount and inc_rlimit_ucounts in kernel/ucount.c): instances of inotify(7), of which root has 128 by
// default, pending signals, bytes of message queues, namespaces. The owner is who had the effective uid of the process that clones (create_user_ns in kernel/user_namespace.c). Were that root, a job would use up
// what is root's, the host's and all sandboxes'.

// asOwner runs clone, on this thread, with the effective uid of the owner, all capabilities kept. Where that cannot be had clone runs all the same.
func (l *launch) asOwner(clone func() int) int {
	if l.Owner == 0 || !Owns() {
		return clone()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if setEffective(l.Owner) != nil {
		return clone()
	}
	defer func() {
		// The capabilities come back with the uid (capabilities(7)).
		if err := setEffective(0); err != nil {
			// What is done by this thread from now on would be done as somebody else.
			panic(fmt.Sprintf("launch: the thread cannot be root again: %v", err))
		}
	}()
	own := ownCaps()
	_ = unix.Capset(&capHeader, &own[0]) // they went with the uid; a kernel may want them for a user namespace
	return clone()
}

// setEffective changes the effective uid of this thread alone.
func setEffective(uid uint32) error {
	const keep = ^uintptr(0)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, uintptr(uid), keep); errno != 0 {
		return errno
	}
	// A change of ids has undone it, whatever fs.suid_dumpable says (commit_creds in kernel/cred.c).
	return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}

var capHeader = unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}

// ownCaps are this process's capabilities.
var ownCaps = sync.OnceValue(func() (own [2]unix.CapUserData) {
	_ = unix.Capget(&capHeader, &own[0])
	return own
})

// Owns tells whether user namespaces may belong to another user than this process's. Whom one belongs to has all capabilities over it (user_namespaces(7)), so it makes no difference to root who has those that
// are needed there anyway.
var Owns = sync.OnceValue(func() bool {
	const need = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID | 1<<unix.CAP_KILL | 1<<unix.CAP_SETGID | 1<<unix.CAP_SETUID |
		1<<unix.CAP_SETPCAP | 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_SYS_CHROOT | 1<<unix.CAP_SYS_PTRACE | 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_SYS_NICE | 1<<unix.CAP_SETFCAP
	r, e, s := unix.Getresuid()
	own := ownCaps()
	return r|e|s == 0 && own[0].Effective&need == need && own[0].Effective == own[0].Permitted && own[1].Effective == own[1].Permitted
})
