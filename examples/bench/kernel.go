package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/sandbox"
)

// The kernel's share: what it takes by itself for what a sandbox has, with no library, no root, no filter and no limits in between. Nobody can make a sandbox of these parts
// for less than the sum of them that is not made ahead of time.

// isolating are the namespaces of a sandbox but two. The user namespace would cost Go's spawn its vfork, so that a large heap were measured; that of the network has a row of its own.
const isolating = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS | syscall.CLONE_NEWCGROUP

// kernel measures the parts by turns, the floor first. It needs root.
func (l *lab) kernel(n int, rest time.Duration) ([]Row, error) {
	trees, err := l.trees()
	if err != nil {
		return nil, err
	}
	if err := l.makeReady(); err != nil {
		return nil, err
	}
	all := []*subject{
		l.floor(),
		l.part("+ pid, mnt, ipc, uts, cgroup namespaces", isolating, nil),
		l.part("+ a network namespace", syscall.CLONE_NEWNET, nil),
		l.part("+ a sandbox's and a command's cgroups", 0, trees),
		l.part("+ all of these", isolating|syscall.CLONE_NEWNET, trees),
	}
	whole := len(all)
	all = append(
		all,
		l.prepared("a process that stands ready", true, 0, nil, rest),
		l.prepared("one whose parent is another, who tells", false, 0, nil, rest),
		l.prepared("one in a command's cgroups, and their accounts", true, 0, trees, rest),
		l.prepared("one in them whose parent is another", false, 0, trees, rest),
		// Nobody can enter a group that his cgroup namespace does not show, if v2 is mounted with nsdelegate.
		l.prepared("one in a sandbox that stands ready, and the end of that", false, isolating&^syscall.CLONE_NEWCGROUP, trees, rest),
	)
	rows, err := measure(all, n, rest)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if r.Absent != "" {
			return nil, fmt.Errorf("%s: %s", r.Name, r.Absent)
		}
	}
	return rows, cpuTimes(all[:whole], rows, n) // the others' has what is done ahead of time in it
}

// part is a spawn in new namespaces, between making groups and removing them. The process does not enter the groups, which would cost a write to a file of each.
func (l *lab) part(name string, namespaces uintptr, trees []tree) *subject {
	return &subject{name: name, run: func() error {
		if err := grow(trees); err != nil {
			return err
		}
		err := spawnWith(&syscall.SysProcAttr{Cloneflags: namespaces}, l.root.path("true"), nil, "true")
		return errors.Join(err, fell(trees))
	}}
}

// grow makes all groups, or none.
func grow(trees []tree) error {
	for i, t := range trees {
		if err := t.grow(); err != nil {
			return errors.Join(err, fell(trees[:i]))
		}
	}
	return nil
}

func fell(trees []tree) (err error) {
	for _, t := range trees {
		err = errors.Join(err, t.fell())
	}
	return err
}

// tree is where a hierarchy has groups of a sandbox.
type tree struct {
	group string // one like a sandbox's, which is not there yet
	leaf  string // one like a command's in it; "" where a command has none of its own
	down  string // the controllers that the sandbox's hands down, as written to cgroup.subtree_control; "" on v1
}

func (t tree) grow() error {
	if err := os.Mkdir(t.group, 0o755); err != nil || t.leaf == "" {
		return err
	}
	if t.down != "" {
		if err := os.WriteFile(filepath.Join(t.group, "cgroup.subtree_control"), []byte(t.down), 0); err != nil {
			return errors.Join(err, syscall.Rmdir(t.group))
		}
	}
	if err := os.Mkdir(t.leaf, 0o755); err != nil {
		return errors.Join(err, syscall.Rmdir(t.group))
	}
	return nil
}

func (t tree) fell() error {
	if t.leaf != "" {
		if err := syscall.Rmdir(t.leaf); err != nil {
			return err
		}
	}
	return syscall.Rmdir(t.group)
}

// trees looks at where the groups of a command are that runs in a sandbox like those which are measured.
func (l *lab) trees() (_ []tree, err error) {
	sb, err := sandbox.New(l.opts...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sb.Close()) }()
	cmd := sb.Command("/job", "cpu")
	if err := cmd.Start(l.ctx); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", cmd.PID()))
	_ = cmd.Kill()
	_, _ = cmd.Wait() // it was killed
	if err != nil {
		return nil, err
	}
	host, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	trees := treesOf(host, string(text))
	if len(trees) == 0 {
		return nil, errors.New("sandboxes have no cgroups here")
	}
	return trees, nil
}

// treesOf are the trees in which the command's groups are below one of this program, BASE/belljar-…/SANDBOX/LEAF, by its /proc/PID/cgroup.
func treesOf(host *cgroup.Host, text string) []tree {
	var all []tree
	for line := range strings.Lines(text) {
		id, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		kind, path, _ := strings.Cut(rest, ":")
		at := strings.Index(path, "/belljar-")
		if at < 0 {
			continue
		}
		words := strings.Split(path[at+1:], "/") // belljar-…, and what is below it
		h := hierarchy(host, id, kind)
		if h == nil || len(words) < 2 {
			continue
		}
		owner := filepath.Join(h.Mount, strings.TrimPrefix(path[:at], strings.TrimSuffix(h.Root, "/")), words[0])
		t := tree{group: filepath.Join(owner, "bench")}
		if len(words) > 2 {
			t.leaf = filepath.Join(t.group, "leaf")
		}
		if down, err := os.ReadFile(filepath.Join(owner, "cgroup.subtree_control")); err == nil {
			for _, c := range strings.Fields(string(down)) {
				t.down += "+" + c + " "
			}
		}
		all = append(all, t)
	}
	return all
}

// hierarchy finds the one that a line of /proc/PID/cgroup is about.
func hierarchy(host *cgroup.Host, id, kind string) *cgroup.Hierarchy {
	for i := range host.Hierarchies {
		h := &host.Hierarchies[i]
		if h.Version == 2 && id == "0" || h.Version == 1 && id != "0" && sorted(kind) == sorted(h.Controllers.String()) {
			return h
		}
	}
	return nil
}

// sorted is a comma-separated list in an order of its own: the kernel's is that of mounting.
func sorted(list string) string {
	words := strings.Split(list, ",")
	slices.Sort(words)
	return strings.Join(words, ",")
}
