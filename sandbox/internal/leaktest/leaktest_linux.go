package leaktest

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long what is about to go by itself may take. A virtual machine without hardware support is slow, and what it runs on may have other things to do.
const patience = 4 * time.Minute

// Runner is *testing.M.
type Runner interface{ Run() int }

// Main runs a package's tests and then looks for what they left. finish, which may be nil, first ends what lives as long
// as the process. It returns the exit status.
//
// While it runs, os.TempDir is a folder of its own, which must be empty at the end; and orphans of the tests' processes become
// this process's children (PR_SET_CHILD_SUBREAPER), so that none escapes the look.
func Main(m Runner, finish func()) int {
	temp, err := privateTemp()
	if err != nil {
		fmt.Fprintln(os.Stderr, "leaktest:", err)
		return 1
	}
	defer os.RemoveAll(temp)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "leaktest: become subreaper:", err)
		return 1
	}
	before := Take()
	code := m.Run()
	if finish != nil {
		finish()
	}
	if code != 0 {
		return code // a test that failed may have left anything
	}
	left := before.Await(patience)
	for _, l := range left {
		fmt.Println("leak:", l)
	}
	if len(left) > 0 {
		return 1
	}
	return code
}

// privateTemp makes the folder that is os.TempDir from now on. Other users may use it, as any temporary folder.
func privateTemp() (string, error) {
	dir, err := os.MkdirTemp("", "belljar-tests-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
		return "", err
	}
	return dir, os.Setenv("TMPDIR", dir)
}

// Snapshot is what there was at one time.
type Snapshot struct {
	temp   string
	mounts map[string]bool
	groups map[string]bool
	files  map[string]int
	kids   map[int]bool
	stacks map[string]bool // numbers of goroutines
}

// Take looks around.
func Take() *Snapshot {
	s := &Snapshot{temp: os.TempDir(), mounts: mounts(), groups: map[string]bool{}, files: Files("self"), kids: map[int]bool{}, stacks: map[string]bool{}}
	for _, g := range Groups() {
		s.groups[g] = true
	}
	for _, p := range Descendants(os.Getpid()) {
		s.kids[p.PID] = true
	}
	for _, g := range Goroutines() {
		s.stacks[number(g)] = true
	}
	return s
}

// Await returns what has been added since and does not go within d.
func (s *Snapshot) Await(d time.Duration) []string {
	for end := time.Now().Add(d); ; time.Sleep(10 * time.Millisecond) {
		left := s.Left()
		if len(left) == 0 || time.Now().After(end) {
			return left
		}
	}
}

// Left returns what has been added since.
func (s *Snapshot) Left() []string {
	var left []string
	add := func(format string, args ...any) { left = append(left, fmt.Sprintf(format, args...)) }
	ReapOrphans()
	for _, p := range Descendants(os.Getpid()) {
		if !s.kids[p.PID] {
			add("process %v", p)
		}
	}
	for m := range mounts() {
		if !s.mounts[m] && s.mine(m) {
			add("mount %s", m)
		}
	}
	for _, g := range Groups() {
		if !s.groups[g] && orphaned(g) {
			add("cgroup %s", g)
		}
	}
	for target, n := range Files("self") {
		if n > s.files[target] {
			add("descriptor %s, %d more", target, n-s.files[target])
		}
	}
	for _, g := range Goroutines() {
		if !s.stacks[number(g)] {
			add("%s", g)
		}
	}
	return append(left, s.leftFiles()...)
}

// number is what a stack begins with: "goroutine N".
func number(stack string) string {
	head, _, _ := strings.Cut(stack, " [")
	return head
}

func (s *Snapshot) leftFiles() []string {
	var left []string
	entries, err := os.ReadDir(s.temp)
	if err != nil {
		return []string{err.Error()}
	}
	for _, e := range entries {
		left = append(left, "file "+s.temp+"/"+e.Name())
	}
	return left
}

// mine leaves out mounts that the tests of another package, running beside these, have in their temporary folder.
func (s *Snapshot) mine(mount string) bool {
	_, at, _ := strings.Cut(mount, " at ")
	return !strings.HasPrefix(at, "/tmp/") || strings.HasPrefix(at, s.temp+"/")
}
