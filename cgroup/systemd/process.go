package systemd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// groupOf is the group of v2 that a process is in.
func groupOf(pid int) (string, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return "", err
	}
	for _, line := range strings.Split(string(b), "\n") {
		if group, ok := strings.CutPrefix(line, "0::"); ok {
			return group, nil
		}
	}
	return "", fmt.Errorf("process %d: %w in a group of v2", pid, errors.ErrUnsupported)
}

// members are the processes that are in a group itself, those not visible here left out.
func members(dir string) ([]int, error) {
	b, err := os.ReadFile(dir + "/cgroup.procs")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, s := range strings.Fields(string(b)) {
		if pid, err := strconv.Atoi(s); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// move puts a process into a group. One that has ended needs no place.
func move(dir string, pid int) error {
	err := os.WriteFile(dir+"/cgroup.procs", []byte(strconv.Itoa(pid)), 0)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// companions are the descendants of this process in its group that it may have
// moved: the helper that makes sandboxes, and the first processes of those.
func companions(group string) []int {
	var all []int
	parents := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range stats {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err != nil {
			continue
		}
		if parent, ok := parentOf(f); ok {
			parents[parent] = append(parents[parent], pid)
		}
	}
	for todo := []int{os.Getpid()}; len(todo) > 0; todo = todo[1:] {
		for _, pid := range parents[todo[0]] {
			todo = append(todo, pid)
			if g, err := groupOf(pid); err == nil && g == group && mine(pid) {
				all = append(all, pid)
			}
		}
	}
	return all
}

// parentOf reads field 4 of /proc/PID/stat, counted from after the name, which may
// hold anything.
func parentOf(file string) (int, bool) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	_, rest, _ := strings.Cut(string(b)[strings.LastIndexByte(string(b), ')')+1:], " ")
	f := strings.Fields(rest)
	if len(f) < 2 {
		return 0, false
	}
	pid, err := strconv.Atoi(f[1])
	return pid, err == nil && pid > 0
}

// mine says whether systemd lets this process move another: root any, everybody else
// those of the same effective user. The owner of the folder in /proc says less, it is
// root if a process cannot be dumped.
func mine(pid int) bool {
	if os.Geteuid() == 0 {
		return true
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), "\nUid:")
	f := strings.Fields(rest)
	return len(f) > 1 && f[1] == strconv.Itoa(os.Geteuid())
}
