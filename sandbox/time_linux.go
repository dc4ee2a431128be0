package sandbox

import (
	"fmt"

	"github.com/belljar-go/belljar/namespace"
	"golang.org/x/sys/unix"
)

// errTimeExec refuses WithTime where it would be without effect. A time namespace is for children (time_namespaces(7)); PID 1 shares memory with
// its parent until its execve, so it would enter its own by that alone, which it does since Linux 6.2 (begin_new_exec in fs/exec.c).
var errTimeExec = fmt.Errorf("a time namespace of one's own is entered by execve only since Linux 6.2: %w", ErrUnsupported)

// checkTime returns the spec without its time namespace if this kernel has it without effect and it may be given up.
func (e *engine) checkTime(s *spec) (*spec, error) {
	if !s.namespaces.Has(namespace.Time) || kernelAtLeast(6, 2) {
		return s, nil
	}
	if !s.mayGiveUp("WithTime") {
		return nil, &Error{Stage: "namespaces", Op: "WithTime", Err: errTimeExec}
	}
	e.giveUp("WithTime", errTimeExec)
	s = s.clone()
	s.namespaces, s.offsets = s.namespaces.Without(namespace.Time), nil
	return s, nil
}

func kernelAtLeast(major, minor int) bool {
	var u unix.Utsname
	var x, y int
	if unix.Uname(&u) != nil {
		return false
	}
	if n, _ := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &x, &y); n != 2 {
		return false
	}
	return x > major || x == major && y >= minor
}
