//go:build linux

package zygote

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What processes inherit from this one, and no step of theirs sets. It is called before this process becomes one whose files in /proc are root's.
func settleInherited() {
	mortal()
	if core := (unix.Rlimit{}); unix.Getrlimit(unix.RLIMIT_CORE, &core) == nil && core.Max == 0 {
		_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 1}) // what commands are to have, which only root can raise it to
	}
}

// mortal takes from this process, and from all jobs, what a service may have that is not to be killed where memory runs out (oom_score_adj below 0, proc_pid_oom_score_adj(5)). A job with it would be killed after
// others, or with -1000 never, also where its own limit is reached: it would go on asking for memory for ever. Written by root, a value is the least that jobs may give themselves as well.
func mortal() {
	const file = "/proc/self/oom_score_adj"
	b, err := os.ReadFile(file)
	if err != nil {
		return
	}
	if score, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
		_ = os.WriteFile(file, []byte(strconv.Itoa(max(score, 0))), 0)
	}
}
