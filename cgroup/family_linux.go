package cgroup

import (
	"slices"

	"golang.org/x/sys/unix"
)

// descends reports whether the process is a descendant of one of the given, as far
// as they live: an orphan descends from whoever took it in.
func descends(pid int, of []int) bool {
	for range 1 << 16 { // more than there can be, should a pid be reused on the way up
		s, err := readString(unix.AT_FDCWD, "/proc/"+itoa(pid)+"/stat")
		if err != nil {
			return false
		}
		parent, ok := parseParent([]byte(s))
		if !ok || parent <= 0 {
			return false
		}
		if slices.Contains(of, parent) {
			return true
		}
		pid = parent
	}
	return false
}
