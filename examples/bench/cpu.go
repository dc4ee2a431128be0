package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// settling is how long work in the background is given to end, before and after the CPU time of a subject is read.
const settling = 30 * time.Millisecond

// cpuTimes adds to the rows what one run costs in CPU time: of this process, of its zygote, and of all that they have started and waited for. It is what
// throughput is made of, and depends on what else the machine does far less than a latency. Each subject has n turns in a row and without a rest, which costs CPU time of its
// own, so that what is done in the background is the subject's. What the kernel does in threads of its own (taking namespaces down) is not in it.
func cpuTimes(all []*subject, rows []Row, n int) error {
	for i, s := range all {
		if rows[i].N == 0 {
			continue
		}
		turns := n
		if s.peer {
			turns = max(n/10, 1)
		}
		time.Sleep(settling)
		theirs, err := descendantsUsed()
		if err != nil {
			return err
		}
		own := ownUsed()
		for range turns {
			if _, err := s.turn(0); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
		time.Sleep(settling)
		own = ownUsed() - own // what looking at the others costs is in neither
		after, err := descendantsUsed()
		if err != nil {
			return err
		}
		rows[i].CPU = (own + after - theirs).Nanoseconds() / int64(turns)
		rows[i].RatioCPU = ratio(rows[i].CPU, rows[0].CPU)
	}
	return nil
}

// ownUsed is what this process has used, and its children that have ended.
func ownUsed() time.Duration {
	var sum time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil {
			sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	return sum
}

// descendantsUsed is what the living descendants have used, and their children that have ended.
func descendantsUsed() (sum time.Duration, err error) {
	for _, pid := range descendants(os.Getpid()) {
		var t unix.Timespec
		// The CPU clock of another process, see clock_getcpuclockid(3): in nanoseconds, as the ticks of /proc are not.
		if unix.ClockGettime(int32(^pid<<3|2), &t) != nil {
			continue // it has ended, and is in the sum of who waited for it
		}
		sum += time.Duration(t.Nano())
		b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			continue
		}
		w := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(w) < 15 {
			return 0, fmt.Errorf("/proc/%d/stat has %d words", pid, len(w))
		}
		for _, ticks := range w[13:15] { // cutime and cstime, see proc_pid_stat(5)
			n, _ := strconv.ParseInt(ticks, 10, 64)
			sum += time.Duration(n) * time.Second / userHZ
		}
	}
	return sum, nil
}

// userHZ is how many ticks of /proc a second has, on every architecture that Go knows.
const userHZ = 100
