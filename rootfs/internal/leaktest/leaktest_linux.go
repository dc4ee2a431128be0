package leaktest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Runner is *testing.M.
type Runner interface{ Run() int }

// patience is how long what is about to go by itself may take.
const patience = time.Minute

// Main runs a package's tests and then looks for what they left: descriptors, goroutines, mounts, and anything in os.TempDir, which is a folder of its
// own meanwhile. It returns the exit status.
//
// Fuzzing, which has processes of its own that come and go, is not looked at.
func Main(m Runner) int {
	if slices.ContainsFunc(os.Args, func(a string) bool {
		return strings.HasPrefix(a, "-test.fuzz") && a != "-test.fuzz=" && !strings.HasPrefix(a, "-test.fuzzcachedir")
	}) {
		return m.Run()
	}
	temp, err := os.MkdirTemp("", "belljar-tests-")
	if err == nil {
		err = errors.Join(os.Chmod(temp, 0o755), os.Setenv("TMPDIR", temp)) // some tests become another user
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "leaktest:", err)
		return 1
	}
	defer os.RemoveAll(temp)
	before := files()
	code := m.Run()
	if code != 0 {
		return code // a test that failed may have left anything
	}
	var left []string
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if left = look(temp, before); len(left) == 0 {
			return 0
		}
		if time.Now().After(deadline) {
			break
		}
	}
	for _, l := range left {
		fmt.Println("leak:", l)
	}
	return 1
}

func look(temp string, before []string) []string {
	var left []string
	for _, f := range files() {
		if !slices.Contains(before, f) {
			left = append(left, "descriptor of "+f)
		}
	}
	entries, _ := os.ReadDir(temp)
	for _, e := range entries {
		left = append(left, filepath.Join(temp, e.Name()))
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	if strings.Contains(string(mounts), temp) {
		left = append(left, "a mount below "+temp)
	}
	if n := runtime.NumGoroutine(); n > 1 {
		buf := make([]byte, 1<<16)
		left = append(left, fmt.Sprintf("%d goroutines\n%s", n, buf[:runtime.Stack(buf, true)]))
	}
	return left
}

// files lists what the process has open, but for what the runtime opens for itself.
func files() []string {
	var list []string
	fds, _ := filepath.Glob("/proc/self/fd/*")
	for _, fd := range fds {
		to, err := os.Readlink(fd)
		if err != nil || strings.HasPrefix(to, "anon_inode:") || strings.HasPrefix(to, "/proc/") || strings.HasPrefix(to, "pipe:") {
			continue
		}
		list = append(list, to)
	}
	return list
}
