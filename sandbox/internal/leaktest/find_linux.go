package leaktest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/belljar-go/belljar/cgroup"
	"golang.org/x/sys/unix"
)

// Process is a line of the process table.
type Process struct {
	PID, Parent, Session int
	Name                 string
	State                byte
	Start                uint64 // ticks since boot
}

func (p Process) String() string {
	return fmt.Sprintf("%d %q, state %c, child of %d", p.PID, p.Name, p.State, p.Parent)
}

// Zombie tells whether the process has ended and waits to be reaped.
func (p Process) Zombie() bool { return p.State == 'Z' || p.State == 'X' }

// Processes returns the process table.
func Processes() []Process {
	names, _ := filepath.Glob("/proc/[0-9]*")
	var all []Process
	for _, n := range names {
		if p, ok := Lookup(filepath.Base(n)); ok {
			all = append(all, p)
		}
	}
	return all
}

// Lookup returns one process; its number may be "self".
func Lookup(pid string) (p Process, ok bool) {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return p, false
	}
	// The name may hold anything, so its closing parenthesis is the last one (proc_pid_stat(5)).
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return p, false
	}
	f := strings.Fields(string(b[end+1:]))
	if len(f) < 20 {
		return p, false
	}
	p.PID, _ = strconv.Atoi(strings.TrimSpace(string(b[:open])))
	p.Name, p.State = string(b[open+1:end]), f[0][0]
	p.Parent, _ = strconv.Atoi(f[1])
	p.Session, _ = strconv.Atoi(f[3])
	p.Start, _ = strconv.ParseUint(f[19], 10, 64)
	return p, true
}

// Descendants returns the processes below one, zombies included.
func Descendants(pid int) []Process {
	children := map[int][]Process{}
	for _, p := range Processes() {
		children[p.Parent] = append(children[p.Parent], p)
	}
	var found []Process
	for todo := []int{pid}; len(todo) > 0; todo = todo[1:] {
		for _, p := range children[todo[0]] {
			found = append(found, p)
			todo = append(todo, p.PID)
		}
	}
	return found
}

// ReapOrphans waits for the dead that became ours only because their parent died: a process that this one started itself is
// in its session.
func ReapOrphans() {
	self, _ := Lookup("self")
	for _, p := range Processes() {
		if p.Parent == self.PID && p.Zombie() && p.Session != self.Session {
			_, _ = unix.Wait4(p.PID, nil, unix.WNOHANG|unix.WALL, nil)
		}
	}
}

// mounts returns the mounts of this mount namespace, as "type source at mountpoint".
func mounts() map[string]bool {
	all := map[string]bool{}
	b, _ := os.ReadFile("/proc/self/mountinfo")
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		for i := range f {
			if f[i] == "-" && len(f) > i+2 && i > 4 {
				all[f[i+1]+" "+f[i+2]+" at "+f[4]] = true
			}
		}
	}
	return all
}

// Groups returns the cgroups of programs that use this library, wherever they may be made here.
func Groups() []string {
	h, err := cgroup.Detect()
	if err != nil {
		return nil
	}
	base, err := h.Base(0)
	if err != nil {
		return nil
	}
	var all []string
	dirs := base.Dirs
	if own, ok := h.Unified(); ok && !slices.ContainsFunc(dirs, func(d cgroup.Dir) bool { return d.Version == 2 }) {
		dirs = append(dirs, own.Dirs...)
	}
	for _, d := range dirs {
		found, _ := filepath.Glob(d.Path + "/belljar-*")
		all = append(all, found...)
	}
	return all
}

var owners = regexp.MustCompile(`/belljar-(\d+)-(\d+)`)

// orphaned tells whether the program that made a cgroup is gone. The groups of tests that run beside these have one that lives.
func orphaned(group string) bool {
	m := owners.FindStringSubmatch(group)
	if m == nil {
		return false
	}
	p, ok := Lookup(m[1])
	start, _ := strconv.ParseUint(m[2], 10, 64)
	return !ok || p.Zombie() || p.Start != start
}

// Files counts the descriptors of a process by what they stand for, without those of Go's network poller, which stay for good once they
// are made.
func Files(pid string) map[string]int {
	found := map[string]int{}
	dir := "/proc/" + pid + "/fd/"
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		l, err := os.Readlink(dir + e.Name())
		if err != nil || l == "anon_inode:[eventpoll]" || l == "anon_inode:[eventfd]" || strings.HasSuffix(l, "/fd") {
			continue
		}
		// Numbers differ from one pipe to the next.
		if kind, _, ok := strings.Cut(l, ":["); ok {
			l = kind
		}
		found[l]++
	}
	return found
}

// Count sums up what Files returns.
func Count(files map[string]int) int {
	n := 0
	for _, k := range files {
		n += k
	}
	return n
}

// runtimeOwn are functions of goroutines that are not the tests'. The zygote is tied to a thread that stays.
var runtimeOwn = []string{"testing.(*M).", "testing.runTests", "testing.tRunner", "testing.runFuzz", "os/signal.signal_recv", "os/signal.loop", "leaktest.Goroutines", "launch.newThread"}

// Goroutines returns the stacks of those that are neither the runtime's nor the caller's.
func Goroutines() []string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var found []string
stacks:
	for _, stack := range strings.Split(string(buf), "\n\n") {
		for _, own := range runtimeOwn {
			if strings.Contains(stack, own) {
				continue stacks
			}
		}
		found = append(found, stack)
	}
	return found
}
