package seccomp

import (
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// kernelVersion is the running kernel's, or 0.0 where uname's release is of no known form.
func kernelVersion() (major, minor uint64) {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return 0, 0
	}
	first, rest, _ := strings.Cut(unix.ByteSliceToString(u.Release[:]), ".")
	digits := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if digits < 0 {
		digits = len(rest)
	}
	major, err := strconv.ParseUint(first, 10, 16)
	minor, err2 := strconv.ParseUint(rest[:digits], 10, 16)
	if err != nil || err2 != nil {
		return 0, 0
	}
	return major, minor
}

func errnoByName(name string) (syscall.Errno, bool) {
	for e := syscall.Errno(1); e <= maxErrno; e++ {
		if unix.ErrnoName(e) == name {
			return e, true
		}
	}
	return 0, false
}
